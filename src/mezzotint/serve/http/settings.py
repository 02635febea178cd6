"""Settings of a server: by `mezzotint serve`, or by environment variables."""

import ipaddress
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mezzotint.disk.names import check_runs
from mezzotint.errors import ConfigError

Positive = Annotated[int, Field(ge=1, le=2**40)]
SHORTEST = 16  # characters of a token


class Limits(BaseModel):
    """Limits of one server; `GET /v1/limits` shows them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    max_n: Positive = Field(default=64, description="pictures of a request")
    max_steps: Positive = Field(default=1000, description="steps of a request")
    max_pixels: Positive = Field(default=2**24, description="height times width times n of a request")
    max_seconds: Positive = Field(default=300, description="from a request's arrival to its end")
    max_body: Positive = Field(default=16_384, description="bytes of a request's body")
    max_edit_body: Positive = Field(default=2**23, description="the same of an edit, with its pictures")
    max_edit_pixels: Positive = Field(
        default=2**24, description="width times height of a picture or mask that is sent"
    )
    max_rows: Positive = Field(default=64, description="pictures a network call")
    max_queue: Positive = Field(default=64, description="requests that are not over, of all clients")
    max_per_client: Positive = Field(
        default=32, description="requests that are not over, of one client (address)"
    )
    keep_jobs: Positive = Field(default=64, description="finished jobs that are kept for who asks")
    keep_seconds: Positive = Field(default=600, description="how long they are kept")


@dataclass(frozen=True)
class Settings:
    """models: names as `disk.names.find` knows them; the first is the default; none: the newest run, or where
    nothing was trained yet a bundled model. token: None where none is set,
    "none" where requests need none. hosts: names, besides localhost and plain addresses, by which browsers may call this
    server. runs: a folder of runs that may be looked at, and whose models may be asked; None: none may. encoder: where the
    encoder lies by which models read texts, if no longer where training found it."""

    models: tuple[str, ...] = ()
    token: str | None = None
    hosts: tuple[str, ...] = ()
    runs: Path | None = None
    log: Path | None = None  # of inferences, JSON lines; None: stderr
    device: str = "auto"
    weights: str = "ema"
    encoder: Path | None = None
    threads: int | None = None  # of a network call on a processor; None: as many as it has cores
    measure: bool = True  # at the start, how large a call of each model pays
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise ConfigError(f"threads must be a whole number from 1, not {self.threads}")
        if self.token is not None and self.token != "none" and len(self.token) < SHORTEST:
            raise ConfigError(
                f"a token needs {SHORTEST} characters or more; make one with: openssl rand -hex 16"
            )

    @property
    def secret(self) -> str | None:
        """The token that requests must bring, if any."""
        return None if self.token == "none" else self.token

    @staticmethod
    def from_environment(environment: Mapping[str, str] = os.environ) -> "Settings":
        """MEZZOTINT_MODELS, _HOSTS (both separated by commas), _RUNS, _TOKEN, _LOG, _DEVICE, _WEIGHTS, _ENCODER, _THREADS, _MEASURE (1, or 0
        for no), and _MAX_N and so on."""

        def read(name: str) -> str | None:
            return environment.get(f"MEZZOTINT_{name}") or None

        def listed(name: str) -> tuple[str, ...]:
            return tuple(word.strip() for word in (read(name) or "").split(",") if word.strip())

        given = {name: read(name.upper()) for name in Limits.model_fields}
        log, runs, encoder = read("LOG"), read("RUNS"), read("ENCODER")
        threads, measure = read("THREADS"), read("MEASURE") or "1"
        if threads is not None and not threads.isdecimal():
            raise ConfigError(f"MEZZOTINT_THREADS must be a whole number from 1, not {threads!r}")
        if measure not in ("0", "1"):
            raise ConfigError(f"MEZZOTINT_MEASURE must be 0 or 1, not {measure!r}")
        return Settings(
            models=listed("MODELS"),
            token=read("TOKEN"),
            hosts=listed("HOSTS"),
            runs=check_runs(Path(runs)) if runs else None,
            log=Path(log) if log else None,
            device=read("DEVICE") or "auto",
            weights=read("WEIGHTS") or "ema",
            encoder=Path(encoder) if encoder else None,
            threads=None if threads is None else int(threads),
            measure=measure == "1",
            limits=make_limits(**{name: value for name, value in given.items() if value is not None}),
        )


def make_limits(**given: int | str) -> Limits:
    """Limits with changes. Raises ConfigError."""
    try:
        return Limits.model_validate(given)
    except ValidationError as error:
        name = str(error.errors()[0]["loc"][0])
        raise ConfigError(f"{name.replace('_', '-')} must be a whole number from 1 to 2^40") from error


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone. Names other than localhost are not looked up."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reached_at(host: str) -> tuple[str, str | None]:
    """The address to open on this machine, and on others that of the same network, for a server that listens at `host`;
    None where there is no other, or it is not known. As they stand in a URL."""
    try:
        everywhere = ipaddress.ip_address(host).is_unspecified  # 0.0.0.0 and :: are no addresses to go to
    except ValueError:
        return host, None
    v6 = ":" in host
    if not everywhere:
        return f"[{host}]" if v6 else host, None
    outside = None
    with (
        suppress(OSError),
        socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM) as probe,
    ):
        probe.connect(
            ("2001:db8::1" if v6 else "192.0.2.1", 9)
        )  # by which address would it go?  Nothing is sent
        outside = probe.getsockname()[0]
    return ("[::1]", outside and f"[{outside}]") if v6 else ("127.0.0.1", outside)
