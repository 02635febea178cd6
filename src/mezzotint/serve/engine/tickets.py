"""What the engine is given, and what it gives back: a request on its way, cut into parts that fit a call."""

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from mezzotint.config import Sample
from mezzotint.diffusion.engine import Walk
from mezzotint.diffusion.sampler import AfterStep
from mezzotint.diffusion.solvers import Ask
from mezzotint.model.model import Model

Phase = Literal["queued", "started", "done", "failed", "cancelled"]
Group = tuple[int, bool]  # the model's identity, and whether beliefs are clipped


class Busy(RuntimeError):
    """No room for another request. mine: the client has its share already. retry_after: seconds, a guess."""

    def __init__(self, *, mine: bool, retry_after: int) -> None:
        super().__init__("too many requests of this client" if mine else "too many requests")
        self.mine, self.retry_after = mine, retry_after


class Closed(RuntimeError):
    """The engine takes no more requests."""


class TooLong(RuntimeError):
    """A request was not finished in its time."""


class Diverged(RuntimeError):
    """The result is not finite: the settings ask too much of the sampler."""


@dataclass(eq=False)
class Ticket:
    """A request on its way. Read it from any thread; only the engine's thread changes it.

    n pictures of model from seed on, labels (n,) int64 as from `Model.labels`. listen: called by the engine's thread,
    so briefly, after every change of `phase` and of `step`. result: what `Model.sample` would have made, before
    quantization: (n, *D) float32 on the CPU, when done. error: why it failed.
    """

    model: Model
    n: int
    labels: Tensor | None
    seed: int
    settings: Sample
    client: str = ""
    seconds: float = math.inf  # time from its arrival to its end
    listen: Callable[["Ticket"], None] = lambda ticket: None
    phase: Phase = "queued"
    step: int = 0  # steps done, of settings.steps
    result: Tensor | None = None
    error: Exception | None = None
    arrived: float = field(default_factory=time.monotonic)
    over: threading.Event = field(default_factory=threading.Event)
    cancelled: bool = False  # asked for; it takes effect before the next call
    parts: list["Part"] = field(default_factory=list)

    def cancel(self) -> None:
        self.cancelled = True

    def belief(self) -> Tensor | None:
        """What the pictures look like now, (n, *D) on the device; None before the first step. For listeners."""
        states = [part.state for part in self.parts]
        return torch.cat([s.x0 for s in states if s]) if states and all(states) else None

    @property
    def group(self) -> Group:
        clip = self.settings.clip
        return id(self.model), self.model.facts.pictures if clip is None else clip


@dataclass(eq=False)
class Part:
    """Some rows of a request, few enough for one call: a run of its own, made when its turn first comes."""

    ticket: Ticket
    begin: int
    rows: int
    run: Walk | None = None
    ask: Ask | None = None
    state: AfterStep | None = None

    def start(self) -> Walk:
        ticket, end = self.ticket, self.begin + self.rows
        labels = None if ticket.labels is None else ticket.labels[self.begin : end]
        return ticket.model.run(self.rows, labels, ticket.seed + self.begin, ticket.settings)
