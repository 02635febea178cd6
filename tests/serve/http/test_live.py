"""Real servers: signals, crashes, clients that vanish or do not read, and two replicas behind a proxy."""

import http.client
import itertools
import json
import os
import re
import select
import signal
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_forked import popen

from mezzotint.serve.http.settings import reached_at

Start = Callable[..., "Live"]
PATIENCE = 120  # seconds of waiting for what comes: a busy machine is no mistake of the server


def slower() -> float:
    """By how much other work slows this machine, about."""
    return 1 + os.getloadavg()[0] / (os.cpu_count() or 1)


class Live:
    """A server in a process of its own."""

    def __init__(self, desk: Path, port: int, *words: str) -> None:
        self.process = popen(
            *("serve", "tiny", "--device", "cpu", "--port", port, *words),
            cwd=desk,
            env={**os.environ, "MEZZOTINT_TOKEN": ""},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.port = port

    def ready(self) -> "Live":
        """Waits until it says hello, and where."""
        assert self.process.stdout
        self.hello = self.process.stdout.readline()
        if not self.hello:
            raise AssertionError(self.process.communicate())
        self.port = int(self.hello.split("at http://127.0.0.1:")[1].split(";")[0])
        return self

    def ask(self, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, bytes]:
        return ask(self.port, path, body, **headers)

    def stop(self, number: int = signal.SIGTERM) -> tuple[float, str]:
        """Seconds until it was gone, and what it said."""
        began = time.monotonic()
        self.process.send_signal(number)
        out, _ = self.process.communicate(timeout=PATIENCE)
        return time.monotonic() - began, out


def ask(port: int, path: str, body: dict[str, Any] | None = None, **headers: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        if body is None:
            connection.request("GET", path, headers=headers)
        else:
            headers["Content-Type"] = "application/json"
            connection.request("POST", path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


@pytest.fixture
def start(runs: Path) -> Iterator[Start]:
    started: list[Live] = []

    def start(port: int = 0, *words: str) -> Live:
        started.append(Live(runs.parent, port, *words))
        return started[-1]

    yield start
    for live in started:
        if live.process.poll() is None:
            live.process.kill()
        live.process.communicate()


@pytest.fixture(scope="module")
def live(runs: Path) -> Iterator[Live]:
    """One server for several tests; the last one stops it."""
    live = Live(runs.parent, 0).ready()
    yield live
    if live.process.poll() is None:
        live.process.kill()
    live.process.communicate()


def test_an_address_of_all_is_told_as_addresses_that_open(start: Start) -> None:
    live = start(0, "--host", "0.0.0.0", "--token", "0123456789abcdef").ready()
    assert ask(live.port, "/healthz")[0] == 200
    outside = reached_at("0.0.0.0")[1]  # None on a machine without a network
    assert (f"; from other machines: http://{outside}:" in live.hello) == (outside is not None)
    assert "0.0.0.0" not in live.hello
    assert f"how to ask: http://127.0.0.1:{live.port}/docs" in live.hello
    for address in re.findall(r"http://([\d.]+):", live.hello):
        socket.create_connection((address, live.port), timeout=5).close()


def test_who_vanishes_or_does_not_read_holds_up_nobody(live: Live) -> None:
    address = ("127.0.0.1", live.port)

    def say(text: str) -> socket.socket:
        client = socket.create_connection(address)
        client.sendall(text.replace("\n", "\r\n").encode())
        return client

    vanishing = say("GET /generate?steps=1000&n=64 HTTP/1.1\nHost: localhost\n\n")
    deaf = [say("GET /generate?n=64 HTTP/1.1\nHost: localhost\n\n" * 20) for _ in range(3)]
    slow = say("POST /v1/generate HTTP/1.1\nHost: localhost\nContent-Length: 10\n\n{")
    half = say("GET /generate HT")
    key = json.loads(live.ask("/v1/jobs", {"steps": 1000, "preview_every": 1})[1])["id"]
    watching = say(f"GET /v1/jobs/{key}/events HTTP/1.1\nHost: localhost\n\n")
    assert select.select([watching], [], [], PATIENCE)[0]
    assert b"text/event-stream" in watching.recv(4096)
    vanishing.close()
    for rubbish in (
        "\0\1\2\3" * 50,
        "GET / HTTP/9.9\n\n",
        "G" * 100_000,
        "GET / HTTP/1.1\nHost: a\nHost: b\n\n",
    ):
        say(rubbish).close()
    assert live.ask("/generate")[0] == 200
    live.ask(f"/v1/jobs/{key}/cancel", {})
    deadline = time.monotonic() + PATIENCE
    while json.loads(live.ask("/")[1])["requests"] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert json.loads(live.ask("/")[1])["requests"] == 0
    assert 'outcome="cancelled"} 2.0' in live.ask("/metrics")[1].decode()  # and not done, all 1,000 steps
    for client in (*deaf, slow, half, watching):
        client.close()
    assert live.ask("/generate")[0] == 200


def test_at_last_it_stops_in_time_and_says_what_it_did(live: Live) -> None:
    key = json.loads(live.ask("/v1/jobs", {"n": 64, "steps": 1000, "guidance": 2})[1])["id"]
    answers: list[tuple[int, bytes]] = []
    waiting = [
        threading.Thread(
            target=lambda steps=steps: answers.append(live.ask("/v1/generate", {"steps": steps}))
        )
        for steps in (20, 1000)
    ]
    events = http.client.HTTPConnection("127.0.0.1", live.port, timeout=PATIENCE)
    events.request("GET", f"/v1/jobs/{key}/events")
    stream = events.getresponse()
    idle = socket.create_connection(("127.0.0.1", live.port))
    for thread in waiting:
        thread.start()
    deadline = time.monotonic() + PATIENCE  # until all three are under way, or the short one is there
    while not answers and json.loads(live.ask("/")[1])["requests"] < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    busy = slower()
    seconds, out = live.stop()
    for thread in waiting:
        thread.join(PATIENCE)
    idle.close()
    assert seconds < 5 * busy
    assert "stopping; requests under way: " in out and "stopped; finished: " in out
    statuses = sorted(status for status, _ in answers)
    assert len(statuses) == 2 and set(statuses) <= {200, 503}, answers
    assert statuses[0] == 200 or busy > 2, (
        answers
    )  # in the two seconds that are left to it, on a machine that has them
    assert b"event: cancelled" in stream.read()
    assert live.process.returncode in (-signal.SIGTERM, 143)


class RoundRobin(socketserver.ThreadingTCPServer):
    """The proxy of docs/serving.md in few lines: every connection to the next replica, or to one that is there."""

    daemon_threads = True

    def __init__(self, ports: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), Relay)
        self.turns, self.count = itertools.cycle(ports), len(ports)

    def replica(self) -> socket.socket:
        for _ in range(self.count):
            try:
                return socket.create_connection(("127.0.0.1", next(self.turns)))
            except OSError:
                continue
        raise ConnectionError("no replica is there")


class Relay(socketserver.BaseRequestHandler):
    server: RoundRobin

    def handle(self) -> None:
        replica = self.server.replica()
        other = {self.request: replica, replica: self.request}
        while True:
            for source in select.select(list(other), [], [])[0]:
                content = source.recv(65536)
                if not content:
                    return
                other[source].sendall(content)


def test_two_replicas_behind_a_proxy_and_a_crash(start: Start, runs: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in runs.parent.rglob("*")}
    behind = ("--proxy", "127.0.0.1", "--max-per-client", "1")
    replicas = [live.ready() for live in [start(0, *behind) for _ in range(2)]]
    with RoundRobin([live.port for live in replicas]) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        port = proxy.server_address[1]
        pictures = [ask(port, "/generate?seed=7&n=4") for _ in range(6)]
        assert {status for status, _ in pictures} == {200}
        assert len({content for _, content in pictures}) == 1  # the same seed, on either of them
        served = [live.ask("/metrics")[1].decode() for live in replicas]
        assert all('outcome="done"} 3.0' in text for text in served)

        long, first = {"n": 64, "steps": 1000}, {"X-Forwarded-For": "192.0.2.1"}
        assert replicas[0].ask("/v1/jobs", long, **first)[0] == 202
        assert replicas[0].ask("/v1/jobs", long, **first)[0] == 429
        assert replicas[0].ask("/v1/jobs", long, **{"X-Forwarded-For": "192.0.2.2"})[0] == 202

        failures: list[Exception] = []

        def wait() -> None:
            try:
                replicas[0].ask("/v1/generate", long)
            except Exception as error:
                failures.append(error)

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        replicas[0].stop(signal.SIGKILL)
        thread.join(PATIENCE)
        assert isinstance(failures[0], OSError | http.client.HTTPException)  # who waited there knows at once
        assert {ask(port, "/generate")[0] for _ in range(4)} == {200}  # the proxy goes on with the other

        began = time.monotonic()
        again = start(replicas[0].port).ready()
        assert again.ask("/readyz")[0] == 200
        assert time.monotonic() - began < 10 * slower()
        assert again.ask("/generate?seed=7&n=4")[1] == pictures[0][1]
        proxy.shutdown()
    assert {path: path.stat().st_mtime_ns for path in runs.parent.rglob("*")} == before
