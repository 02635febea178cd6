"""mezzotint serve"""

import logging
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.imports import imports
from mezzotint.cli.output import warn_of_token
from mezzotint.errors import printable


class _Printable(logging.Formatter):
    """Names and errors of files may hold control characters."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def check_extra() -> None:
    """Raises MissingExtra where something of the extra [serve] is not installed."""
    from importlib.util import find_spec

    from mezzotint.errors import MissingExtra

    for module in ("fastapi", "uvicorn", "prometheus_client", "python_multipart"):
        if find_spec(module) is None:
            raise MissingExtra(f'{module} is not installed; run: pip install "mezzotint[serve]"')


def serve(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|MODEL]...",
            help="models to serve, the default model first (default: the newest run, or a bundled model)",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="address to listen on; other than loopback needs --token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="port; 0 takes a free one", min=0, max=65535)] = 8000,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="MEZZOTINT_TOKEN",
            help="bearer token that requests must carry; set in the environment, it is not visible in the list of processes",
        ),
    ] = None,
    max_queue: Annotated[
        int | None, typer.Option("--max-queue", help="limit: requests in progress (default 64)", min=1)
    ] = None,
    max_per_client: Annotated[
        int | None,
        typer.Option(
            "--max-per-client", help="limit: requests in progress from one address (default 32)", min=1
        ),
    ] = None,
    max_rows: Annotated[
        int | None,
        typer.Option("--max-rows", help="batch size: pictures per network call (default 64)", min=1),
    ] = None,
    max_n: Annotated[
        int | None, typer.Option("--max-n", help="limit: pictures per request (default 64)", min=1)
    ] = None,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", help="limit: steps per request (default 1000)", min=1)
    ] = None,
    max_seconds: Annotated[
        int | None, typer.Option("--max-seconds", help="limit: seconds per request (default 300)", min=1)
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="host name by which browsers may call this server"),
    ] = None,
    show_runs: Annotated[
        Path | None,
        typer.Option("--runs", help="folder of runs to show, with their models (default: none)"),
    ] = None,
    proxy: Annotated[
        str | None, typer.Option("--proxy", help="trusted proxy addresses a,b (X-Forwarded-For)")
    ] = None,
    log: Annotated[
        Path | None, typer.Option("--log", help="file for a line about every request (default: stderr)")
    ] = None,
    weights: Annotated[
        str, typer.Option("--weights", help="weights: ema (averaged) or raw (the last)")
    ] = "ema",
    device: options.Device = None,
    threads: Annotated[
        int | None,
        typer.Option("--threads", help="CPU threads per network call (default: the number of cores)", min=1),
    ] = None,
    measure: Annotated[
        bool,
        typer.Option(
            "--measure/--no-measure",
            help="measurement of the best batch size at the start, a second a model",
        ),
    ] = True,
    encoder: options.Encoder = None,
) -> int:
    """Serves models over HTTP, and the Studio at /studio.

    The page /docs describes the HTTP API. Requests with different samplers, steps and classes share network calls.

    \b
    Examples:
      mezzotint serve latest
      mezzotint serve digits moons --port 8080 --log inferences.jsonl
      MEZZOTINT_TOKEN=$(openssl rand -hex 16) mezzotint serve digits --host 0.0.0.0
    """
    check_extra()
    with imports():
        from mezzotint.disk.names import check_runs
        from mezzotint.serve.http.server import serve as run
        from mezzotint.serve.http.settings import Settings, make_limits

    options.check_encoder(encoder, runs if runs and show_runs is None else ())
    limits = {"max_queue": max_queue, "max_per_client": max_per_client, "max_rows": max_rows}
    limits |= {"max_n": max_n, "max_steps": max_steps, "max_seconds": max_seconds}
    settings = Settings(
        models=tuple(runs or ()),
        token=token,
        hosts=tuple(allow_host or ()),
        runs=None if show_runs is None else check_runs(show_runs),
        log=log,
        device=device or "auto",
        weights=weights,
        encoder=encoder,
        threads=threads,
        measure=measure,
        limits=make_limits(**{name: value for name, value in limits.items() if value is not None}),
    )
    warn_of_token(token)
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("mezzotint: %(message)s"))
    logging.basicConfig(handlers=[handler])
    run(settings, host, port, proxy)
    return 0
