"""The best batch size. Where one more row costs less than a call of its own: as large as possible; where caches are too
small: less. That is measured, in a second, before a model is served."""

import time
from dataclasses import dataclass

import torch

from mezzotint.diffusion.engine import answer
from mezzotint.model.model import Model

SECONDS = 1.0  # of measuring a model
TIMES = 3  # that a call is made, of which the quickest counts
MORE = 0.1  # share by which a picture may cost more than at its cheapest, before the call is too large


@dataclass(frozen=True)
class Pace:
    """seconds: of a call, by its rows; the fewest first. On a processor they are seconds of computing, by all threads, which other
    work on the machine does not stretch as it stretches the clock's."""

    seconds: dict[int, float]

    def rows(self, most: int) -> int:
        """The largest call that pays, up to `most`; of larger calls than were measured nothing is known against."""
        each = {rows: seconds / rows for rows, seconds in self.seconds.items()}
        if not each:
            return most
        paying = max(rows for rows, seconds in each.items() if seconds <= (1 + MORE) * min(each.values()))
        return most if paying == max(each) else min(most, paying)

    def __str__(self) -> str:
        return ", ".join(
            f"{1000 * seconds / rows:.1f} ms of {rows}" for rows, seconds in self.seconds.items()
        )


def measure(model: Model, most: int, seconds: float = SECONDS) -> Pace:
    """Asks a model's network what requests ask at first, for 1, 2, 4, ... rows up to `most`, as long as the time lasts."""
    found: dict[int, float] = {}
    began, rows = time.perf_counter(), 1
    while rows <= most:
        left = seconds - (time.perf_counter() - began)
        if found and 2 * max(found.values()) > left:
            break
        found[rows] = _call(model, rows, left / 4)
        rows *= 2
    return Pace(found)


@torch.no_grad()
def _call(model: Model, rows: int, patience: float) -> float:
    """Seconds of a call, the quickest of a few. patience: seconds after which there is no other."""
    clock = time.process_time if model.device.type == "cpu" else time.perf_counter
    walk = model.walk(model.request(rows, image=model.blank))
    for _ in walk.go(None):  # to its first question
        pass
    times: list[float] = []
    began = time.perf_counter()
    while len(times) < TIMES and (not times or time.perf_counter() - began < patience):
        before = clock()
        float(next(iter(answer(model.guided, [walk]))).sum())  # waits for the device
        times.append(clock() - before)
    return min(times)
