"""Requests of the engine in progress, cut into parts that fit a call."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mezzotint.diffusion.engine import Walk
from mezzotint.diffusion.sampler import AfterStep
from mezzotint.model.model import Model
from mezzotint.model.request import Request

Phase = Literal["queued", "started", "done", "failed", "cancelled"]


class Busy(RuntimeError):
    """No room for another request. mine: the client has reached its own limit. retry_after: seconds, a guess."""

    def __init__(self, *, mine: bool, retry_after: int) -> None:
        super().__init__("too many requests of this client" if mine else "too many requests")
        self.mine, self.retry_after = mine, retry_after


class Closed(RuntimeError):
    """The engine takes no more requests."""


class TooLong(RuntimeError):
    """A request was not finished in its time."""


class Diverged(RuntimeError):
    """The result is not finite with these settings."""


@dataclass(eq=False)
class Ticket:
    """A request of a model in progress. Read it from any thread; only the engine's thread changes it.

    listen: runs on the engine's thread after every change of `phase` and of `step`; must return quickly. result: the codes
    of what `Model.sample` would have made: (n, *D) float32 on the CPU, when done; whoever shows them decodes them, away
    from the engine's thread. error: why it failed.
    """

    model: Model
    request: Request
    client: str = ""
    seconds: float = math.inf  # time from its arrival to its end
    listen: Callable[["Ticket"], None] = lambda ticket: None
    phase: Phase = "queued"
    step: int = 0  # steps done, of request.steps
    result: Tensor | None = None
    error: Exception | None = None
    arrived: float = field(default_factory=time.monotonic)
    over: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False  # asked for; it takes effect before the next call
    parts: list["Part"] = field(default_factory=list)

    def cancel(self) -> None:
        self.cancelled = True

    def belief(self) -> Tensor | None:
        """The codes of the pictures as they are now, (n, *D) on the device; None before the first step. For listeners."""
        states = [part.state for part in self.parts]
        return torch.cat([s.x0 for s in states if s]) if states and all(states) else None

    def noisy(self) -> Tensor | None:
        """The same of the noisy state that the next step starts from."""
        states = [part.state for part in self.parts]
        return torch.cat([s.x for s in states if s]) if states and all(states) else None


@dataclass(eq=False)
class Part:
    """Some rows of a request, few enough for one call: a walk of its own, made when its turn first comes."""

    ticket: Ticket
    request: Request
    walk: Walk | None = None
    state: AfterStep | None = None

    @property
    def rows(self) -> int:
        return self.request.n
