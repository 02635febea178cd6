"""How much of a run's time goes into what is not training: sheets, the loss curve, the look for copies."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SHARE = 0.1  # of the run's time so far
FREE_SECONDS = 1.0  # that may be spent in any run, however short


class Allowance:
    """A tenth of the time since it was made, less what was spent of it. Training does not depend on it.

    clock: gives seconds, from any origin.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock, self._began, self._spent = clock, clock(), 0.0

    @property
    def left(self) -> float:
        """Seconds that may be spent now; below 0 where more was spent."""
        return max(FREE_SECONDS, SHARE * (self.clock() - self._began)) - self._spent

    @property
    def for_one(self) -> float:
        """Seconds for one thing of several: half of what is left, so that something stays for the next."""
        return self.left / 2

    @contextmanager
    def spending(self) -> Iterator[None]:
        """What is done inside is paid for."""
        began = self.clock()
        try:
            yield
        finally:
            self._spent += self.clock() - began
