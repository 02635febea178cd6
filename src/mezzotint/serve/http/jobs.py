"""Jobs of the API: their state, the clients that wait for it, and how long a result is kept.

The engine's thread tells a job what happens; the job hands that to the event loop as one immutable `Now`. Whoever
waits is woken and reads the present state: nothing is queued for slow readers, and whoever comes late misses nothing
that still matters. Previews and results are decoded and packed in threads of their own, not in the engine's.
"""

import asyncio
import base64
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from starlette.concurrency import run_in_threadpool
from torch import Tensor

from mezzotint import plots
from mezzotint.model.samples import Samples
from mezzotint.serve.engine.tickets import Diverged, Phase, Ticket, TooLong
from mezzotint.serve.http.results import in_base64
from mezzotint.serve.http.schemas import JobStatus, Shown

log = logging.getLogger(__name__)
OVER = ("done", "failed", "cancelled")
KEPT_BYTES = 2**28  # of all results together
HEARTBEAT = 15.0  # seconds between signs of life, so that proxies keep a quiet stream open
QUEUE_SECONDS = 1.0  # between looks at how many are ahead of a queued job


@dataclass(frozen=True)
class Now:
    phase: Phase = "queued"
    step: int = 0
    preview: Tensor | None = None  # the codes of what is believed at that step, on the device
    noisy: Tensor | None = None  # and of the state that the next step starts from
    seconds: float | None = None  # when over
    detail: str | None = None  # of a failure


class Job:
    """A request of the event loop's it was made in. ended: called by the engine's thread when it is over. ahead: how many
    requests came before it."""

    def __init__(
        self,
        ticket: Ticket,
        preview_every: int | None,
        ended: Callable[["Job", Now], None],
        ahead: Callable[[Ticket], int],
    ) -> None:
        self.id = secrets.token_urlsafe(12)  # not to be guessed: who knows it may read and cancel
        self.ticket, self.preview_every, self.ended = ticket, preview_every, ended
        self._ahead = ahead
        self.now = Now()
        self.samples: Samples | None = None
        self.over = asyncio.Event()
        self.over_at = 0.0
        self._turned = asyncio.Event()
        self._decoding: asyncio.Task[None] | None = None
        self._previews: dict[Shown, tuple[Now, asyncio.Task[Any]]] = {}
        self._loop = asyncio.get_running_loop()
        ticket.listen = self._listen

    def cancel(self) -> None:
        self.ticket.cancel()

    def _listen(self, ticket: Ticket) -> None:
        """In the engine's thread."""
        now = Now(ticket.phase, ticket.step)
        if ticket.phase in OVER:
            now = replace(now, seconds=time.monotonic() - ticket.arrived, detail=explain(ticket.error))
        elif ticket.step:
            if not self.preview_every or ticket.step % self.preview_every:
                return
            now = replace(now, preview=ticket.belief(), noisy=ticket.noisy())
        try:
            if ticket.phase in OVER:
                self.ended(self, now)  # counted and logged before who waits gets an answer
        finally:
            with suppress(RuntimeError):  # the loop is closed already, and nobody waits
                self._loop.call_soon_threadsafe(self._turn, now)

    def _turn(self, now: Now) -> None:
        if now.phase == "done":
            self._decoding = self._loop.create_task(self._decode(now))
        else:
            self._show(now)

    async def _decode(self, now: Now) -> None:
        codes, self.ticket.result = self.ticket.result, None
        assert codes is not None
        try:
            self.samples = await run_in_threadpool(self._samples, codes)
        except Exception as error:  # ours, not theirs
            log.exception("decoding failed")
            now = replace(now, phase="failed", detail=explain(error))
        self._show(now)

    def _samples(self, codes: Tensor, preview: bool = False) -> Samples:
        model = self.ticket.model
        codec = model.codec_of(self.ticket.request)
        things = codec.preview(codes) if preview else codec.decode(codes)
        return model.finish(self.ticket.request, things.cpu())

    def _show(self, now: Now) -> None:
        self.now = now
        if now.phase in OVER:
            self.over_at = time.monotonic()
            self.over.set()
        self._turned.set()
        self._turned = asyncio.Event()

    def status(self, now: Now | None = None) -> JobStatus:
        now, ticket = now or self.now, self.ticket
        seconds = time.monotonic() - ticket.arrived if now.seconds is None else now.seconds
        return JobStatus(
            id=self.id,
            state=now.phase,
            step=now.step,
            steps=ticket.request.steps,
            n=ticket.request.n,
            seed=ticket.request.seed,
            model=ticket.model.source,
            seconds=round(seconds, 3),
            detail=now.detail,
            note=ticket.request.note or None,
            ahead=self._ahead(ticket) if now.phase == "queued" else None,
        )

    async def events(self, shown: Shown = "sheet") -> AsyncIterator[str]:
        """Server-sent events: first the present state, then every change, until it is over.

        The name of an event is the state, or "progress" for a step with a preview (as `shown` says). A reader slower
        than the steps skips some of them.
        """
        told: Now | None = None
        ahead: int | None = None
        while True:
            turned, now, status = self._turned, self.now, self.status()
            if now is not told or status.ahead != ahead:
                yield await self._event(now, status, shown)
                told, ahead = now, status.ahead
            if now.phase in OVER:
                return
            try:
                await asyncio.wait_for(turned.wait(), QUEUE_SECONDS if now.phase == "queued" else HEARTBEAT)
            except TimeoutError:
                yield ": still here\n\n"

    async def _event(self, now: Now, status: JobStatus, shown: Shown) -> str:
        content = status.model_dump(mode="json")
        name = "progress" if now.phase == "started" and now.step else now.phase
        if (shown == "single" and now.phase == "done") or (shown != "none" and now.preview is not None):
            content |= await self._pictures(now, shown)
        return f"event: {name}\ndata: {json.dumps(content)}\n\n"

    async def _pictures(self, now: Now, shown: Shown) -> dict[str, Any]:
        """The preview of a state, or the pictures, made once for however many readers: PNGs in base64."""

        def make() -> dict[str, Any]:
            if now.phase == "done":
                assert self.samples is not None
                return {"images": in_base64(self.samples)}
            assert now.preview is not None and now.noisy is not None
            belief = self._samples(now.preview, preview=True)
            if shown == "sheet":
                still = plots.png(belief.picture(), belief.settings)  # of what moves a film strip
                return {"preview": base64.b64encode(still).decode()}
            noisy = self._samples(now.noisy, preview=True)
            return {"previews": in_base64(belief), "noisy": in_base64(noisy)}

        before = self._previews.get(shown)
        if before is None or before[0] is not now:
            before = self._previews[shown] = now, self._loop.create_task(run_in_threadpool(make))
        return await asyncio.shield(before[1])  # of readers that go, others may stay


async def merged(streams: Iterable[AsyncIterator[str]]) -> AsyncIterator[str]:
    """The events of several jobs as one stream, each as it comes, until all are over."""
    nexts = {asyncio.ensure_future(anext(stream)): stream for stream in streams}
    try:
        while nexts:
            ready, _ = await asyncio.wait(nexts, return_when=asyncio.FIRST_COMPLETED)
            for one in ready:
                stream = nexts.pop(one)
                with suppress(StopAsyncIteration):
                    yield one.result()
                    nexts[asyncio.ensure_future(anext(stream))] = stream
    finally:
        for one in nexts:
            one.cancel()


def explain(error: Exception | None) -> str | None:
    """Why a request failed, for the client; other errors go to the log only."""
    match error:
        case None:
            return None
        case Diverged():
            return f"the sampler diverged: {error}"
        case TooLong():
            return "not finished in the time that /v1/limits allows; ask for fewer pictures or steps"
        case ValueError():
            return "the model cannot be sampled with these settings: try fewer steps, or another spacing or sampler"
        case _:
            return "the model failed on this request; the server's log says why, under the request's id"


class Jobs:
    """Jobs by their id. Finished ones are removed when they are many, large or old."""

    def __init__(self, keep: int, seconds: float) -> None:
        self.keep, self.seconds = keep, seconds
        self._jobs: dict[str, Job] = {}

    def add(self, job: Job) -> None:
        self.tidy()
        self._jobs[job.id] = job

    def get(self, key: str) -> Job | None:
        self.tidy()
        return self._jobs.get(key)

    def __len__(self) -> int:
        return len(self._jobs)

    def tidy(self) -> None:
        """Removes jobs that are too old; then the oldest ones beyond the limits."""
        finished = sorted((j for j in self._jobs.values() if j.over.is_set()), key=lambda j: -j.over_at)
        size, oldest = 0, time.monotonic() - self.seconds
        for number, job in enumerate(finished):
            size += 0 if job.samples is None else job.samples.values.nbytes
            if number >= self.keep or size > KEPT_BYTES or job.over_at < oldest:
                del self._jobs[job.id]
