"""mezzotint ui"""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.output import warn_of_token


def ui(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN|MODEL]...", help="models to choose from; all runs by default"),
    ] = None,
    host: Annotated[
        str, typer.Option("--host", help="address to listen on; other than loopback needs --token")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="port of the page", min=1, max=65535)] = 8501,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            envvar="MEZZOTINT_TOKEN",
            help="token that visitors must type; from the environment, no list of processes shows it",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="host name by which browsers may call this machine"),
    ] = None,
    out: options.Out = Path("runs"),
    device: options.Device = None,
) -> int:
    """Starts a page for the browser to make pictures and see how.

    It shows noising, denoising and a run in training. It works offline and sends no data.

    \b
    Examples:
      mezzotint ui --port 8600
      mezzotint ui digits runs/mnist
      MEZZOTINT_TOKEN=$(openssl rand -hex 16) mezzotint ui --host 0.0.0.0
    """
    from importlib.util import find_spec

    from mezzotint.errors import MissingExtra

    if find_spec("streamlit") is None:
        raise MissingExtra('streamlit is not installed; run: pip install "mezzotint[ui]"')
    from mezzotint.disk.names import find
    from mezzotint.model.device import find_device
    from mezzotint.ui.start import Desk, start

    warn_of_token(token)
    desk = Desk(
        models=tuple(str(find(name, out)) for name in runs or ()),
        runs=str(out),
        device=str(find_device(device or "auto")),
        token=token,
    )
    return start(desk, host, port, allow_host or ())
