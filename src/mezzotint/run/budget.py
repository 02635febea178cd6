"""One budget, in whatever unit: how many steps it buys.

Minutes become steps by a trial before the first one, and are counted anew at a few looks at the clock, since a machine does not stay as
busy as it was. What a look finds is written into a checkpoint at once: a run that goes on never looks at the same place twice, and its
learning rate follows from what was written.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from mezzotint.config import Train

USUAL_EPOCHS = 20  # where no budget is given
LOOKS = (0.1, 0.3, 0.6, 0.85)  # shares of the run
LEAST_PACED = 10  # steps at least, by which a pace is told
SPARE = 0.02  # share of the minutes for the last sheet and the last checkpoint
LEAST_LEFT = 0.1  # of the steps that were left, however late it is: the learning rate has to come down
FEW_STEPS = 500  # the quickest recipe, digits of 8x8 pixels, takes 625


class Plan(NamedTuple):
    """Which share of a run is done at a step: `share` at the step of the last look, and from there straight to 1 at step `until`."""

    until: int
    step: int = 0
    share: float = 0.0

    def at(self, step: float) -> float:
        return self.share + (1 - self.share) * (step - self.step) / (self.until - self.step)

    def reached(self, share: float) -> int:
        """The step at which a share ahead is done."""
        return math.ceil(self.step + (share - self.share) / (1 - self.share) * (self.until - self.step))

    @staticmethod
    def from_now(until: int, step: int) -> "Plan":
        """That of a run which has done so many steps, as if it had gone straight to `until` from the start."""
        return Plan(until, step, step / until)

    @staticmethod
    def of(stored: Mapping[str, Any]) -> "Plan":
        """That of a checkpoint."""
        return Plan(stored["until"], *stored.get("looked", ()))

    @property
    def next_look(self) -> int:
        """The step of the next look at the clock; `until` where there is none."""
        ahead = [share for share in LOOKS if share > self.share + 1e-9]
        return max(self.reached(ahead[0]), self.step + LEAST_PACED) if ahead else self.until

    def looked(self, step: int, seconds_left: float, seconds_a_step: float) -> "Plan":
        """The plan from a look on: as many more steps as there is time for."""
        fewest = max(1, math.ceil(LEAST_LEFT * (self.until - step)))
        more = max(fewest, int(seconds_left / seconds_a_step))
        return Plan(step + more, step, self.at(step))

    def rate(self, rate: Callable[[float], float]) -> Callable[[float], float]:
        """A learning rate over the share that is done, as one over steps / until, which is the same until the first look."""
        return rate if self.step == 0 else lambda share: rate(self.at(share * self.until))


class Clock:
    """That of a budget of so many minutes. began: when they did, by `now`, which gives seconds from any origin; or when this process did, of a
    run that goes on from what a checkpoint has stored."""

    def __init__(
        self,
        minutes: float,
        began: float,
        stored: Mapping[str, Any] | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        stored = stored or {}
        self.minutes, self.began, self.now = minutes, began - stored.get("seconds", 0.0), now
        self.go_on(stored)

    def go_on(self, stored: Mapping[str, Any]) -> None:
        """From a checkpoint: the pace is that of the steps since the last look, in whatever processes they were."""
        self._steps, self._seconds = stored.get("paced", (0, 0.0))
        self._since: tuple[int, float] | None = None  # a step of this process, and when it was done

    @property
    def spent(self) -> float:
        """Seconds."""
        return self.now() - self.began

    def due(self, plan: Plan, step: int) -> bool:
        """Asked after every step: whether to look. The first step of a process, which may compile, tells no pace."""
        if self._since is None:
            self._since = step, self.now()
        return plan.next_look <= step < plan.until

    def kept(self, step: int) -> dict[str, Any]:
        """What a checkpoint keeps after a step."""
        since, then = self._since or (step, self.now())
        paced = self._steps + step - since, self._seconds + self.now() - then
        return {"seconds": self.spent, "paced": paced}

    def look(self, plan: Plan, step: int) -> Plan:
        """The plan from this step on, by the pace since the last look, with all that was not training."""
        steps, seconds = self.kept(step)["paced"]
        self._steps, self._seconds, self._since = 0, 0.0, (step, self.now())
        left = 60 * (1 - SPARE) * self.minutes - self.spent
        return plan.looked(step, left, seconds / steps) if steps else Plan(plan.until, step, plan.at(step))


def clock_of(train: Train, began: float, stored: Mapping[str, Any] | None) -> Clock | None:
    """The clock of a run; None without minutes, and for a run that goes on from a checkpoint of a version that never looked: it keeps the
    steps that it was given then, to the bit."""
    if train.minutes is None or (stored is not None and "seconds" not in stored):
        return None
    return Clock(train.minutes, began, stored)


def fixed_steps(train: Train, total: int) -> int | None:
    """Steps of a budget in steps, images or epochs, for a set of `total` things; None for minutes, which have to be
    measured."""
    if train.minutes is not None:
        return None
    images = train.images or (train.epochs or USUAL_EPOCHS) * total
    return train.steps or max(1, math.ceil(images / train.batch_size))


def in_steps(minutes: float, steps: int) -> str:
    """A line on what a budget in minutes has become on this machine."""
    line = f"{minutes:g} minutes are {steps:,} step{'s' * (steps != 1)} on this machine"
    if steps >= FEW_STEPS:
        return line
    return (
        f"{line}: too few to learn much; give more minutes, a smaller network or smaller pictures, or stop what else keeps the machine busy "
        "(mezzotint doctor, with the same words, says what fits)"
    )
