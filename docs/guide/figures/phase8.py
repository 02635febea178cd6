"""Draws the pictures of phase 8: `python docs/guide/figures/phase8.py`. Every seed is fixed; it trains for a few seconds."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint import Batch, Mixture, exact_flow, load, plots
from mezzotint.diffusion import parameterization, solvers
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.flowmap import FlowMap
from mezzotint.diffusion.process import flow, ve
from mezzotint.diffusion.schedule import grid, linear_time
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.nets.mlp import MLP
from mezzotint.plots.style import FAINT, INK, figure_of, render
from mezzotint.randomness import noise
from mezzotint.train import Ema, State, adamw, learning_rate, train
from mezzotint.train.flow_map import WalkLoss

HERE = Path(__file__).parent
BLUE, ORANGE, GREEN, PINK = plots.COLOURS[:4]


def chords() -> None:
    """z = x / sigma over R = alpha / sigma, where the denoiser is a slope and a flow map a chord."""
    even = torch.tensor([0.5, 0.5], dtype=torch.float64)
    means = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    exact = Mixture(ve, even, means, torch.full((2, 1), 0.01, dtype=torch.float64))
    R = torch.linspace(0.01, 3.0, 200, dtype=torch.float64)
    levels = 2 * R.log()
    z = torch.tensor([-1.6, -0.9, -0.35, -0.12, 0.12, 0.35, 0.9, 1.6], dtype=torch.float64)[:, None]
    way = [z / R[0]]  # x of ve, whose sigma is 1 / R
    for s, t in pairwise(levels):
        way.append(exact_flow(exact, way[-1], s, t, 1e-9))
    paths = torch.stack([x[:, 0] * r for x, r in zip(way, R)])  # (200, 8)

    figure, axes = figure_of(6.8, 3.2, 1, 2)
    for i in range(paths.shape[1]):
        axes[0].plot(R, paths[:, i], color=BLUE if paths[-1, i] > 0 else ORANGE, linewidth=1)
    axes[0].set(title="the flow is a curve over R", xlabel="R = alpha / sigma", ylabel="z = x / sigma")

    path, (i, j, k) = paths[:, 5], (20, 75, 180)
    axes[1].plot(R, path, color=FAINT, linewidth=3)
    slope = float(exact(way[i][5:6], levels[i]))
    axes[1].plot(
        R[[i, k]],
        [path[i], path[i] + slope * (R[k] - R[i])],
        "--",
        color=INK,
        linewidth=1,
        label="tangent: the denoiser at s",
    )
    axes[1].plot(R[[i, j, k]], path[[i, j, k]], color=GREEN, linewidth=1.5, label="J(s to m), J(m to t)")
    axes[1].plot(R[[i, k]], path[[i, k]], color=PINK, linewidth=1.5, label="J(s to t)")
    for place, name in ((i, "s"), (j, "m"), (k, "t")):
        axes[1].plot(R[place], path[place], "o", color=INK, markersize=4)
        axes[1].annotate(name, (R[place], path[place]), (4, -12), textcoords="offset points")
    axes[1].set(title="tangent and chords of one path", xlabel="R = alpha / sigma")
    axes[1].legend(frameon=False, fontsize=8, loc="upper left")
    save(render(figure), "chords")


def moons() -> Mixture:
    """The exact denoiser of two moons."""
    angle = torch.linspace(0, math.pi, 32, dtype=torch.float64)
    upper = 1.41 * torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    means = torch.cat([upper, -upper])
    return Mixture(flow, torch.full((64,), 1 / 64, dtype=torch.float64), means, 0.01 * torch.ones_like(means))


def points() -> None:
    """A student like that of the page, trained for twice as many steps, beside its teacher's denoiser."""
    exact = moons()
    torch.manual_seed(0)
    net = MLP(width=64, depth=3, span=True)
    state = State(net, adamw(net), Ema(net, 0.1))
    bound = FlowMap(net, flow, parameterization.velocity)
    loss = WalkLoss(bound, exact, solvers.dpmpp_2m, grid("time", 8, linear_time))
    empty = (Batch(torch.zeros(128, 2)) for _ in range(400))
    for _ in train(loss, state, empty, until=400, lr=learning_rate(1e-2)):
        pass
    student = FlowMap(state.ema.net.eval(), flow, parameterization.velocity)

    def draw(denoise: Denoise, steps: int) -> Tensor:
        z = noise(torch.arange(800), 0, 0, (2,))
        walk = SAMPLERS["ddim"].walk(flow, z, grid("time", steps, linear_time), lambda i, k: torch.empty(0))
        *_, last = alone(denoise, walk)
        return last.x

    figure, axes = figure_of(6.6, 3.4, 2, 3)
    for row, (name, denoise) in enumerate((("denoiser", exact), ("student", student))):
        for column, steps in enumerate((1, 2, 4)):
            axis = axes[3 * row + column]
            axis.scatter(*draw(denoise, steps).T, s=2, color=(ORANGE, BLUE)[row], linewidths=0)
            title = f"{name}, {steps} call{'s' if steps > 1 else ''}"
            axis.set(title=title, xlim=(-2.9, 2.9), ylim=(-2.0, 2.0), aspect="equal", xticks=(), yticks=())
    save(render(figure), "moons")


def digits() -> None:
    """The same seeds, by a denoiser and by its student, in few steps."""
    calls, rows = (1, 2, 4, 8), []
    for name in ("mnist", "mnist_fast"):
        model = load(name, precision="fp32")
        rows += [model.sample(10, label="all", seed=0, sampler="ddim", steps=steps).values for steps in calls]
    labels = [f"{name}, {steps}" for name in ("mnist", "mnist_fast") for steps in calls]
    save(plots.sheet(torch.cat(rows), columns=10, row_labels=labels, scale=2), "digits")


def save(image: Any, name: str) -> None:
    path = HERE / f"8-{name}.png"
    image.quantize(64).save(path, optimize=True) if image.width > 1000 else image.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB, {image.size}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    chords()
    points()
    digits()
