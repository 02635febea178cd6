"""Careless and hostile neighbours of a real server, all of them on 127.0.0.1."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from test_live import Live

from mezzotint.serve.http.connections import WAITING_PER_ADDRESS

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


def test_half_a_head_is_not_waited_for(live: Live) -> None:
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" in client.recv(4096)
        began = time.monotonic()
        try:
            while time.monotonic() - began < 18:  # a byte now and then does not help
                client.sendall(b"G")
                time.sleep(0.5)
            gone = False
        except OSError:
            gone = True
        assert gone and 8 < time.monotonic() - began < 16


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
        long = {"n": 64, "steps": 1000}
        spoofed = [live.ask("/v1/jobs", long, **{"X-Forwarded-For": f"192.0.2.{i}"})[0] for i in range(33)]
        assert spoofed == [202] * 32 + [429], "without --proxy, nobody is believed"
        seconds, _ = live.stop()
        assert seconds < 5
    finally:
        live.process.kill()
