"""Draws the pictures of phase 11: `python docs/guide/figures/phase11.py`. Every seed is fixed; it trains for seconds."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mezzotint import Batch, Cond, Denoiser, DenoisingLoss, plots
from mezzotint.data import load_pictures, to_model
from mezzotint.diffusion import parameterization
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.process import flow
from mezzotint.diffusion.schedule import linear_time, lognormal
from mezzotint.media.pictures import to_uint8
from mezzotint.nets.dit import DiT
from mezzotint.nets.mlp import MLP
from mezzotint.nets.unet import UNet
from mezzotint.plots.style import figure_of, render
from mezzotint.tasks.generate import generate, seeds_from
from mezzotint.train import Ema, State, adamw, learning_rate, train

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, PINK = plots.COLOURS[:4]


def codes() -> None:
    """Digits, their reconstructions from codes, and what a model of the codes makes: that of the page."""
    digits = load_pictures("digits")
    images, labels = digits.batch(torch.arange(len(digits)))
    assert labels is not None
    x = to_model(images).flatten(1)
    mean = x.mean(0)
    directions = torch.linalg.svd(x - mean, full_matrices=False)[2]
    basis = directions[:24]
    deviation = ((x - mean) @ basis.T).std(0)
    known, random = (x - mean) @ basis.T / deviation, torch.Generator().manual_seed(0)

    def batches() -> Iterator[Batch]:
        while True:
            rows = torch.randint(len(known), (128,), generator=random)
            yield Batch(known[rows], Cond(labels[rows]))

    torch.manual_seed(0)
    net = MLP(dim=24, width=128, depth=2, classes=10)
    state = State(net, adamw(net), Ema(net, 0.1))
    loss = DenoisingLoss(Denoiser(net, flow, parameterization.velocity), lognormal(0, 1.2))
    for _ in train(loss, state, batches(), until=300, lr=learning_rate(1e-2)):
        pass
    denoiser = Denoiser(state.ema.net.eval(), flow, parameterization.velocity)
    seeds = seeds_from(0, 20, torch.device("cpu"))
    steps = generate(flow, linear_time, (24,), seeds, sampler="dpmpp_2m", steps=20, spacing="time")
    *_, last = alone(denoiser, steps, Cond(torch.arange(20) % 10))

    shown = torch.stack([(labels == k).nonzero()[0, 0] for k in range(10)])
    rows = [images[shown]]
    for k in (24, 8):
        part = directions[:k]
        read_back = (x[shown] - mean) @ part.T @ part + mean
        rows.append(to_uint8(read_back.unflatten(1, (1, 8, 8))))
    rows.append(to_uint8(((last.x * deviation) @ basis + mean).unflatten(1, (1, 8, 8))))
    labels_of_rows = ["64 numbers", "24 numbers", "8 numbers", "made of 24", "made of 24"]
    save(plots.sheet(torch.cat(rows), columns=10, row_labels=labels_of_rows, scale=6, gap=6), "codes")


def multiplications(net: nn.Module, x: Tensor) -> float:
    with FlopCounterMode(display=False) as counter:
        net(x, torch.randn(1))
    return counter.get_total_flops() / 2


def cost() -> None:
    """What a call costs over the side of the picture; on PyTorch's meta device, which computes nothing."""
    sides = (32, 64, 128, 256, 512)
    lines: dict[str, list[float]] = {}
    with torch.device("meta"):
        for name, net in (
            ("U-Net, width 64", UNet(3, width=64, multipliers=(1, 2, 2), attention=(4,))),
            ("transformer, patch 4", DiT(3, width=192, depth=6, patch=4)),
            ("transformer, patch 8", DiT(3, width=192, depth=6, patch=8)),
        ):
            lines[name] = [multiplications(net, torch.randn(1, 3, side, side)) / 1e9 for side in sides]
        codes = DiT(4, width=192, depth=6, patch=2)
        lines["transformer of codes (factor 8), patch 2"] = [
            multiplications(codes, torch.randn(1, 4, side // 8, side // 8)) / 1e9 for side in sides
        ]
    figure, axes = figure_of(6.2, 3.6)
    for (name, values), colour in zip(lines.items(), (BLUE, ORANGE, GREEN, PINK)):
        axes[0].plot(sides, values, color=colour, marker="o", markersize=3, label=name)
    axes[0].set(
        xscale="log",
        yscale="log",
        xticks=sides,
        xticklabels=map(str, sides),
        xlabel="side of the picture, pixels",
        ylabel="billion multiplications a call",
    )
    axes[0].minorticks_off()
    axes[0].legend(frameon=False, fontsize=8)
    save(render(figure), "cost")
    print({name: [round(value, 3) for value in values] for name, values in lines.items()})


def save(image: Any, name: str) -> None:
    path = HERE / f"11-{name}.png"
    image.quantize(64).save(path, optimize=True) if image.width > 1000 else image.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB, {image.size}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    cost()
    codes()
