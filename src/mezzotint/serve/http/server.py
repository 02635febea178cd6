"""`mezzotint serve`: a server on a socket of its own, which says what it does when it starts and when it stops."""

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from mezzotint.errors import ConfigError, RunError
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.connections import Connection
from mezzotint.serve.http.guard import MAX_HEAD_BYTES
from mezzotint.serve.http.service import Service, load_models
from mezzotint.serve.http.settings import Settings, is_loopback, reached_at


def serve(
    settings: Settings,
    host: str,
    port: int,
    proxies: str | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until a signal comes. proxies: trusted proxy addresses (X-Forwarded-For), separated by commas. ready: told the
    address when it answers; by default it is printed.

    Raises ConfigError where the address needs a token, RunError where it is taken, and what loading raises.
    """
    if settings.token is None and not is_loopback(host):
        raise ConfigError(
            f"{host} can be reached from other machines: set a token (--token, or MEZZOTINT_TOKEN), or add --token none"
        )
    bound = _bind(host, port)
    models = load_models(settings)
    service = Service(models, settings)
    paces = "".join(f"\nmezzotint: {line}" for line in service.measure())
    here, outside = reached_at(host)
    port = bound.getsockname()[1]
    address = f"http://{here}:{port}"
    if settings.token == "none" and not is_loopback(host):
        print("mezzotint: no token: whoever reaches this address may use it", flush=True)
    devices = ", ".join(sorted({str(model.device) for model in models.values()}))
    hello = f"mezzotint: {', '.join(models)} on {devices} at {address}"
    hello += f"; from other machines: http://{outside}:{port}" if outside else ""
    hello += f"; to make pictures: {address}/studio; how to ask: {address}/docs"
    tell = (lambda: ready(address)) if ready is not None else (lambda: print(hello + paces, flush=True))
    Server(configured(settings, service, proxies), service, tell).run(sockets=[bound])


def configured(settings: Settings, service: Service, proxies: str | None = None) -> uvicorn.Config:
    """How uvicorn serves the models of a service. proxies: as of `serve`."""
    return uvicorn.Config(
        create_app(settings, service),
        log_level="warning",
        access_log=False,
        server_header=False,
        ws="none",
        proxy_headers=proxies is not None,
        forwarded_allow_ips=proxies or "",
        http=Connection,
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=3,
    )


def _bind(host: str, port: int) -> socket.socket:
    """Takes the address before the models are loaded; connections are accepted after that."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        raise RunError(f"cannot serve at {host}, port {port} ({error}); choose another --port") from error
    return bound


class Server(uvicorn.Server):
    """Tells when it is ready; on a signal, finishes or cancels the requests under way while the last answers go out."""

    def __init__(self, config: uvicorn.Config, service: Service, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self.service, self.ready = service, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        print(f"mezzotint: stopping; requests under way: {self.service.open_requests}", flush=True)
        closing = asyncio.create_task(asyncio.to_thread(self.service.close))
        await super().shutdown(sockets)
        finished, cancelled = await closing
        print(f"mezzotint: stopped; finished: {finished}, cancelled: {cancelled}", flush=True)
