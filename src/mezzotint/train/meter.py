"""When something is due, and how training is doing: intervals, mean loss, speed."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch


@dataclass
class Every:
    """Due at multiples of an interval such as "10%", "2 epochs", "500 steps", and at the end."""

    steps: int

    @staticmethod
    def parse(text: str, until: int, epoch: float) -> "Every":
        number, unit = re.fullmatch(r"\s*([\d.]+)\s*(%|step|epoch).*", text).groups()  # type: ignore[union-attr]
        return Every(max(1, round(float(number) * {"%": until / 100, "step": 1, "epoch": epoch}[unit])))

    def __call__(self, step: int, until: int) -> bool:
        return step % self.steps == 0 or step == until


class Meter:
    """Mean loss and speed since the last reading. Losses stay on the device until then."""

    def __init__(self, losses: Sequence[float] = ()) -> None:
        self._losses: list[torch.Tensor] = [torch.tensor(loss) for loss in losses]
        self._steps, self._began = 0, time.perf_counter()

    def add(self, loss: torch.Tensor) -> None:
        self._losses.append(loss)
        self._steps += 1

    def unread(self) -> list[float]:
        """The losses since the last reading: a checkpoint keeps them, so that a resumed run logs the same means."""
        if not self._losses:
            return []
        device = self._losses[-1].device
        return torch.stack([loss.to(device) for loss in self._losses]).tolist()

    def read(self) -> tuple[float, float]:
        """(mean loss, steps a second), and starts anew. Waits for the device."""
        mean = float(torch.tensor(self.unread(), dtype=torch.float64).mean())
        now = time.perf_counter()
        speed = self._steps / (now - self._began)
        self._losses, self._steps, self._began = [], 0, now
        return mean, speed

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is not training: sheets, checkpoints, the held-out loss."""
        at = time.perf_counter()
        yield
        self._began += time.perf_counter() - at
