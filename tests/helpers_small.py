"""What the tests of serving share: tiny models of random weights, and a gate that holds the network back, so that tests
know who is on board of which call."""

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from mezzotint import config
from mezzotint.build.networks import network
from mezzotint.disk.checkpoint import save_checkpoint
from mezzotint.disk.model_file import Header, save_model
from mezzotint.disk.snapshots import save_snapshot
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.train import Ema, State, adamw

CLASSES = ("1", "cat", "0", "all four")  # two are named by numbers, and not their own
UNET = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1}
FLOW = {"process": "flow", "schedule": {"kind": "lognormal"}, "parameterization": "velocity"}


def write_run(folder: Path, facts: Facts, **tree: Any) -> None:
    parsed = config.parse({"train": {"precision": "fp32"}, "sample": {"steps": 4}, **tree})
    torch.manual_seed(0)
    net = network(parsed, facts)
    with torch.no_grad():
        for weight in net.parameters():  # networks start silent
            weight.add_(0.1 * torch.randn_like(weight))
    folder.mkdir(parents=True)
    save_model(folder / "model.safetensors", net, Header(parsed, facts, 9, "raw"))


def trained(folder: Path) -> None:
    """A run of grey pictures with two classes, with a checkpoint and snapshots, whose weights, average and averages made afterwards are all others."""
    write_run(folder, Facts((1, 8, 8), ("a", "b")), network=UNET)
    model = load(folder)
    state = State(
        model.net, adamw(model.net, 1e-3), Ema(model.net, 0.1), tracked_emas=(Ema(model.net, 0.05),)
    )
    for state.step in (10, 20):
        for k, average in enumerate((*state.averages, state)):
            for weight in average.net.parameters():
                weight.data.add_(torch.randn_like(weight), alpha=0.05 * (k + 1))
        save_snapshot(folder, state)
    save_checkpoint(folder, state, {}, keep=1)
    save_model(folder / "model.safetensors", state.ema.net, replace(model.header, step=20, weights="ema 0.1"))


class Gate:
    """Holds a model's network calls while it is closed, and notes how many rows each had."""

    def __init__(self, *models: Model) -> None:
        self.open, self.arrived = threading.Event(), threading.Event()
        self.open.set()
        self.rows: list[int] = []
        self.handles = [m.net.register_forward_pre_hook(self._hold) for m in models]

    def _hold(self, net: Any, inputs: tuple[torch.Tensor, ...]) -> None:
        self.rows.append(len(inputs[0]))
        self.arrived.set()
        assert self.open.wait(20)

    def close(self) -> None:
        """From now on calls wait; `await_call` tells when one does."""
        self.arrived.clear()
        self.open.clear()

    def await_call(self) -> None:
        assert self.arrived.wait(20)


def write_runs(runs: Path) -> Path:
    """Three runs of random weights, of grey pictures with classes, points, and colour pictures without."""
    write_run(runs / "tiny", Facts((1, 8, 8), CLASSES), network=UNET)
    write_run(runs / "dots", Facts((2,), ("a", "b")), network={"kind": "mlp", "width": 8}, diffusion=FLOW)
    write_run(runs / "plain", Facts((3, 6, 10), ()), network=UNET)
    return runs
