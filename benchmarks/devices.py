"""Does a device compute what the CPU computes?  Checks whose truth is the CPU; gpu.py and the tests run them.

Each check is a function of a device that gives rows: what was compared, how far it is off, and how far it may be. On a CPU it is
compared with itself, which shows that the check works.
"""

import copy
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from measuring import seconds, spread
from torch import Tensor, nn

from mezzotint import build, load, randomness
from mezzotint import config as configuration
from mezzotint.media.facts import Facts
from mezzotint.run.fit import fit
from mezzotint.run.parts import Parts
from mezzotint.train.distributed import ALONE


class Row(NamedTuple):
    """what was measured, in words; value, with its unit, or None where there is none; most: how large it may be, where that is known; note:
    for people. failed: it could not be measured, for the reason in the note."""

    what: str
    value: float | None
    unit: str = ""
    most: float | None = None
    note: str = ""
    failed: bool = False

    @property
    def good(self) -> bool | None:
        """Whether it is as it should be; None where nobody knows beforehand."""
        if self.failed or self.most is None or self.value is None:
            return False if self.failed else None
        return self.value <= self.most  # not for nan


NETWORKS: dict[str, dict[str, Any]] = {
    "unet_simple": {"kind": "unet_simple", "width": 32},
    "unet": {"kind": "unet", "width": 32, "multipliers": [1, 2], "blocks": 1, "attention": [2]},
    "unet2d": {"kind": "unet2d"},
    "dit": {"kind": "dit", "width": 64, "depth": 2, "head_channels": 32, "patch": 2},
}
SIDE, CHANNELS, CLASSES = 16, 3, 10
SMALL = ("network.width=16", "train.batch_size=16", "train.log_every=3 steps", "sample.steps=2")
STEPS = 6  # of the trainings that are compared


def of_kind(kind: str) -> nn.Module:
    """A small network with random weights, that says something already."""
    parsed = configuration.parse({"network": NETWORKS[kind]})
    torch.manual_seed(0)
    net = build.networks.network(parsed, Facts((CHANNELS, SIDE, SIDE), tuple(map(str, range(CLASSES)))))
    with torch.no_grad():
        for weight in net.parameters():
            weight.add_(0.05 * torch.randn_like(weight))
    return net.eval()


def asked(rows: int = 8) -> tuple[Tensor, Tensor, Tensor]:
    """What a network is asked: noisy pictures, levels, classes."""
    random = torch.Generator().manual_seed(1)
    x = torch.randn(rows, CHANNELS, SIDE, SIDE, generator=random)
    return x, torch.randn(rows, generator=random), torch.randint(CLASSES, (rows,), generator=random)


def off(one: Tensor, truth: Tensor) -> float:
    """How far apart two tensors are at most, as a share of the largest number."""
    one, truth = one.detach().double().cpu(), truth.detach().double().cpu()
    return float((one - truth).abs().max() / truth.abs().max().clamp(min=1e-30))


def networks(device: torch.device) -> Iterator[Row]:
    """Every kind of network, forward and backward, in float32 without TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        for kind in NETWORKS:
            net = of_kind(kind)
            there = copy.deepcopy(net).to(device)
            found = []
            for one, where in ((net, torch.device("cpu")), (there, device)):
                out = one(*(part.to(where) for part in asked()))
                out.square().mean().backward()
                gradient = torch.cat([p.grad.flatten().cpu() for p in one.parameters() if p.grad is not None])
                found.append((out, gradient))
            yield Row(f"{kind}: output", off(found[1][0], found[0][0]), "of the largest", 1e-4)
            yield Row(f"{kind}: gradient", off(found[1][1], found[0][1]), "of the largest", 1e-3)
    finally:
        torch.backends.cudnn.allow_tf32 = before


def noise(device: torch.device) -> Iterator[Row]:
    """Noise is a function of seeds: the integers to the bit, the normal numbers to the last digit of a float32."""
    seeds = torch.arange(256) * 0x9E3779B97F4A7C1
    here, there = (randomness.bits(seeds.to(d), 3, 1, 64).cpu() for d in (torch.device("cpu"), device))
    yield Row("random bits that differ", float((here != there).sum()), "", 0)
    here, there = (
        randomness.noise(seeds.to(d), 3, 1, (3, 32, 32)).cpu() for d in (torch.device("cpu"), device)
    )
    yield Row("noise: numbers that differ", float((here != there).double().mean()), "of all", 1e-6)
    yield Row("noise: difference at most", float((here - there).abs().max()), "", 1e-6)


def pictures(device: torch.device, run: str = "digits", n: int = 20) -> Iterator[Row]:
    """Pictures of a bundled model, the same seeds here and there."""
    truth = load(run, device="cpu", precision="fp32").sample(n, label="all", seed=1).values.int()
    for precision, most in (("fp32", 2.0), ("bf16", None)):
        if precision == "bf16" and device.type == "cpu":
            continue
        there = load(run, device=str(device), precision=precision).sample(n, label="all", seed=1).values.int()
        apart = (there - truth).abs().double()
        yield Row(f"pictures of {run}, {precision}: grey levels at most", float(apart.max()), "of 255", most)
        yield Row(
            f"pictures of {run}, {precision}: grey levels in the mean", float(apart.mean()), "of 255", 8.0
        )


def _small_run(device: torch.device, precision: str, *more: str) -> Any:
    words = [*SMALL, f"train.device={device}", f"train.precision={precision}", "train.compile=false", *more]
    return configuration.load("digits", [*words, f"train.steps={STEPS}"])


def training(device: torch.device) -> Iterator[Row]:
    """Losses of the same steps here and there, in float32; and in bfloat16 beside float32."""
    losses: dict[str, Tensor] = {}
    for name, where, precision in (
        ("cpu", torch.device("cpu"), "fp32"),
        ("fp32", device, "fp32"),
        ("bf16", device, "bf16"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            run = Parts(_small_run(where, precision), Path(folder) / "run", ALONE)
            losses[name] = torch.stack([progress.loss.cpu() for progress in run.steps(STEPS)])
    yield Row(f"losses of {STEPS} steps, fp32", off(losses["fp32"], losses["cpu"]), "of the largest", 1e-2)
    yield Row(f"losses of {STEPS} steps, bf16", off(losses["bf16"], losses["cpu"]), "of the largest", 0.1)


def resume(device: torch.device) -> Iterator[Row]:
    """A run that was stopped and went on, beside one that was not: the same bytes in the model file."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = _small_run(
            device,
            "fp32",
            "train.checkpoint_every=1 steps",
            "train.sample_every=100%",
            "train.validate_every=100%",
        )
        for _ in fit(config, folder / "whole"):
            pass
        asked_for: list[int] = []

        def stop() -> bool:
            asked_for.append(1)
            return len(asked_for) == STEPS // 2

        for _ in fit(config, folder / "halves", stop=stop):
            pass
        for _ in fit(config, folder / "halves"):
            pass
        one, two = ((folder / run / "model.safetensors").read_bytes() for run in ("whole", "halves"))
        yield Row(
            "bytes of the model that differ after stop and resume",
            float(sum(map(int.__ne__, one, two))),
            "",
            0,
        )


def compiled(device: torch.device) -> Iterator[Row]:
    """torch.compile: the same answers, and how much sooner. On a CPU it is traced alone, since that takes no compiler."""
    backend = "inductor" if device.type == "cuda" else "eager"
    for kind in ("unet", "dit") if device.type == "cuda" else ("unet_simple",):
        net = of_kind(kind).to(device)
        words = [part.to(device) for part in asked(64 if device.type == "cuda" else 4)]
        fast = torch.compile(net, backend=backend)
        with torch.no_grad():
            name, times = (
                f"{kind}, compiled ({backend})",
                _times(device, partial(net, *words), partial(fast, *words)),
            )
            yield Row(f"{name}: output", off(fast(*words), net(*words)), "of the largest", 1e-3)
            yield Row(f"{name}: times as fast", times, "x")


def graphs(device: torch.device) -> Iterator[Row]:
    """A network call recorded as a CUDA graph and played again: the same answer, and how much sooner for one row."""
    if device.type != "cuda":
        yield Row("CUDA graphs", None, note="none on a CPU")
        return
    net = of_kind("unet").to(device)
    words = [part.to(device) for part in asked(1)]
    with torch.no_grad():
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # warm up aside, as graphs want it
            for _ in range(3):
                net(*words)
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            out = net(*words)
        words[0].copy_(asked(1)[0].flip(-1))
        graph.replay()
        yield Row("unet by a CUDA graph: output", off(out, net(*words)), "of the largest", 1e-4)
        yield Row(
            "unet by a CUDA graph, one row: times as fast",
            _times(device, lambda: net(*words), graph.replay),
            "x",
        )


def _times(device: torch.device, slow: Callable[[], object], fast: Callable[[], object]) -> float:
    """How many times sooner is the second, the median of five turns."""
    calls = 10 if device.type == "cuda" else 1

    def of(work: Callable[[], object]) -> Callable[[], None]:
        def whole() -> None:
            for _ in range(calls):
                work()
            if device.type == "cuda":
                torch.cuda.synchronize()

        return whole

    of(slow)(), of(fast)()
    return spread([seconds(of(slow)) / seconds(of(fast)) for _ in range(5)])["median"]


CHECKS: dict[str, Callable[[torch.device], Iterator[Row]]] = {
    "networks": networks,
    "noise": noise,
    "pictures": pictures,
    "training": training,
    "resume": resume,
    "compile": compiled,
    "graphs": graphs,
}
