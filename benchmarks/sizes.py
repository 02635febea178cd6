"""What does a served picture cost, by the size of pictures and calls?

    python benchmarks/sizes.py              # calls of 1 to 64 rows, and servers of 16 clients
    python benchmarks/sizes.py --quick      # a look whether it works

Models: the bundled mnist_fast (2 calls a picture) and mnist (17), and untrained networks for 32x32 and 64x64 in colour, whose
pictures nobody has to look at. First the network alone: seconds of computing a picture when 1, 2, 4, ... share a call. Then servers with 16
clients who ask for one PNG each, in turn round after round, with shared calls and with one row a call: seconds of computing a picture of
the server's whole process, as it says itself under /metrics, and pictures a second by the clock. At last what is not the network: an
answer without any picture, and the writing of a PNG. Seconds of computing do not grow with other work on the machine as the clock does.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import measuring
from serving import CLIENTS, get, make_model, started
from sharing import rate

NETWORKS: dict[str, tuple[int, dict[str, Any]]] = {
    "32x32": (32, {"kind": "unet", "width": 48, "multipliers": [1, 2, 2], "blocks": 1}),
    "64x64": (64, {"kind": "unet", "width": 32, "multipliers": [1, 2, 2], "blocks": 1, "patch": 2}),
}
UNTRAINED_STEPS = 4


def untrained(folder: Path, name: str) -> Path:
    side, network = NETWORKS[name]
    sample = {"sampler": "ddim", "steps": UNTRAINED_STEPS}
    return make_model(folder, name, shape=(3, side, side), network=network, sample=sample).parent


def calls(model: str, seconds: float) -> dict[int, float]:
    """Milliseconds of computing a picture and call, by rows."""
    from mezzotint import load as load_model
    from mezzotint.serve.engine.pace import measure

    found = measure(load_model(model, device="cpu"), 64, seconds)
    return {rows: 1000 * s / rows for rows, s in found.seconds.items()}


class Server:
    """A server of one model in a process of its own, and what it has cost so far."""

    def __init__(self, model: str, port: int, threads: int, max_rows: int) -> None:
        command = [sys.executable, "-m", "mezzotint", "serve", model, "--port", str(port), "--device", "cpu"]
        command += ["--max-per-client", "64", "--log", "/dev/null", "--threads", str(threads)]
        command += ["--max-rows", str(max_rows)]
        self.port = port
        self.process = started(command, port, OMP_NUM_THREADS=str(threads))

    def spent(self) -> float:
        """Seconds of computing since it began."""
        lines = get(self.port, "/metrics")[1].decode().splitlines()
        (line,) = (line for line in lines if line.startswith("process_cpu_seconds_total "))
        return float(line.split()[1])

    def ask(self, count: int) -> dict[str, float]:
        """Raises RuntimeError where a request is lost."""
        before = self.spent()
        pictures = rate(self.port, [{"seed": i, "class": str(i % 10)} for i in range(count)])
        return {"pictures_a_second": pictures, "ms_a_picture": 1000 * (self.spent() - before) / count}

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def served(model: str, port: int, options: argparse.Namespace) -> dict[str, Any]:
    """Of a model with shared calls and without, in turn."""
    count, rounds = (CLIENTS, 1) if options.quick else (options.requests, options.rounds)
    servers = {
        name: Server(model, port + number, options.threads, rows)
        for number, (name, rows) in enumerate({"shared": 64, "alone": 1}.items())
    }
    try:
        for server in servers.values():
            server.ask(CLIENTS)  # to warm up
        found: dict[str, list[dict[str, float]]] = {name: [] for name in servers}
        for number in range(rounds):
            for name in list(servers)[:: 1 if number % 2 == 0 else -1]:
                found[name].append(servers[name].ask(count))
    finally:
        for server in servers.values():
            server.stop()
    return {
        name: {
            "ms_a_picture": measuring.spread([one["ms_a_picture"] for one in all_]),
            "pictures_a_second": measuring.spread([one["pictures_a_second"] for one in all_]),
        }
        for name, all_ in found.items()
    }


def rest(port: int, quick: bool) -> dict[str, float]:
    """Milliseconds of computing of a small answer without a picture, on the server's side, and of a PNG of 28x28."""
    from mezzotint import load as load_model
    from mezzotint.serve.http.results import encode

    server, count = Server("mnist_fast", port, 1, 64), 50 if quick else 400
    try:
        get(port, "/v1/limits")
        before = server.spent()
        for _ in range(count):
            get(port, "/v1/limits")
        answers = 1000 * (server.spent() - before) / count
    finally:
        server.stop()
    samples = load_model("mnist_fast", device="cpu").sample(1)
    encode(samples, "png")
    times = []
    for _ in range(20):
        began = time.process_time()
        encode(samples, "png")
        times.append(1000 * (time.process_time() - began))
    return {"an answer": answers, "a PNG": statistics.median(times)}


def main() -> None:
    parser = measuring.parser(__doc__)
    parser.add_argument("--port", type=int, default=8190, help="the first of two")
    parser.add_argument(
        "--models", action="append", choices=["mnist_fast", "mnist", *NETWORKS], help="these alone"
    )
    parser.add_argument("--rounds", type=int, default=3, help="of each server")
    parser.add_argument("--requests", type=int, default=10 * CLIENTS, help="of each round")
    options = parser.parse_args()
    measuring.use_threads(options.threads)
    result: dict[str, Any] = {"machine": measuring.machine(options.threads), "models": {}}
    with tempfile.TemporaryDirectory() as name:
        models = {"mnist_fast": "mnist_fast", "mnist": "mnist"}
        models |= {size: str(untrained(Path(name), size)) for size in NETWORKS}
        for model, place in models.items():
            if model not in (options.models or models):
                continue
            one: dict[str, Any] = {"ms_of_a_row": calls(place, 1.0 if options.quick else 10.0)}
            one |= served(place, options.port, options)
            result["models"][model] = one
            print(model, one, flush=True)
    result["rest"] = rest(options.port, options.quick)
    print(table(result))
    measuring.keep(options.out, "sizes", result, options.quick)


def table(result: dict[str, Any]) -> str:
    rows = []
    for model, one in result["models"].items():
        row = {int(k): v for k, v in one["ms_of_a_row"].items()}
        shared, alone = one["shared"], one["alone"]
        rows.append(
            [
                model,
                *(f"{row[n]:.2f}" if n in row else "" for n in (1, 4, 16, 64)),
                *(measuring.format_spread(kind["ms_a_picture"], 1) for kind in (shared, alone)),
                f"{alone['ms_a_picture']['median'] / shared['ms_a_picture']['median']:.2f}",
                measuring.format_spread(shared["pictures_a_second"], 1),
            ]
        )
    head = ["model", "1", "4", "16", "64 rows", "served ms, shared", "alone", "gain", "pictures/s"]
    cost = {model: one["shared"]["ms_a_picture"]["median"] for model, one in result["models"].items()}
    times = ""
    if {"mnist", "mnist_fast"} <= set(cost):
        times = f"mnist costs {cost['mnist'] / cost['mnist_fast']:.1f} times mnist_fast; "
    other = ", ".join(f"{what} {ms:.2f} ms" for what, ms in result["rest"].items())
    other += "; no request was lost"
    return f"{measuring.markdown(head, rows)}\n{times}beside the network: {other}"


if __name__ == "__main__":
    main()
