"""Pictures of a model in training: the same seeds and classes every time, so that one sees it learn.

They take a share of the run's time (see `allowance`). A sheet that would take more has fewer rows; one whose first row
would is left out, but for the last of a run, which then has one row of fewer steps.
"""

from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from mezzotint import plots
from mezzotint.conditions.labels import ALL, NONE
from mezzotint.config import Sample
from mezzotint.model.cost import network_calls, seconds_a_call
from mezzotint.model.model import Model
from mezzotint.model.request import Request
from mezzotint.model.samples import Samples
from mezzotint.run.allowance import Allowance
from mezzotint.train.distributed import Ranks

WATCH_AT = (0.01, 0.02, 0.05, *(i / 10 for i in range(1, 11)))  # shares of the budget
WATCHED = 16  # pictures
CALLS = (1, 2, 4, 8)  # of a flow map: a row or more of a sheet each
MIN_STEPS = 4  # of the last sheet, whatever it costs


def plan(
    n: int, row: int, steps: int, seconds_a_row: float, seconds: float, *, last: bool
) -> tuple[int, int]:
    """How many of n things, by how many of `steps` sampling steps, take at most `seconds`: whole rows, or none at all;
    the last sheet has at least one, by fewer steps where it must."""
    rows = max(0, int(seconds / max(seconds_a_row, 1e-9)))
    if rows or not last:
        return min(n, rows * row), steps
    return min(n, row), min(steps, max(MIN_STEPS, int(steps * seconds / seconds_a_row)))


class Sheets:
    """The sheets of one run in its directory."""

    def __init__(
        self, model: Model, folder: Path, ranks: Ranks, allowance: Allowance, small: Tensor | None = None
    ) -> None:
        self.model, self.folder, self.ranks, self.allowance = model, folder / "samples", ranks, allowance
        self.small = small  # pictures (N, C, h, w) uint8 for a model that enlarges them
        self.settings: Sample = model.settings()
        self.whole = self.smaller = self.left_out = 0  # how many there were
        self._seconds_a_thing: float | None = None  # of all steps, among as many as a row has

    def sheet(self, step: int, *, last: bool) -> Image.Image | None:
        """samples/step-N.png: a column a class, or 8 pictures a row; 2,000 points. Returns it in the first process; None
        elsewhere, and where it was left out."""
        n, columns = self.model.medium.usual_sheet(self.model.facts.shape, len(self.model.classes))
        samples = self._samples(n, columns or n, last)
        if samples is None:
            return None
        self.folder.mkdir(exist_ok=True)
        picture = samples.sheet(columns)
        plots.save_png(picture, self.folder / f"step-{step:07d}.png", {**samples.settings, "step": step})
        return picture

    def watch(self, step: int, *, last: bool) -> None:
        """samples/watch.png: the newest of a series from the same seeds; samples/watch.gif: all of it, at the end."""
        classes = len(self.model.classes) if len(self.model.classes) <= 12 else 1
        rows = -(-WATCHED // max(classes, 1))
        n = max(rows * max(classes, 1), self.model.medium.least)  # whole rows, a column a class
        samples = self._samples(n, n, last)  # all or none: the pictures of a film have one size
        if samples is None:
            return
        frames = self.folder / "watch"
        frames.mkdir(parents=True, exist_ok=True)
        picture = samples.sheet()
        plots.save_png(picture, frames / f"{step:07d}.png")
        plots.save_png(picture, self.folder / "watch.png", {**samples.settings, "step": step})
        if last:
            series = [plots.read_png(f) for f in sorted(frames.glob("*.png"))]
            plots.gif(series, self.folder / "watch.gif")

    def words(self) -> str | None:
        """A line about what was left out or made smaller; None where nothing was."""
        said = [
            f"{count} {what}"
            for count, what in ((self.left_out, "left out"), (self.smaller, "smaller"))
            if count
        ]
        total = self.whole + self.smaller + self.left_out
        return f"sheets take a tenth of the time at most: of {total}, {' and '.join(said)}" if said else None

    def _samples(self, n: int, row: int, last: bool) -> Samples | None:
        """As many of n samples as the allowance has time for, in the first process; None in others, and where no row
        fits."""
        model = self.model
        with self.allowance.spending():
            if self._seconds_a_thing is None:
                self._seconds_a_thing = network_calls(model, self.settings) * seconds_a_call(model, row)
            usual = self.settings.steps
            seconds_a_row = row * self._seconds_a_thing
            count, steps = plan(n, row, usual, seconds_a_row, self.allowance.for_one, last=last)
            count, steps = int(self.ranks.tell(count)), int(self.ranks.tell(steps))  # one clock decides
            self.whole += (count, steps) == (n, usual)
            self.smaller += count > 0 and (count, steps) != (n, usual)
            self.left_out += count == 0
            if not count:
                return None
            began = self.allowance.clock()
            samples = self._spread(count, steps, row)
            self._seconds_a_thing = (self.allowance.clock() - began) / count * usual / steps
        return samples if self.ranks.first else None

    def _spread(self, n: int, steps: int, row: int) -> Samples:
        """n samples; of a flow map the same ones by 1, 2, 4 and 8 calls, below each other, where that many rows fit."""
        each = n // len(CALLS) // row * row
        if self.model.config.objective != "map" or not each:
            return self._made(n, steps)
        by_calls = [self._made(each, calls) for calls in CALLS]
        things = torch.cat([samples.values for samples in by_calls])
        return replace(by_calls[0], values=things, settings={**by_calls[0].settings, "steps": list(CALLS)})

    def _made(self, n: int, steps: int) -> Samples:
        """n samples of all classes, each process making its part; all processes get all of them."""
        model, ranks = self.model, self.ranks
        span = ranks.span(n)
        mine = self._request(ranks.count * len(span), steps).part(span.start, span.stop)
        things = torch.cat([model.make(part) for part in mine.parts(model.batch)])
        return model.finish(self._request(n, steps), ranks.gather(things)[:n])

    def _request(self, n: int, steps: int) -> Request:
        label = ALL if self.model.classes else None
        if self.small is None:
            return self.model.request(n, label=label, steps=steps)
        in_turn = self.small[torch.arange(n) % len(self.small)]
        return self.model.request(n, label=NONE if label else None, steps=steps, image=in_turn)
