"""Is the server as fast as that of another checkout?  Both under the same loads, in turn, on loopback.

    git worktree add ../before COMMIT
    python benchmarks/sharing.py --before ../before/src

Two servers stand side by side, each with the bundled digits: this checkout's, and the other's. 16 clients ask one of them,
then the other, round after round: first for pictures of mixed samplers and steps, then for the same with and without
clipping in turn. Prints pictures a second and, round by round, this checkout's rate over the other's. At last this checkout's is
asked for the same and edits of pictures in turn, which the other may not know: pictures a second, and how many share a call.
"""

import argparse
import base64
import http.client
import io
import json
import os
import platform
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from serving import CLIENTS, started, wishes

LOADS = ("clipped", "mixed")  # mixed: every other request without clipping


class Server:
    """A server of the code under a folder, in a process of its own."""

    def __init__(self, source: Path, port: int, threads: int) -> None:
        self.port = port
        command = [sys.executable, "-m", "mezzotint", "serve", "digits", "--port", str(port)]
        command += ["--max-per-client", "64", "--log", os.devnull, "--device", "cpu"]
        self.process = started(command, port, PYTHONPATH=str(source), OMP_NUM_THREADS=str(threads))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def rate(port: int, requests: list[dict[str, Any]]) -> float:
    """Pictures a second of a load. Raises RuntimeError where a request is lost."""
    left, lost = list(reversed(requests)), []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
        while left:
            try:
                body = json.dumps(left.pop())
            except IndexError:
                break
            path = "/v1/edits" if '"image"' in body else "/v1/generate"
            connection.request("POST", path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                lost.append(answer.status)
        connection.close()

    began = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if lost:
        raise RuntimeError(f"{len(lost)} requests were lost: {lost[:5]}")
    return len(requests) / (time.perf_counter() - began)


def edited(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same, but every other one makes the right half of a digit anew."""
    files = []
    for box in ((2, 1, 6, 7), (4, 0, 8, 8)):  # a picture, and the mask
        image, content = Image.new("L", (8, 8)), io.BytesIO()
        image.paste(255, box)
        image.save(content, "PNG")
        files.append(base64.b64encode(content.getvalue()).decode())
    given = dict(zip(("image", "mask"), files))
    return [{**wish, **given} if number % 2 else wish for number, wish in enumerate(requests)]


def calls(port: int) -> tuple[float, float]:
    """Network calls of a server so far, and their rows."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    values = dict(line.split() for line in text.splitlines() if line.startswith("mezzotint_call_rows_"))
    return float(values["mezzotint_call_rows_count"]), float(values["mezzotint_call_rows_sum"])


def with_edits(server: Server, count: int, rounds: int) -> dict[str, float]:
    """Pictures a second and pictures a call, of samples alone and with edits among them."""
    plain: list[dict[str, Any]] = [{**wish, "class": str(wish["class"])} for wish in wishes(count)]
    result = {}
    for name, requests in (("samples", plain), ("with edits", edited(plain))):
        rate(server.port, requests[:CLIENTS])
        before = calls(server.port)
        result[name] = statistics.median(rate(server.port, requests) for _ in range(rounds))
        number, rows = (now - then for now, then in zip(calls(server.port), before))
        result[f"{name}, a call"] = rows / number
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="the src folder of the other checkout")
    parser.add_argument("--rounds", type=int, default=7, help="of each load and server")
    parser.add_argument("--requests", type=int, default=160, help="of each round")
    parser.add_argument("--port", type=int, default=8160, help="the first of two")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each server")
    parser.add_argument("--out", type=Path, default=Path("sharing.json"))
    options = parser.parse_args()
    here = Path(__file__).resolve().parents[1] / "src"
    result: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "isa": torch.backends.cpu.get_cpu_capability(),
        "torch": torch.__version__,
        "threads": options.threads,
    }
    servers = {
        name: Server(source, options.port + number, options.threads)
        for number, (name, source) in enumerate((("now", here), ("before", options.before)))
    }
    try:
        for load in LOADS:
            requests: list[dict[str, Any]] = [
                {**wish, "class": str(wish["class"])} for wish in wishes(options.requests)
            ]
            for number, request in enumerate(requests):
                request["clip"] = load == "clipped" or number % 2 == 0
            rates: dict[str, list[float]] = {name: [] for name in servers}
            for server in servers.values():
                rate(server.port, requests[:CLIENTS])  # to warm up
            for number in range(options.rounds):
                order = list(servers) if number % 2 == 0 else list(reversed(servers))
                for name in order:
                    rates[name].append(rate(servers[name].port, requests))
            ratios = [now / before for now, before in zip(rates["now"], rates["before"])]
            result[load] = {
                **{name: statistics.median(values) for name, values in rates.items()},
                "ratio": statistics.median(ratios),
                "ratio_least": min(ratios),
                "ratio_most": max(ratios),
            }
            print(load, json.dumps(result[load]), flush=True)
        result["edits"] = with_edits(servers["now"], options.requests, options.rounds)
        print("edits", json.dumps(result["edits"]), flush=True)
    finally:
        for server in servers.values():
            server.stop()
    options.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
