"""What sharing network calls is worth: the same load on three servers, on loopback.

    python benchmarks/serving.py                 # the whole: 200 requests a server, 2,000 for the memory
    python benchmarks/serving.py --quick         # a look whether it works

shared: `mezzotint serve` as it is. alone: the same with one row a call, so no request shares. plain: a FastAPI server
around diffusers' UNet2DModel and DDIMScheduler that answers one request after the other, with a network of about the
same size and the same numbers of steps. 16 clients ask one after the other for one picture each, of mixed samplers
(one network call a step, all of them) and steps. While they do, `GET /` is asked 20 times a second. Then every picture of
the load is made again in this process, shared and alone, and compared in float32 before quantization.

Needs the extra [dev]. Writes a JSON file and prints a table.
"""

import argparse
import http.client
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch

SAMPLERS = ("ddim", "ddpm", "dpmpp_2m", "dpmpp_2m_sde", "euler_a", "unipc")
STEPS = (10, 15, 20, 30, 50)
CLIENTS = 16
NETWORK = {"kind": "unet", "width": 32, "multipliers": [1, 2, 2], "blocks": 1}
SIDE = 16


def wishes(count: int) -> list[dict[str, Any]]:
    """The load: every sampler with every number of steps, in turn, each from a seed of its own."""
    return [
        {
            "seed": 1000 + i,
            "sampler": SAMPLERS[i % len(SAMPLERS)],
            "steps": STEPS[i % len(STEPS)],
            "class": i % 10,
        }
        for i in range(count)
    ]


# --- servers ---------------------------------------------------------------------------------------------


def make_model(
    folder: Path,
    name: str = "bench",
    *,
    shape: tuple[int, int, int] = (1, SIDE, SIDE),
    network: dict[str, Any] = NETWORK,
    sample: dict[str, Any] | None = None,
) -> Path:
    """An untrained model folder/name/model.safetensors: what its pictures show does not matter to the clock."""
    from mezzotint import build, config
    from mezzotint.disk.model_file import Header, save_model
    from mezzotint.media.facts import Facts

    parsed = config.parse({"network": network, "train": {"precision": "fp32"}, "sample": sample or {}})
    facts = Facts(shape, tuple("0123456789"))
    torch.manual_seed(0)
    net = build.network(parsed, facts)
    with torch.no_grad():
        for weight in net.parameters():  # networks start silent
            weight.add_(0.02 * torch.randn_like(weight))
    path = folder / name / "model.safetensors"
    path.parent.mkdir(parents=True)
    save_model(path, net, Header(parsed, facts, 0, "raw"))
    return path


def rival_network() -> Any:
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    return UNet2DModel(
        sample_size=SIDE,
        in_channels=1,
        out_channels=1,
        layers_per_block=1,
        block_out_channels=(32, 64, 64),
        down_block_types=("DownBlock2D",) * 3,
        up_block_types=("UpBlock2D",) * 3,
        norm_num_groups=8,
        num_class_embeds=11,
    ).eval()


def serve_plain(port: int) -> None:
    """One request at a time, as one would write it: a lock around diffusers' own loop."""
    import io

    import uvicorn
    from diffusers import DDIMScheduler
    from fastapi import FastAPI, Request, Response
    from PIL import Image

    net, lock, app = rival_network(), threading.Lock(), FastAPI()

    @app.get("/")
    def health() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/generate")
    @torch.no_grad()
    def generate(request: Request, seed: int, steps: int) -> Response:
        with lock, torch.no_grad():
            scheduler = DDIMScheduler(num_train_timesteps=1000)
            scheduler.set_timesteps(steps)
            label = torch.tensor([int(request.query_params["class"])])
            x = torch.randn(1, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
            for t in scheduler.timesteps:
                x = scheduler.step(net(x, t, class_labels=label).sample, t, x).prev_sample
        pixels = ((x[0, 0].clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).numpy()
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, "PNG")
        return Response(content.getvalue(), media_type="image/png")

    uvicorn.run(app, port=port, log_level="warning")


class Server:
    """One of the three, in a process of its own."""

    def __init__(self, kind: str, model: Path, port: int, threads: int) -> None:
        ours = [sys.executable, "-m", "mezzotint", "serve", str(model.parent), "--port", str(port)]
        ours += ["--max-per-client", "64", "--log", os.devnull, "--device", "cpu"]
        command = {
            "shared": ours,
            "alone": [*ours, "--max-rows", "1"],
            "plain": [sys.executable, __file__, "--serve-plain", str(port)],
        }[kind]
        self.port = port
        self.process = started(command, port, OMP_NUM_THREADS=str(threads))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(20)


def started(command: list[str], port: int, **environment: str) -> "subprocess.Popen[bytes]":
    """A server's process, once it answers."""
    process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            assert get(port, "/")[0] == 200
            return process
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"this server did not start: {' '.join(command)}")


def get(port: int, path: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


# --- measuring -------------------------------------------------------------------------------------------


def load(port: int, requests: list[dict[str, Any]]) -> dict[str, float]:
    """Throughput and latencies of the whole load, and of GET / meanwhile."""
    left, times, probes, lost = list(reversed(requests)), [], [], []
    over = threading.Event()

    def client() -> None:
        while left:
            try:
                wish = left.pop()
            except IndexError:
                return
            began = time.perf_counter()
            status, _ = get(port, "/generate?" + "&".join(f"{k}={v}" for k, v in wish.items()))
            times.append(time.perf_counter() - began)
            if status != 200:
                lost.append(status)

    def probe() -> None:
        while not over.wait(0.05):
            began = time.perf_counter()
            get(port, "/")
            probes.append(time.perf_counter() - began)

    began = time.perf_counter()
    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    prober = threading.Thread(target=probe)
    for thread in (*threads, prober):
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    over.set()
    prober.join()
    return {
        "pictures_a_second": len(requests) / seconds,
        "p50_s": quantile(times, 0.5),
        "p95_s": quantile(times, 0.95),
        "health_p99_ms": 1000 * quantile(probes, 0.99),
        "lost": len(lost),
    }


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(int(share * len(ordered)), len(ordered) - 1)]


def memory(port: int, count: int) -> list[float]:
    """MiB of the server after every tenth of many small requests."""
    sizes = []
    for tenth in range(10):
        load(port, [{"steps": 2, "seed": i} for i in range(count // 10)])
        lines = get(port, "/metrics")[1].decode().splitlines()
        (line,) = (line for line in lines if line.startswith("process_resident_memory_bytes "))
        sizes.append(round(float(line.split()[1]) / 2**20, 1))
        print(f"  memory after {(tenth + 1) * count // 10} requests: {sizes[-1]} MiB")
    return sizes


def compare(path: Path, requests: list[dict[str, Any]]) -> float:
    """The largest difference between shared and alone, in float32 before quantization, of values in [-1, 1]."""
    from mezzotint.model.loading import load as load_model
    from mezzotint.serve.engine.engine import Engine
    from mezzotint.serve.engine.tickets import Ticket

    model, engine, largest, tickets = (
        load_model(path, device="cpu"),
        Engine(max_queue=len(requests), max_per_client=len(requests)),
        0.0,
        [],
    )
    for wish in requests:
        settings = {k: v for k, v in wish.items() if k in ("sampler", "steps")}
        ticket = Ticket(model, model.request(1, label=wish["class"], seed=wish["seed"], **settings))
        engine.submit(ticket)
        tickets.append((ticket, wish, settings))
    for ticket, wish, settings in tickets:
        ticket.over.wait()
        assert ticket.result is not None, ticket.error
        *_, last = model.stream(1, label=wish["class"], seed=wish["seed"], **settings)
        largest = max(largest, float((ticket.result - last.x0).abs().max()))
    engine.close(0)
    return largest


def call_ms(path: Path) -> dict[str, dict[str, float]]:
    """Parameters of both networks, and milliseconds of a call with 1 and with 16 rows."""
    from mezzotint.model.loading import load as load_model

    model, rival = load_model(path, device="cpu"), rival_network()
    result: dict[str, dict[str, float]] = {}
    for name, net, key in (("ours", model.net, "label"), ("diffusers", rival, "class_labels")):
        result[name] = {"parameters": sum(p.numel() for p in net.parameters())}  # type: ignore[union-attr]
        for rows in (1, 16):
            x, c_noise, label = (
                torch.randn(rows, 1, SIDE, SIDE),
                torch.full((rows,), 500.0),
                torch.arange(rows) % 10,
            )
            times = []
            with torch.no_grad():
                for _ in range(12):
                    began = time.perf_counter()
                    net(x, c_noise, **{key: label})
                    times.append(time.perf_counter() - began)
            result[name][f"ms_{rows}_rows"] = 1000 * statistics.median(times[2:])
    return result


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="32 requests a server, 100 for the memory")
    parser.add_argument("--port", type=int, default=8140, help="the first of three")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of each server")
    parser.add_argument("--out", type=Path, default=Path("serving.json"))
    parser.add_argument("--serve-plain", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve_plain:
        serve_plain(options.serve_plain)
        return
    torch.set_num_threads(options.threads)
    count, small = (32, 100) if options.quick else (200, 2000)
    result: dict[str, Any] = {
        "machine": platform.processor() or platform.machine(),
        "threads": options.threads,
    }
    result |= {"torch": torch.__version__, "requests": count, "clients": CLIENTS}
    with tempfile.TemporaryDirectory() as folder:
        model = make_model(Path(folder))
        result["networks"] = call_ms(model)
        print(json.dumps(result["networks"], indent=1))
        for number, kind in enumerate(("shared", "alone", "plain")):
            server = Server(kind, model, options.port + number, options.threads)
            try:
                load(server.port, wishes(CLIENTS))  # to warm up
                result[kind] = load(server.port, wishes(count))
                print(kind, json.dumps(result[kind]))
                if kind == "shared":
                    result["memory_mib"] = memory(server.port, small)
            finally:
                server.stop()
        result["largest_difference"] = compare(model, wishes(count))
    rates = {kind: result[kind]["pictures_a_second"] for kind in ("shared", "alone", "plain")}
    result["times_alone"] = rates["shared"] / rates["alone"]
    result["times_plain"] = rates["shared"] / rates["plain"]
    options.out.write_text(json.dumps(result, indent=1) + "\n")
    print(table(result))


def table(result: dict[str, Any]) -> str:
    lines = ["| server | pictures/s | p50 s | p95 s | GET / p99 ms | lost |", "|---|---|---|---|---|---|"]
    for kind in ("shared", "alone", "plain"):
        row = result[kind]
        lines.append(
            f"| {kind} | {row['pictures_a_second']:.2f} | {row['p50_s']:.2f} | {row['p95_s']:.2f} "
            f"| {row['health_p99_ms']:.1f} | {row['lost']:.0f} |"
        )
    memory = result["memory_mib"]
    return "\n".join(
        [
            *lines,
            f"\nshared is {result['times_alone']:.2f} times alone and {result['times_plain']:.2f} times plain",
            f"memory: {memory[0]} MiB after a tenth of the small requests, {memory[-1]} MiB after all",
            f"largest difference between shared and alone: {result['largest_difference']:.1e}",
        ]
    )


if __name__ == "__main__":
    main()
