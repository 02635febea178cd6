"""Monitoring: metrics for Prometheus, and a log line for every inference."""

import json
import logging
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from logging.handlers import WatchedFileHandler
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from mezzotint.errors import ConfigError
from mezzotint.model.request import Request
from mezzotint.serve.http.jobs import Job, Now

log = logging.getLogger(__name__)
ROWS = tuple(2**k for k in range(11))
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)


class Metrics:
    """Counters and histograms of one server, in a registry of its own."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter(
            "mezzotint_requests", "Requests for pictures, by outcome", ["outcome"], registry=registry
        )
        self.pictures = Counter("mezzotint_pictures", "Pictures made", registry=registry)
        self.seconds = Histogram(
            "mezzotint_request_seconds", "From arrival to end", buckets=SECONDS, registry=registry
        )
        self.calls = Histogram(
            "mezzotint_call_seconds", "Of a network call", buckets=SECONDS, registry=registry
        )
        self.rows = Histogram(
            "mezzotint_call_rows", "Pictures that share a call", buckets=ROWS, registry=registry
        )
        Gauge("mezzotint_requests_open", "Requests that are not over", registry=registry).set_function(
            waiting
        )
        ProcessCollector(registry=registry)

    def call(self, rows: int, seconds: float) -> None:
        self.rows.observe(rows)
        self.calls.observe(seconds)

    def text(self) -> bytes:
        return generate_latest(self.registry)


class LogFile(WatchedFileHandler):
    """A file that may be renamed or removed while it is written, and on a disk that may be full: that is said once, and
    serving goes on."""

    failed = False

    def handleError(self, record: logging.LogRecord) -> None:
        if not self.failed:
            self.failed = True
            log.warning("the log %s cannot be written; serving goes on without it", self.baseFilename)

    def close(self) -> None:
        with suppress(OSError):
            super().close()


class InferenceLog:
    """One JSON line for every request for pictures: id, model, seed, settings, seconds, outcome. Of pictures it has the SHA-256."""

    def __init__(self, path: Path | None) -> None:
        try:
            handler = logging.StreamHandler(sys.stderr) if path is None else LogFile(path, encoding="utf-8")
        except OSError as error:
            raise ConfigError(
                f"the log {path} cannot be written ({error.strerror}); choose another --log"
            ) from error
        self._logger = logging.Logger("inferences")
        self._logger.addHandler(handler)

    def write(self, job: Job, now: Now) -> None:
        ticket, request = job.ticket, job.ticket.request
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "request": job.id,
            "model": ticket.model.source,
            "n": request.n,
            "seed": request.seed,
            "class": request.label,
            "settings": {**request.settings.model_dump(exclude_none=True), **_details(request)},
            "seconds": round(now.seconds or 0.0, 3),
            "outcome": now.phase,
        }
        if ticket.error is not None:
            line["error"] = f"{type(ticket.error).__name__}: {ticket.error}"
        self._logger.info(json.dumps(line))

    def close(self) -> None:
        for handler in self._logger.handlers:
            handler.close()


def _details(request: Request) -> dict[str, Any]:
    """Of a task, but what people wrote: prompts are theirs."""
    return {name: value for name, value in request.details.items() if name != "prompt"}
