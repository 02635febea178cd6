"""mezzotint ui"""

import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.output import warn_of_token

POINTS = 2000  # of models of points: fewer do not show what they are like


def ui(
    runs: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN|MODEL]...",
            help="models to choose from, beside all runs (default: the bundled models)",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="address to listen on; other than loopback needs --token")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="port of the page; 0 takes a free one", min=0, max=65535)
    ] = 8501,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="MEZZOTINT_TOKEN",
            help="token that visitors must type; set in the environment, it is not visible in the list of processes",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="host name by which browsers may call this machine"),
    ] = None,
    out: options.Out = options.RUNS,
    device: options.Device = None,
    encoder: options.Encoder = None,
) -> int:
    """Opens the Studio, a page to make pictures in the browser.

    Grids, edits, a history, and runs as they train. It is the Studio of `mezzotint serve`, with the bundled models and all runs. Nothing leaves this machine.

    \b
    Examples:
      mezzotint ui --port 8600
      mezzotint ui digits runs/mnist
      MEZZOTINT_TOKEN=$(openssl rand -hex 16) mezzotint ui --host 0.0.0.0
    """
    from mezzotint.cli.serve import check_extra
    from mezzotint.disk.names import MODEL, bundled, check_runs, find

    check_extra()
    from mezzotint.serve.http.server import serve
    from mezzotint.serve.http.settings import Settings, make_limits

    options.check_encoder(encoder, ())  # the runs may be those that have use for it
    check_runs(out, options.RUNS)
    warn_of_token(token)
    own = {name: file for name, file in bundled().items() if not (out / name / MODEL).is_file()} or bundled()
    usual = [str(own[name]) for name in sorted(own, key=lambda name: "mnist" not in name)]
    settings = Settings(
        models=tuple([str(find(name, out)) for name in runs or ()] or usual),
        runs=out,
        token=token,
        hosts=tuple(allow_host or ()),
        log=Path(os.devnull),
        device=device or "auto",
        encoder=encoder,
        measure=False,  # one person asks, and waits for the page
        limits=make_limits(max_n=POINTS),
    )

    def ready(address: str) -> None:
        print(f"mezzotint: the page is at {address}/studio; Ctrl-C ends it", flush=True)
        if sys.stdout.isatty():
            webbrowser.open(f"{address}/studio")

    serve(settings, host, port, ready=ready)
    return 0
