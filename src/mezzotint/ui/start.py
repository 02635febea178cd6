"""`mezzotint ui`: starts Streamlit on the page, with everything off that would tell others or ask the network."""

import json
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mezzotint.errors import ConfigError, RunError
from mezzotint.serve.http.settings import Settings, is_loopback

SCRIPT = Path(__file__).with_name("page.py")
FLAGS = {
    "browser.gatherUsageStats": "false",
    "server.headless": "true",  # opens no browser and asks for no address
    "server.fileWatcherType": "none",
    "server.enableStaticServing": "false",
    "client.showErrorDetails": "none",  # a traceback is for the terminal
    "client.toolbarMode": "minimal",
    "logger.hideWelcomeMessage": "true",  # it would ask the internet for this machine's address
    "theme.primaryColor": "#0072b2",  # as in the charts
}


@dataclass(frozen=True)
class Desk:
    """What the page is told when it starts."""

    models: tuple[str, ...] = ()  # files to choose from; none: all under runs
    runs: str = "runs"
    device: str = "cpu"
    token: str | None = None  # that visitors type; None: nobody is asked


def start(desk: Desk, host: str, port: int, names: Sequence[str] = ()) -> int:
    """Serves the page until a signal comes; returns the exit code. names: by which browsers know this machine.

    Raises ConfigError where the address needs a token, RunError where it is taken.
    """
    if desk.token is None and not is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from elsewhere: set a token (--token, or MEZZOTINT_TOKEN), or say --token none"
        )
    _check_free(host, port)
    desk = Desk(desk.models, desk.runs, desk.device, Settings(token=desk.token).secret)
    from streamlit import net_util
    from streamlit.web import cli

    # Streamlit takes connections from pages that this machine serves, and to know its addresses asks a host on the
    # internet for the one outside. Names that matter are said with --allow-host.
    net_util.get_external_ip = lambda: None
    flags = {**FLAGS, "server.address": host, "server.port": str(port)}
    words = [f"--{name}={value}" for name, value in flags.items()]
    words += [f"--server.corsAllowedOrigins=http://{name}" for name in names]
    shown = f"[{host}]" if ":" in host else host
    if desk.token is None and not is_loopback(host):
        print("mezzotint: no token: whoever reaches this address may use it", flush=True)
    print(f"mezzotint: the page is at http://{shown}:{port}; Ctrl-C ends it", flush=True)
    sys.argv = ["streamlit", "run", str(SCRIPT)]
    cli.main(["run", str(SCRIPT), *words, "--", json.dumps(asdict(desk))], standalone_mode=False)
    return 0


def _check_free(host: str, port: int) -> None:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        raise RunError(f"cannot serve at {host}, port {port} ({error}); choose another --port") from error
