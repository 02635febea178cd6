"""Careless and hostile neighbours of a real server, all of them on 127.0.0.1."""

import http.client
import json
import select
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest
import uvicorn
from helpers_small import Gate
from test_live import Live, ask

from mezzotint.model.model import Model
from mezzotint.serve.http import connections, guard, jobs
from mezzotint.serve.http.connections import WAITING, WAITING_PER_ADDRESS
from mezzotint.serve.http.server import configured
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings, make_limits

TOKEN = "0123456789abcdef-secret"


@pytest.fixture(scope="module")
def live(runs: Path) -> Iterator[Live]:
    live = Live(runs.parent, 0).ready()
    yield live
    live.process.kill()
    live.process.communicate()


def test_a_thousand_silent_connections_keep_nobody_out(live: Live) -> None:
    address = ("127.0.0.1", live.port)
    silent: list[socket.socket] = []
    began = time.monotonic()
    try:
        for number in range(1000):
            client = socket.create_connection(address, timeout=10)
            if number % 3 == 1:
                client.sendall(b"GET /generate HTTP/1.1\r\nHost: local")
            if number % 3 == 2:
                client.sendall(b"POST /v1/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
            silent.append(client)
            if number % 100 == 99:
                assert [live.ask(path)[0] for path in ("/healthz", "/readyz", "/")] == [200] * 3
        assert live.ask("/generate")[0] == 200
        assert time.monotonic() - began < 60
        if (numbers := Path(f"/proc/{live.process.pid}/fd")).is_dir():
            assert len(list(numbers.iterdir())) < WAITING_PER_ADDRESS + 60
    finally:
        for client in silent:
            client.close()


@contextmanager
def serving(
    models: dict[str, Model], tmp_path: Path, proxies: str | None = None, **limits: int
) -> Iterator[int]:
    """The port of a server in this process, whose limits a test may change."""
    settings = Settings(log=tmp_path / "log.jsonl", limits=make_limits(**limits))
    server = uvicorn.Server(configured(settings, Service(models, settings), proxies))
    with socket.create_server(("127.0.0.1", 0)) as bound:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**14)  # of its connections, too
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield bound.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join(20)


def test_only_the_proxy_that_was_named_is_believed(
    models: dict[str, Model], gate: Gate, tmp_path: Path
) -> None:
    def statuses(port: int, *said: str) -> list[int]:
        gate.close()
        return [ask(port, "/v1/jobs", {}, **{"X-Forwarded-For": text})[0] for text in said]

    for proxies in (None, "192.0.2.9"):
        with serving(models, tmp_path, proxies, max_per_client=1) as port:
            assert statuses(port, "192.0.2.1", "192.0.2.2", "192.0.2.9") == [202, 429, 429]
            gate.open.set()
    with serving(models, tmp_path, "127.0.0.1, 192.0.2.9", max_per_client=1) as port:
        assert statuses(port, "192.0.2.1", "192.0.2.2", "192.0.2.2") == [202, 202, 429]
        # what a client writes itself stands before what the proxy adds
        assert statuses(port, "198.51.100.7, 192.0.2.1", "198.51.100.8, 192.0.2.3") == [429, 202]
        gate.open.set()


@pytest.mark.parametrize("line", ["POST /v1/generate", "GET /generate"])
def test_a_body_in_endless_chunks_is_not_waited_for(
    models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    assert guard.PATIENCE == 10
    monkeypatch.setattr(guard, "PATIENCE", 0.5)
    with (
        serving(models, tmp_path) as port,
        socket.create_connection(("127.0.0.1", port), timeout=10) as client,
    ):
        client.sendall(f"{line} HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        began = time.monotonic()
        while not select.select([client], [], [], 0.05)[0]:
            client.sendall(b"1\r\n \r\n")
            assert time.monotonic() - began < 8
        assert b"408 Request Timeout" in client.recv(4096)
        assert ask(port, "/generate")[0] == 200


def test_who_reads_slowly_gets_all_and_who_reads_next_to_nothing_is_let_go(
    models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connections.READ_SECONDS == 30
    monkeypatch.setattr(connections, "READ_SECONDS", 0.3)
    content = b"x" * 8_000_000
    monkeypatch.setattr("mezzotint.serve.http.endpoints.encode", lambda *_: content)

    def read(port: int, size: int) -> tuple[int, float]:
        """Bytes that came, and in how many seconds; after two, they are taken as they come."""
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            client.sendall(b"GET /generate HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            got, began = 0, time.monotonic()
            with suppress(ConnectionResetError):
                while part := client.recv(size if time.monotonic() - began < 2 else 2**20):
                    got += len(part)
                    if time.monotonic() - began < 2:
                        time.sleep(0.01)
            return got, time.monotonic() - began

    with serving(models, tmp_path) as port:
        got, seconds = read(port, 2**16)
        assert got > len(content) and seconds > 0.5
        assert read(port, 16)[0] < len(content)


@pytest.mark.skipif(sys.platform != "linux", reason="needs many addresses of loopback")
def test_of_many_addresses_there_is_a_limit_too(live: Live) -> None:
    silent = []
    try:
        for number in range(WAITING + 100):
            source = (f"127.0.1.{number % 12 + 1}", 0)
            silent.append(
                socket.create_connection(("127.0.0.1", live.port), timeout=10, source_address=source)
            )
        assert [live.ask(path)[0] for path in ("/healthz", "/generate")] == [200, 200]
        files = len(list(Path(f"/proc/{live.process.pid}/fd").iterdir()))
        assert WAITING - 20 < files < WAITING + 60
        with suppress(ConnectionResetError):
            assert silent[0].recv(1) == b"", "the oldest went"
        there = silent[-1]
        there.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" in there.recv(4096)
    finally:
        for client in silent:
            client.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs several addresses of loopback")
def test_hundreds_of_event_streams_that_nobody_reads(live: Live) -> None:
    """Of one long job; each address may have 144 requests under way."""
    job = {"n": 64, "steps": 1000, "preview_every": 100}
    key = json.loads(live.ask("/v1/jobs", job)[1])["id"]
    line = f"GET /v1/jobs/{key}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    deaf, heads = [], []
    try:
        for number in range(300):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.bind((f"127.0.2.{number // 150 + 1}", 0))
            client.settimeout(10)
            client.connect(("127.0.0.1", live.port))
            client.sendall(line)
            deaf.append(client)
            heads.append(client.recv(12))
        assert heads.count(b"HTTP/1.1 200") == 288 and heads.count(b"HTTP/1.1 429") == 12
        began = time.monotonic()
        assert [live.ask(path)[0] for path in ("/healthz", "/generate?steps=2")] == [200, 200]
        assert time.monotonic() - began < 10
        assert live.ask(f"/v1/jobs/{key}/cancel", {})[0] == 202
    finally:
        for client in deaf:
            client.close()
    until = time.monotonic() + 20
    while live.ask("/")[1] and json.loads(live.ask("/")[1])["requests"] and time.monotonic() < until:
        time.sleep(0.05)
    assert json.loads(live.ask("/")[1])["requests"] == 0
    assert live.ask(f"/v1/jobs/{key}")[0] == 200


def test_a_preview_is_made_once_for_all_who_watch(
    models: dict[str, Model], gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a hundred readers of one job keep the server busy with the same picture."""
    png, encoded = jobs.plots.png, []
    monkeypatch.setattr(jobs.plots, "png", lambda *given: encoded.append(given) or png(*given))
    gate.close()
    with serving(models, tmp_path) as port, ExitStack() as stack:
        key = json.loads(ask(port, "/v1/jobs", {"steps": 4, "preview_every": 2})[1])["id"]
        readers = []
        for _ in range(20):
            readers.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10)))
            readers[-1].sendall(f"GET /v1/jobs/{key}/events HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        texts = [reader.recv(2**16).decode() for reader in readers]
        gate.open.set()
        for number, reader in enumerate(readers):
            while part := reader.recv(2**16):
                texts[number] += part.decode()
        assert all("event: done" in text for text in texts)
        assert sum('"preview": ' in text for text in texts) > 1 and len(encoded) == 1, "after step 2 of 4"


def test_half_a_head_is_not_waited_for(
    models: dict[str, Model], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert connections.HEAD_SECONDS == 10
    monkeypatch.setattr(connections, "HEAD_SECONDS", 1.0)
    with (
        serving(models, tmp_path) as port,
        socket.create_connection(("127.0.0.1", port), timeout=20) as client,
    ):
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" in client.recv(4096)
        began = time.monotonic()
        try:
            while time.monotonic() - began < 8:  # a byte now and then does not help
                client.sendall(b"G")
                time.sleep(0.1)
            gone = False
        except OSError:
            gone = True
        assert gone and 0.8 < time.monotonic() - began < 6


def test_heads_have_a_limit(live: Live) -> None:
    for headers in ({"X": "x" * 70_000}, {f"X-{i}": "x" * 100 for i in range(700)}):
        with suppress(OSError):  # closed while we spoke
            assert live.ask("/healthz", None, **headers)[0] in (400, 431)
    assert live.ask("/healthz?" + "x" * 12_000)[0] == 200
    assert live.ask("/healthz", None, X="x" * 10_000)[0] == 200


def test_head_is_get_without_its_body(live: Live) -> None:
    key = json.loads(live.ask("/v1/jobs", {"steps": 1000, "n": 64})[1])["id"]
    for path in (
        "/",
        "/healthz",
        "/docs",
        "/openapi.json",
        "/v1/models",
        "/generate",
        f"/v1/jobs/{key}/events",
    ):
        connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=20)
        connection.request("HEAD", path)
        answer = connection.getresponse()
        assert answer.status == 200 and answer.read() == b"", path
        assert answer.headers["content-type"]
        connection.request("HEAD", "/nothing")
        assert connection.getresponse().status == 404
        connection.close()
    live.ask(f"/v1/jobs/{key}/cancel", {})


def test_a_token_is_in_no_log_and_no_list_of_processes(runs: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    live = Live(runs.parent, 0, "--log", str(log), "--token", TOKEN).ready()
    try:
        assert live.ask("/generate", None, Authorization=f"Bearer {TOKEN}")[0] == 200
        assert live.ask("/generate", None, Authorization=f"Bearer {TOKEN}x")[0] == 401
        live.process.terminate()
        out, err = live.process.communicate(timeout=20)
        assert "other users see the token in the list of processes" in err
        assert TOKEN not in out + err + log.read_text()
    finally:
        live.process.kill()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_log_on_a_full_disk_ends_nothing(runs: Path) -> None:
    live = Live(runs.parent, 0, "--log", "/dev/full").ready()
    try:
        assert [live.ask("/generate")[0] for _ in range(3)] == [200] * 3
        live.process.terminate()
        out, err = live.process.communicate(timeout=20)
        assert "stopped; finished" in out
        assert err.count("cannot be written; serving goes on") == 1 and "Traceback" not in err
    finally:
        live.process.kill()


def test_a_log_that_is_removed_is_begun_again(runs: Path, tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    live = Live(runs.parent, 0, "--log", str(log)).ready()
    try:
        assert live.ask("/generate")[0] == 200
        log.unlink()
        assert live.ask("/generate")[0] == 200
        assert len(log.read_text().splitlines()) == 1
        seconds, _ = live.stop()
        assert seconds < 5
    finally:
        live.process.kill()
