"""What `tune` tries, what it finds of it, and what it ends with."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from mezzotint.config import Sample


@dataclass(frozen=True)
class Target:
    """calls: network calls a picture (NFE) at most; a step counts twice where it is guided. seconds: for 64 pictures on this
    machine. Neither: the calls of the present defaults. agreement: the share of pictures, in [0, 1], that a classifier
    should take for the class they were asked to be; settings that reach it are preferred."""

    calls: int | None = None
    seconds: float | None = None
    agreement: float = 0.99


PRESENT_CALLS = Target()


@dataclass(frozen=True)
class Choice:
    """Settings to try. weights: "ema", those of the model file, or an EMA length, "0.07"."""

    weights: str
    settings: Sample

    def changed(self, **changes: Any) -> "Choice":
        """The same with other settings, by their names."""
        return replace(self, settings=self.settings.model_copy(update=changes))


@dataclass(frozen=True)
class Trial:
    """How good the pictures of a choice are. distance: to real ones, lower is better, with its standard error.
    agreement: see `Target`; None where there are no classes. calls: of the network, a picture."""

    choice: Choice
    calls: int
    distance: float
    error: float
    agreement: float | None

    def rank(self, agreement_goal: float) -> tuple[float, float]:
        """The lower, the better: first what is missing of the agreement that is wanted, then the distance."""
        return max(0.0, agreement_goal - (1.0 if self.agreement is None else self.agreement)), self.distance


TRIAL_KEYS = ("calls", "distance", "error", "agreement")  # of a trial


@dataclass(frozen=True)
class TrialDone:
    """After a trial. best: the best so far. left: seconds to go, roughly."""

    trial: Trial
    best: bool
    done: int
    total: int
    left: float


@dataclass(frozen=True)
class Outcome:
    """The end: present defaults against the best ones found, on fresh seeds. kind, words: of the distance and the real ones.
    seconds: for 64 pictures, of each. gain: of
    distance, with its standard error. is_better: whether the best ones are better beyond noise; reason: in words.
    written: whether they are the model file's defaults now."""

    path: Path
    kind: Literal["frechet", "energy"]
    words: str
    present: Trial
    best: Trial
    seconds: tuple[float, float]
    gain: float
    error: float
    is_better: bool
    reason: str
    written: bool


@dataclass(frozen=True)
class Grid:
    """What is tried: EMA lengths, guidance scales by intervals of sigma / alpha, and samplers by shares of the
    steps that the target allows."""

    lengths: tuple[float, ...]
    scales: tuple[float, ...]
    intervals: tuple[tuple[float, float] | None, ...]
    samplers: tuple[str, ...]
    shares: tuple[float, ...]
    around: tuple[float, ...]  # the best scale and the ends of its interval, times this


FULL = Grid(
    lengths=(0.02, 0.03, 0.04, 0.05, 0.07, 0.1, 0.14, 0.2),
    scales=(1.5, 2.0, 3.0, 4.0),
    intervals=(None, (0.1, 6.0), (0.2, 3.0), (0.4, 3.0), (0.2, 1.5)),
    samplers=(
        *("dpmpp_2m", "dpmpp_3m", "unipc", "unipc_3", "deis"),  # a call a step
        *("heun", "dpmpp_2s", "ddim", "dpmpp_2m_sde", "euler_a"),  # two calls; simple; with fresh noise
    ),
    shares=(0.8, 0.6),
    around=(0.75, 1.33),
)
STUDENTS = ("ddim", "consistency")  # samplers of models whose guidance is baked in
QUICK = Grid((0.03, 0.05, 0.1, 0.2), (1.5, 2.5), (None, (0.2, 3.0)), ("dpmpp_2m", "unipc", "heun"), (), ())
