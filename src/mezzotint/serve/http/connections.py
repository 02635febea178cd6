"""One connection of a client: how long it may take to say what it wants or to read what it gets, and how many may wait.

Connections that say nothing cost nobody else anything: of many that wait for their next request the oldest are closed,
so that there is always room for one more, a probe or anybody's request. Requests under way are counted in `guard`.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_SECONDS = 10.0  # for the head of a request to arrive
READ_SECONDS = 30.0  # for a reader to take MIN_READ_BYTES of a response
MIN_READ_BYTES = 2**14
WAITING_PER_ADDRESS = 64  # connections without a whole request
WAITING = 512


class Connection(H11Protocol):
    """uvicorn's, with limits. The proxies that are trusted have none of their own."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._head: asyncio.TimerHandle | None = None
        self._reader: asyncio.TimerHandle | None = None

    @property
    def waits(self) -> bool:
        """Whether no whole request has come since the last response."""
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.began = self.loop.time()
        self._await_head()
        waiting = [one for one in self.connections if isinstance(one, Connection) and one.waits]
        address = self.client[0] if self.client else ""
        trusted = str(self.config.forwarded_allow_ips or "").split(",") if self.config.proxy_headers else []
        if address not in map(str.strip, trusted):
            self._make_room(
                [one for one in waiting if (one.client or ("",))[0] == address], WAITING_PER_ADDRESS
            )
        self._make_room(waiting, WAITING)

    def _make_room(self, waiting: list["Connection"], most: int) -> None:
        for one in sorted(waiting, key=lambda one: one.began)[: max(len(waiting) - most, 0)]:
            one.transport.abort()

    def _await_head(self) -> None:
        if self._head is None:
            self._head = self.loop.call_later(HEAD_SECONDS, self.transport.abort)

    def _head_is_here(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def handle_events(self) -> None:
        super().handle_events()
        cycle: Any = self.cycle
        if cycle is None or cycle.response_complete:
            self._await_head()
        else:
            self._head_is_here()

    def on_response_complete(self) -> None:
        self.began = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def _await_reader(self) -> None:
        self._reader = self.loop.call_later(
            READ_SECONDS, self._check_reader, self.transport.get_write_buffer_size()
        )

    def _check_reader(self, unread: int) -> None:
        """A long answer may take a slow reader long; who takes next to nothing is let go."""
        if unread - self.transport.get_write_buffer_size() < MIN_READ_BYTES:
            self.transport.abort()
        else:
            self._await_reader()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._end_reader()

    def _end_reader(self) -> None:
        if self._reader is not None:
            self._reader.cancel()
            self._reader = None

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        self._end_reader()
        super().connection_lost(exc)
