"""The step-batching engine: many requests, one network call. No HTTP here.

A sampler asks what it wants to know (`diffusion.sampler`), so serving many requests is putting their questions below
each other: each keeps its own grid, history, class, guidance and seeds, and may join or leave between any two calls.
One thread of an `Engine` does all the computing of a device. A call is answered for the requests of one model, whatever
their settings, by `diffusion.engine.answer`; what is particular to a request, such as clipping, corrects its answer.
"""

import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from mezzotint.diffusion.engine import answer
from mezzotint.model.model import Model
from mezzotint.serve.engine.tickets import Busy, Closed, Diverged, Part, Phase, Ticket, TooLong

log = logging.getLogger(__name__)


class Engine:
    """One thread that answers all requests of one device.

    max_rows: pictures a network call (guidance may double it). max_queue, max_per_client: requests that are not over,
    of all and of one client. watch: told rows and seconds after every call.
    """

    def __init__(
        self,
        *,
        max_rows: int = 64,
        max_queue: int = 64,
        max_per_client: int = 64,
        watch: Callable[[int, float], None] = lambda rows, seconds: None,
    ) -> None:
        self.max_rows, self.max_queue, self.max_per_client, self.watch = (
            max_rows,
            max_queue,
            max_per_client,
            watch,
        )
        self._most: WeakKeyDictionary[Model, int] = WeakKeyDictionary()
        self._changed = threading.Condition()
        self._open: dict[str, deque[Ticket]] = {}  # of each client; the client whose turn it is comes first
        self._waiting: dict[str, deque[Part]] = {}  # the same for parts that are not finished
        self._closing = self._stopped = False
        self._pace, self._last_end = 1.0, 0.0  # seconds between the ends of requests, smoothed
        self._thread = threading.Thread(target=self._work, name="mezzotint-engine", daemon=True)
        self._thread.start()

    # --- for every thread ------------------------------------------------------------------------------------

    def limit(self, model: Model, rows: int) -> None:
        """Limits the rows of a model's calls from now on, below `max_rows`, since larger calls do not pay."""
        self._most[model] = rows

    def most(self, model: Model) -> int:
        """The largest number of pictures in a call of a model."""
        return min(self.max_rows, self._most.get(model, self.max_rows))

    def submit(self, ticket: Ticket) -> None:
        """Takes a request in; it joins at the next call. Raises Busy or Closed."""
        with self._changed:
            if self._closing:
                raise Closed("the engine is closing")
            mine = len(self._open.get(ticket.client, ()))
            if mine >= self.max_per_client or len(self) >= self.max_queue:
                retry_after = min(max(math.ceil(self._pace), 1), 60)
                raise Busy(mine=mine >= self.max_per_client, retry_after=retry_after)
            ticket.parts = [
                Part(ticket, request) for request in ticket.request.parts(self.most(ticket.model))
            ]
            self._open.setdefault(ticket.client, deque()).append(ticket)
            self._waiting.setdefault(ticket.client, deque()).extend(ticket.parts)
            self._changed.notify_all()

    def __len__(self) -> int:
        """Requests that are not over."""
        return sum(map(len, self._open.values()))

    def ahead(self, ticket: Ticket) -> int:
        """Unfinished requests that came before this one."""
        with self._changed:
            tickets = itertools.chain.from_iterable(self._open.values())
            return sum(one.arrived < ticket.arrived for one in tickets)

    @property
    def alive(self) -> bool:
        """Whether it takes requests and its thread answers them."""
        return self._thread.is_alive() and not self._closing

    def close(self, seconds: float = 3.0) -> tuple[int, int]:
        """Takes no more requests, gives those in progress some seconds, cancels the rest: (finished, cancelled).

        A call that is under way cannot be stopped; the thread ends after it, and does not keep the process alive.
        """
        with self._changed:
            self._closing = True
            left = [ticket for tickets in self._open.values() for ticket in tickets]
            self._changed.wait_for(lambda: not len(self), timeout=seconds)
            for ticket in left:
                ticket.cancel()
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(timeout=1.0)
        finished = sum(ticket.phase in ("done", "failed") for ticket in left)
        return finished, len(left) - finished

    # --- the engine's thread ---------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopped)
                if not self._waiting:
                    return
                gone, chosen = self._leaving(), self._choose()
            for ticket in gone:
                self._end(
                    ticket, "cancelled" if ticket.cancelled else "failed", TooLong("the time limit is over")
                )
            try:
                self._advance(chosen)
            except Exception as error:  # ours, not theirs: say so, and go on with the others
                log.exception("the engine failed")
                for ticket in {part.ticket for part in chosen}:
                    self._end(ticket, "failed", error)

    def _leaving(self) -> list[Ticket]:
        """Takes out the parts of requests that are cancelled, or late."""
        now = time.monotonic()
        tickets = itertools.chain.from_iterable(self._open.values())
        gone = [t for t in tickets if t.cancelled or now - t.arrived > t.seconds]
        for ticket in gone:
            self._remove(ticket.parts)
        return gone

    def _remove(self, parts: list[Part]) -> None:
        for part in parts:
            queue = self._waiting.get(part.ticket.client, deque())
            if part in queue:
                queue.remove(part)
            if not queue:
                self._waiting.pop(part.ticket.client, None)

    def _choose(self) -> list[Part]:
        """The parts of the next call. The client whose turn it is leads: its first part sets the model. Then each client
        in turn adds one of that model, while there is room. The lead goes round, and within a client whoever was
        in this call stands behind who was not, so that nobody waits for ever, however large and of whatever model."""
        chosen: list[Part] = []
        room = 0
        model: Model | None = None
        left = {client: list(parts) for client, parts in self._waiting.items()}
        while left:
            for client, parts in list(left.items()):
                fits = (p for p in parts if model is None or (p.rows <= room and p.ticket.model is model))
                part = next(fits, None)
                if part is None:
                    del left[client]
                    continue
                parts.remove(part)
                chosen.append(part)
                if model is None:
                    model = part.ticket.model
                    room = self.most(model)
                room -= part.rows
        for part in chosen:
            queue = self._waiting[part.ticket.client]
            queue.remove(part)
            queue.append(part)
        if chosen:
            leader = chosen[0].ticket.client
            self._waiting[leader] = self._waiting.pop(leader)
        return chosen

    @torch.no_grad()
    def _advance(self, parts: list[Part]) -> None:
        """One call for all of them; then each goes on to its next question, or to its end."""
        for part in parts:
            if part.walk is None:
                self._send(part, None)
            if part.ticket.phase == "queued":
                part.ticket.phase = "started"
                self._tell(part.ticket)
        self._answer(parts)
        for ticket in dict.fromkeys(part.ticket for part in parts):
            if ticket.over.is_set():
                continue
            step = min(part.state.step if part.state else 0 for part in ticket.parts)
            if step == ticket.request.steps and all(_finished(part) for part in ticket.parts):
                self._finish(ticket)
            elif step > ticket.step:
                ticket.step = step
                self._tell(ticket)

    def _answer(self, parts: list[Part]) -> None:
        """Asks the network. Where a call fails, each of its parts is asked alone: only who is at fault fails."""
        asking = [(part, part.walk) for part in parts if part.walk and part.walk.ask]
        asking = [(part, walk) for part, walk in asking if not part.ticket.over.is_set()]
        if not asking:
            return
        parts = [part for part, _ in asking]
        try:
            began = time.perf_counter()
            answers = answer(parts[0].ticket.model.guided, [walk for _, walk in asking])
            self.watch(sum(part.rows for part in parts), time.perf_counter() - began)
        except Exception as error:
            if len(parts) == 1:
                self._end(parts[0].ticket, "failed", error)
            for part in parts if len(parts) > 1 else ():
                self._answer([part])
            return
        for part, x0 in zip(parts, answers):
            self._send(part, x0)

    def _send(self, part: Part, x0: Tensor | None) -> None:
        """Hands a part its answer and keeps its next question; with None, starts it. A finished part asks nothing."""
        try:
            if part.walk is None:
                part.walk = part.ticket.model.walk(part.request)
            for state in part.walk.go(x0):
                part.state = state
            if part.walk.ask is None:
                with self._changed:
                    self._remove([part])
        except Exception as error:
            self._end(part.ticket, "failed", error)

    def _finish(self, ticket: Ticket) -> None:
        belief = ticket.belief()
        assert belief is not None
        ticket.result = belief.float().cpu().clone()  # a view would keep the whole call's tensor
        ticket.step = ticket.request.steps
        if ticket.result.isfinite().all():
            self._end(ticket, "done")
        else:
            self._end(ticket, "failed", Diverged("take more steps, less guidance, or another sampler"))

    def _end(self, ticket: Ticket, phase: Phase, error: Exception | None = None) -> None:
        if ticket.over.is_set():
            return
        now = time.monotonic()
        with self._changed:
            self._remove(ticket.parts)
            self._open[ticket.client].remove(ticket)
            if not self._open[ticket.client]:
                del self._open[ticket.client]
            since = now - max(self._last_end, ticket.arrived)
            self._pace, self._last_end = 0.8 * self._pace + 0.2 * since, now
            self._changed.notify_all()
        ticket.phase, ticket.parts = phase, []
        if phase == "failed":
            ticket.error, ticket.result = error, None
        self._tell(ticket)
        ticket.over.set()

    def _tell(self, ticket: Ticket) -> None:
        try:
            ticket.listen(ticket)
        except Exception:  # a listener's trouble is nobody else's
            log.exception("a listener failed")


def _finished(part: Part) -> bool:
    return part.walk is not None and part.walk.ask is None
