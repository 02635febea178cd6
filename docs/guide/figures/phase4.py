"""The pictures of phase 4, sampling: `python docs/guide/figures/phase4.py` writes them beside this file.

All but the last come from the exact denoiser of the moons, so that what they show are errors of sampling alone.
"""

import math
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

import mezzotint
from mezzotint import Mixture, exact_flow, plots
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.process import Process, vp
from mezzotint.diffusion.sampler import AfterStep, start
from mezzotint.diffusion.schedule import grid, karras, linear
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.plots.style import COLOURS, FAINT, figure_of, render
from mezzotint.randomness import noise

HERE = Path(__file__).parent
CLEAN = torch.tensor(math.inf, dtype=torch.float64)


def moons(process: Process, nodes: int = 32) -> Mixture:
    """The exact denoiser of two moons: Gaussians of standard deviation 0.1 along two half circles."""
    angle = torch.linspace(0, math.pi, nodes, dtype=torch.float64)
    upper = 1.41 * torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    means = torch.cat([upper, -upper])
    return Mixture(
        process, torch.full((2 * nodes,), 0.5 / nodes).double(), means, 0.01 * torch.ones_like(means)
    )


def states(
    name: str, levels: Tensor, seeds: Tensor, shift: Tensor | float = 0.0
) -> tuple[Tensor, list[AfterStep]]:
    """The first state of a sampler on the exact moons, moved by `shift`, and all that follow."""
    row = SAMPLERS[name]
    stops = row.stops(levels)
    x = start(vp, stops[0], noise(seeds, 0, 0, (2,)).double()) + shift
    run = row.walk(vp, x, stops, lambda interval, draw: noise(seeds, interval + 1, draw, (2,)).double())
    return x, list(alone(moons(vp), run))


def below(points: Tensor, exact: Mixture) -> Tensor:
    """1 for points nearest to the lower moon, 0 for the upper: (n,) int64."""
    nearest = torch.cdist(points.double(), exact.means).argmin(1)
    return (nearest >= len(exact.means) // 2).long()


def trajectories() -> None:
    """Ways from noise to the moons: of the flow, of its belief, of few long steps, and of a stochastic sampler."""
    seeds, exact = torch.arange(26), moons(vp)
    levels = torch.linspace(-9, 9, 61, dtype=torch.float64)
    paths = [start(vp, levels[0], noise(seeds, 0, 0, (2,)).double())]
    for s, t in pairwise(levels):
        paths.append(exact_flow(exact, paths[-1], s, t, 1e-8))
    beliefs = [exact(x, level) for x, level in zip(paths, levels)]
    six, ddim = states("ddim", grid("time", 6, karras()), seeds)
    many, ddpm = states("ddpm", grid("trailing", 200, linear(1000)), seeds)
    panels = {
        "the flow, solved exactly": paths,
        "what is believed on that way": beliefs,
        "ddim, 6 steps": [six, *(state.x for state in ddim)],
        "ddpm, 200 steps": [many, *(state.x for state in ddpm)],
    }
    background = exact.means + 0.1 * torch.randn(12, 64, 2, generator=torch.Generator().manual_seed(0))
    figure, axes = figure_of(5.2, 5.0, 2, 2)
    for axis, (title, way) in zip(axes, panels.items()):
        axis.scatter(*background.flatten(0, 1).T.numpy(), s=2, color=FAINT, linewidths=0)
        lines, colour = torch.stack(way), below(way[-1], exact)
        for i, side in enumerate(colour.tolist()):
            if len(way) > 100 and i != colour.tolist().index(side):  # of wandering ways, one to each moon
                continue
            axis.plot(*lines[:, i].T.numpy(), color=COLOURS[side], linewidth=0.7, alpha=0.8)
            if len(way) < 10:
                axis.plot(*lines[:, i].T.numpy(), ".", color=COLOURS[side], markersize=3)
        axis.scatter(*lines[0].T.numpy(), s=8, color="#57606a", linewidths=0, zorder=3)
        axis.scatter(
            *lines[-1].T.numpy(), s=14, c=[COLOURS[k] for k in colour.tolist()], linewidths=0, zorder=4
        )
        axis.set(title=title, xlim=(-2.9, 2.9), ylim=(-2.9, 2.9), aspect="equal")
        axis.label_outer()
    plots.save_png(render(figure).quantize(128), HERE / "4-trajectories.png")


def where_the_error_lies() -> None:
    """How fast the belief moves along the flow, and below it where the grids put 10 steps."""
    levels = torch.linspace(-10, 10, 161, dtype=torch.float64)
    x, steps = states("dpmpp_2m", levels, torch.arange(300))
    beliefs = torch.stack(
        [moons(vp)(x, levels[0]), *(moons(vp)(state.x, t) for state, t in zip(steps, levels[1:]))]
    )
    speed = beliefs.diff(dim=0).square().sum(2).mean(1).sqrt() / levels.diff()
    middle = (levels[1:] + levels[:-1]) / 2
    figure, (top, bottom) = figure_of(5.2, 4.6, 2, 1)
    top.plot(middle.numpy(), speed.numpy(), color=COLOURS[0], label="speed of the belief")
    top.plot(middle.numpy(), (vp(middle)[0] * speed).numpy(), color=COLOURS[1], label="times alpha")
    top.set(xlim=(-13, 13), ylim=(0, None), title="noise  <  logsnr  <  clean")
    top.legend(frameon=False, fontsize=9)
    grids = {
        "leading": grid("leading", 10, linear(1000)),
        "trailing": grid("trailing", 10, linear(1000)),
        "logsnr": grid("logsnr", 10, karras()),
        "karras": grid("karras", 10, karras()),
        "time": grid("time", 10, karras()),
    }
    for i, (_, stops) in enumerate(grids.items()):
        finite = stops[stops.isfinite()]
        bottom.plot(finite.numpy(), [i] * len(finite), "o", color=COLOURS[2], markersize=5)
        if stops[0].isinf():
            bottom.plot(-12.6, i, "<", color=COLOURS[2], markersize=5, clip_on=False)
        bottom.plot(12.6, i, ">", color=COLOURS[2], markersize=5, clip_on=False)
    bottom.set(xlim=(-13, 13), xlabel="logsnr", ylim=(-0.6, len(grids) - 0.4))
    bottom.set_yticks(range(len(grids)), grids)
    plots.save_png(render(figure), HERE / "4-belief.png")


def orders() -> None:
    """Error against network calls, measured by mezzotint.check."""
    figure, (axis,) = figure_of(5.2, 4.2)
    for i, name in enumerate(("ddim", "heun", "dpmpp_2m", "unipc", "unipc_3")):
        result = mezzotint.check(name, steps=(5, 10, 20, 40, 80, 160))
        axis.loglog(result.calls, result.errors, "o-", color=COLOURS[i], markersize=4)
        label = f"{name}, order {result.order:.1f}"
        axis.plot([], [], "o-", color=COLOURS[i], markersize=4, label=label)
    axis.set(xlabel="network calls", ylabel="error at the end, root mean square")
    axis.set_xticks((5, 10, 20, 50, 100, 300), (5, 10, 20, 50, 100, 300))
    axis.minorticks_off()
    axis.legend(frameon=False, fontsize=9)
    plots.save_png(render(figure), HERE / "4-orders.png")


def forgetting() -> None:
    """A start that is wrong by (0, 0.5): the flow carries it to the end, fresh noise forgets it."""
    seeds, levels, exact = torch.arange(1000), grid("trailing", 100, linear(1000)), moons(vp)
    shift, panels = torch.tensor([0.0, 0.5], dtype=torch.float64), []
    for name in ("ddim", "ddpm"):
        _, (*_, last) = states(name, levels, seeds, shift)
        side = below(last.x, exact)
        panels.append(
            (f"{name}: {100 * float((side == 0).double().mean()):.0f} % on the upper moon", last.x, side)
        )
    figure, axes = figure_of(5.2, 2.8, columns=2)
    for axis, (title, x, side) in zip(axes, panels):
        axis.scatter(*x.T.numpy(), s=4, c=[COLOURS[k] for k in side.tolist()], alpha=0.6, linewidths=0)
        axis.set(title=title, xlim=(-2.6, 2.6), ylim=(-2.6, 2.6), aspect="equal")
        axis.label_outer()
    plots.save_png(render(figure), HERE / "4-forgetting.png")


def samplers_by_steps() -> None:
    """A table of the bundled digits: a row for each sampler, a column for each number of steps, everywhere one seed."""
    model = mezzotint.load("digits", device="cpu")
    samplers, counts = ("ddpm", "ddim", "heun", "dpmpp_2m", "unipc"), (1, 2, 4, 10, 40)
    cells = []
    for name in samplers:
        for steps in counts:
            samples = model.sample(4, label="none", seed=8, sampler=name, steps=steps).values
            framed = torch.nn.functional.pad(samples, (0, 1, 0, 1), value=128)  # a grey line between the four
            rows = framed.reshape(2, 2, 9, 9).permute(0, 2, 1, 3).reshape(18, 18)
            cells.append(rows[None, :17, :17])
    captions = [f"{n} step{'s' * (n > 1)}" for n in counts]
    image = plots.sheet(
        torch.stack(cells), columns=len(counts), gap=6, scale=5, captions=captions, row_labels=samplers
    )
    plots.save_png(image, HERE / "4-digits.png")


if __name__ == "__main__":
    with torch.no_grad():
        for draw in (trajectories, where_the_error_lies, orders, forgetting, samplers_by_steps):
            draw()
            print(draw.__name__)
