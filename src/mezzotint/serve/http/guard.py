"""Access control: token, host, origin and size of a request. Everything here happens before a body is parsed.

Browsers are the reason for the checks of Host and Origin: a page from elsewhere may make its visitor's browser call a
server on loopback, by its address (then Origin and Sec-Fetch-Site tell), or by a name of the page's own that has been
made to point here (then Host tells).
"""

import asyncio
import hmac
import ipaddress
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mezzotint.serve.http.problems import Problem
from mezzotint.serve.http.settings import Settings, is_loopback
from mezzotint.serve.http.studio import PATHS, POLICY

OPEN = {
    "/",
    "/healthz",
    "/readyz",
    "/docs",
    "/openapi.json",
    *PATHS,
}  # without a token; they tell nothing of the models
WITH_PICTURES = {"/v1/edits", "/v1/jobs/edits", "/v1/images/edits"}  # their bodies may be larger,
PICTURES_AT_ONCE = 8  # but not all at once: so many of the largest, together
PATIENCE = 10.0  # seconds for a body to arrive
MAX_HEAD_BYTES = 16_384  # of a path, its query and all headers
HEAD = "mezzotint.head"  # the key of a scope whose client wants no body: what would compute one need not
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?", re.IGNORECASE)


class Guard:
    """ASGI middleware. Refuses with 401, 403, 408, 413, 421, 429, 431 or 503; else hands on the request with its whole
    body. HEAD is GET whose answer ends with its head. Probes are never too many."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.names = {"localhost", *(name.lower() for name in settings.hosts)}
        self.open: Counter[str] = Counter()  # requests under way, of each client
        self.held = 0  # bytes of the larger bodies under way

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        head = scope["method"] == "HEAD"
        ended = False

        async def sealed(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *(PAGE if scope["path"] in PATHS else HEADERS)]
                await send(message)
                if head:
                    ended = True
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
            elif not ended:
                await send(message)

        async def hand_on(body: bytes) -> None:
            whole: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

            async def replay() -> Message:
                if ended:  # streams end, too
                    return {"type": "http.disconnect"}
                return whole.pop() if whole else await receive()

            await self.app({**scope, "method": "GET", HEAD: True} if head else scope, replay, sealed)

        headers = Headers(scope=scope)
        try:
            self._check(scope, headers)
            with self._room(scope["path"], headers) as most:
                body = await self._body(most, headers, receive)
                with self._counted(scope):
                    if body is not None:  # None: left before it was whole
                        await hand_on(body)
        except Problem as problem:
            await problem.response(scope["path"])(scope, receive, sealed)

    @contextmanager
    def _room(self, path: str, headers: Headers) -> Iterator[int]:
        """How many bytes the body may have. Where that is many, only some requests may be under way at once."""
        limits = self.settings.limits
        if path not in WITH_PICTURES:
            yield limits.max_body
            return
        said = headers.get("content-length", "")
        size = min(int(said[:20]) if said.isdecimal() else limits.max_edit_body, limits.max_edit_body)
        if self.held + size > PICTURES_AT_ONCE * limits.max_edit_body:
            words = "too many pictures under way; try again in 5 s"
            raise Problem(503, words, {"Retry-After": "5", "Connection": "close"})
        self.held += size
        try:
            yield limits.max_edit_body
        finally:
            self.held -= size

    @contextmanager
    def _counted(self, scope: Scope) -> Iterator[None]:
        client = self._enter(scope)
        try:
            yield
        finally:
            if client is not None:
                self.open[client] -= 1
                self.open += Counter()  # forgets whom nothing is owed

    def _enter(self, scope: Scope) -> str | None:
        """Counts a request that is no probe; returns whose it is. More of them than anybody needs are refused: a client
        has those that compute, and streams of events."""
        if scope["path"] in OPEN:
            return None
        client = (scope.get("client") or ("",))[0]
        limits = self.settings.limits
        for count, most, status in (
            (self.open[client], 4 * limits.max_per_client + 16, 429),
            (self.open.total(), 4 * limits.max_queue + 64, 503),
        ):
            if count >= most:
                headers = {"Retry-After": "5", "Connection": "close"}
                raise Problem(status, "too many requests in progress; try again in 5 s", headers)
        self.open[client] += 1
        return str(client)

    def _check(self, scope: Scope, headers: Headers) -> None:
        said = len(scope.get("raw_path") or b"") + len(scope["query_string"])
        if said + sum(len(name) + len(value) + 4 for name, value in scope["headers"]) > MAX_HEAD_BYTES:
            words = f"path and headers may have {MAX_HEAD_BYTES} bytes"
            raise Problem(431, words, {"Connection": "close"})
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self._known(hosts[0]):
            raise Problem(421, "this host name is not allowed; add it with --allow-host")
        origin = headers.get("origin")
        if origin is not None and urlsplit_netloc(origin) != hosts[0].lower():
            raise Problem(403, "pages of other origins may not call this server")
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not (
            headers.get("sec-fetch-mode") == "navigate" and scope["path"] in OPEN
        ):  # a link may lead to the pages, and to nothing that computes or tells; curl sends no such header
            raise Problem(403, "pages of other sites may not call this server")
        secret = self.settings.secret
        if secret is None:
            here = (scope.get("server") or ("", 0))[0]
            if self.settings.token != "none" and not is_loopback(here):
                raise Problem(403, "without a token this server answers on loopback only")
        elif scope["path"] not in OPEN:
            brought = headers.get("authorization", "").encode("latin-1", "replace")
            if not hmac.compare_digest(brought, f"Bearer {secret}".encode()):
                raise Problem(
                    401, "send the token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
                )

    def _known(self, host: str) -> bool:
        """localhost, a name that was allowed, or a plain address, which no page can make point elsewhere."""
        match = HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].lower()
        if name in self.names:
            return True
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True

    async def _body(self, most: int, headers: Headers, receive: Receive) -> bytes | None:
        too_much = Problem(413, f"the body may have at most {most} bytes", {"Connection": "close"})
        said = headers.get("content-length", "0")
        if not said.isdecimal() or int(said[:20]) > most:
            raise too_much
        body = bytearray()
        try:
            async with asyncio.timeout(PATIENCE):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return None
                    body += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(body) > most:
                        raise too_much
        except TimeoutError:
            raise Problem(
                408, "the body arrived too slowly; send it again", {"Connection": "close"}
            ) from None
        return bytes(body)


HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"),
    (b"cross-origin-resource-policy", b"same-origin"),
]

PAGE = [(name, POLICY.encode() if name == b"content-security-policy" else value) for name, value in HEADERS]


def urlsplit_netloc(origin: str) -> str | None:
    """host:port of an origin as a Host header has it; None where it is none, such as "null"."""
    try:
        parts = urlsplit(origin)
    except ValueError:
        return None
    whole = f"{parts.scheme}://{parts.netloc}"
    return parts.netloc.lower() if parts.scheme in ("http", "https") and origin == whole else None
