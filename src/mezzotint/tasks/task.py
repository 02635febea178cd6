"""Tasks of a request: where its steps begin, how predictions are corrected, and how often steps are repeated.

`Task()` makes new things out of noise. A task with a `start` begins from a picture, one with an `operator` keeps to what
is known of the result; edit.py, enlarge.py, colour.py and morph.py say which is which. All of them are rows of the same
shared network calls.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.inverse import Operator, steered
from mezzotint.diffusion.process import Process, add_noise
from mezzotint.diffusion.routes import ancestral, churn, repaint, shrink
from mezzotint.diffusion.sampler import AfterStep, Steps, start
from mezzotint.diffusion.schedule import Schedule, grid
from mezzotint.diffusion.table import SAMPLERS, check_noise
from mezzotint.randomness import noise

JUMP = 1  # stops that a return goes back; longer ones were no better (docs/LOG.md)


@dataclass(frozen=True)
class Way:
    """How a model is sampled: its process, its schedule, the shape of one code, and the settings that people know."""

    process: Process
    schedule: Schedule
    shape: Sequence[int]
    sampler: str
    steps: int
    spacing: str
    eta: float = 0.0
    churn: float = 0.0

    def levels(self) -> Tensor:
        """The plain grid, (steps + 1,) float64 logsnr from noise to clean."""
        return grid(self.spacing, self.steps, self.schedule)

    def stops(self, levels: Tensor, returns: int = 1) -> Tensor:
        """The sampler's own way over a plain grid, each stretch of it walked `returns` times.

        ValueError for fresh noise that the sampler does not take.
        """
        check_noise(self.sampler, self.eta, self.churn)
        row = SAMPLERS[self.sampler]
        stops = row.stops(levels)
        if self.eta:
            stops = ancestral(stops, self.eta)
        elif self.churn:
            stops = churn(stops, self.churn)
        if returns == 1:
            return stops
        stride = (
            2 if row.route or self.eta or self.churn else 1
        )  # every second stop is then one of the plain grid
        return repaint(stops, JUMP * stride, returns)


class Kind(Protocol):
    """What an engine has to know of a task. Rows are those of one request."""

    def steps(self, way: Way, seeds: Tensor) -> Steps:
        """Of len(seeds) things; seeds (B,) int64 on the device that computes."""
        ...

    def cond(self, cond: Cond) -> Cond:
        """What the rows that the steps ask about are told, where the things are told `cond`."""
        ...

    def count(self, steps: int) -> int:
        """How many steps it takes, where its settings say so many."""
        ...

    def part(self, begin: int, end: int) -> "Kind":
        """The same for things begin ... end - 1 alone."""
        ...


@dataclass(frozen=True, eq=False)
class Task:
    """start: codes (n or 1, *D) float32 on the CPU that things begin from, noised to share `strength` of the way to noise:
    1 is noise alone, and what stands there does not matter; 0 gives the start back, at no call. Between them it is continuous.

    operator, y: what is known of the results, A x0 = y, y (n or 1, *E) on the CPU. returns: times that each stretch of the way is walked,
    so that what is known and what is invented come to agree (RePaint). noise: (n, *D) float32 on the CPU in the place of
    the noise that the seeds stand for at the beginning.
    """

    start: Tensor | None = None
    strength: float = 1.0
    operator: Operator | None = None
    y: Tensor | None = None
    returns: int = 1
    noise: Tensor | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise ValueError(f"strength must be from 0 to 1, not {self.strength:g}")
        if self.returns < 1:
            raise ValueError(f"returns must be at least 1, not {self.returns}")
        assert (self.operator is None) == (self.y is None) and (self.strength == 1 or self.start is not None)

    def steps(self, way: Way, seeds: Tensor) -> Steps:
        if self.strength == 0:
            assert self.start is not None
            return _as_it_is(
                self.start.to(seeds.device).expand(len(seeds), *way.shape), self.count(way.steps)
            )
        z = noise(seeds, 0, 0, way.shape) if self.noise is None else self.noise.to(seeds.device)
        levels = way.levels() if self.strength == 1 else shrink(way.levels(), self.strength)
        stops = way.stops(levels, self.returns)
        if self.strength == 1:
            first = start(way.process, stops[0], z)
        else:
            assert self.start is not None
            first = add_noise(way.process, self.start.to(seeds.device).expand_as(z), z, stops[0])
        row = SAMPLERS[way.sampler]
        steps = row.walk(
            way.process, first, stops, lambda interval, draw: noise(seeds, interval + 1, draw, way.shape)
        )
        if self.operator is None or self.y is None:
            return steps
        return steered(steps, way.process, self.operator, self.y.to(seeds.device))

    def cond(self, cond: Cond) -> Cond:
        return cond

    def count(self, steps: int) -> int:
        return steps * self.returns

    def part(self, begin: int, end: int) -> "Task":
        def rows(column: Tensor | None) -> Tensor | None:
            return column if column is None or len(column) == 1 else column[begin:end]

        return replace(
            self,
            start=rows(self.start),
            y=rows(self.y),
            noise=None if self.noise is None else self.noise[begin:end],
        )


def _as_it_is(x: Tensor, step: int) -> Steps:
    """The last of all steps, at once."""
    yield AfterStep(x, x, step)
