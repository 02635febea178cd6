"""Intervals at which something is due, and readings of training: mean loss, speed."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.train.loop import Progress


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


class Reading(NamedTuple):
    """What happened since the last reading."""

    loss: float  # mean over the steps that were not skipped; nan where all were
    levels: list[float | None]  # the same by parts of the noise levels; None where nothing was drawn
    skipped: list[int]  # the steps whose loss or gradient was not finite
    speed: float  # steps a second


class Meter:
    """Losses, skipped steps and speed since the last reading. They stay on the device until then."""

    def __init__(self, rows: Sequence[Sequence[float]] = ()) -> None:
        self._rows: list[Tensor] = [torch.tensor(row) for row in rows]
        self._steps, self._began = 0, time.perf_counter()
        self._lost = 0  # steps in a row that were skipped, up to the last reading

    def add(self, progress: Progress) -> None:
        self._rows.append(torch.cat([progress.skipped[None], progress.levels.flatten()]))
        self._steps += 1

    def pending_rows(self) -> list[list[float]]:
        """What was added since the last reading, a row a step: a checkpoint keeps them, so that a resumed run logs the
        same means."""
        if not self._rows:
            return []
        device = self._rows[-1].device
        return torch.stack([row.to(device) for row in self._rows]).tolist()

    def skipped_in_a_row(self) -> int:
        """How many steps in a row were skipped, up to now. Waits for the device."""
        count = self._lost
        for row in self.pending_rows():
            count = count + 1 if row[0] else 0
        return count

    def peek(self, step: int) -> Reading:
        """Reads after step `step`. Waits for the device."""
        rows = torch.tensor(self.pending_rows(), dtype=torch.float64)
        good = rows[:, 0] == 0
        sums, numbers = rows[good, 1:].sum(0).view(2, -1)
        levels = [a / b if b else None for a, b in zip(sums.tolist(), numbers.tolist())]
        return Reading(
            loss=float(sums.sum() / numbers.sum()),
            levels=levels,
            skipped=[step - len(rows) + 1 + i for i in (~good).nonzero().flatten().tolist()],
            speed=self._steps / (time.perf_counter() - self._began),
        )

    def read(self, step: int) -> Reading:
        """Reads after step `step`, and resets. Waits for the device."""
        reading = self.peek(step)
        self._lost = self.skipped_in_a_row()
        self._rows, self._steps, self._began = [], 0, time.perf_counter()
        return reading

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is not training: sheets, checkpoints, the held-out loss."""
        at = time.perf_counter()
        yield
        self._began += time.perf_counter() - at
