"""Draws the pictures of phase 5: `python docs/guide/figures/phase5.py`. Every seed is fixed."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint import Cond, Mixture, load, plots
from mezzotint.data import load_pictures, to_model
from mezzotint.data.order import Order
from mezzotint.diffusion.corrections import clip
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.guidance import Guidance, cfg
from mezzotint.diffusion.inverse import Operator, ddnm, inpainting, super_resolution
from mezzotint.diffusion.process import vp
from mezzotint.diffusion.routes import repaint
from mezzotint.diffusion.sampler import start
from mezzotint.diffusion.schedule import grid, linear_time
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.media.pictures import to_uint8
from mezzotint.model.model import Model
from mezzotint.plots.style import figure_of, render
from mezzotint.randomness import noise
from mezzotint.tasks.generate import generate, seeds_from

HERE = Path(__file__).parent
CPU = torch.device("cpu")
BLUE, ORANGE, GREEN, PINK = plots.COLOURS[:4]
SIGMAS = (0.3, 2.0)  # an interval for guidance, in sigma / alpha


def mixture(means: list[list[float]], spreads: list[list[float]]) -> Mixture:
    """Equal Gaussians in the plane, of standard deviations along the axes."""
    weights = torch.full((len(means),), 1 / len(means), dtype=torch.float64)
    return Mixture(vp, weights, torch.tensor(means).double(), torch.tensor(spreads).double() ** 2)


ASKED = ([[-1.2, 0.4], [0.2, 0.0]], [[0.3, 0.3], [0.3, 0.5]])
OTHER = ([[1.1, 0.3], [0.5, -1.1]], [[0.4, 0.5], [0.5, 0.25]])


def plane() -> None:
    """Four ways to want class 0 more: exact denoisers, so that nothing is the network's fault."""
    of_class, every = mixture(*ASKED), mixture(ASKED[0] + OTHER[0], ASKED[1] + OTHER[1])
    other = mixture(*OTHER)

    def belief(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        assert cond.label is not None
        return torch.where(cond.label[:, None] == 0, of_class(x, logsnr), every(x, logsnr))

    n, g = 700, 4.0
    guided = cfg(belief)

    def walk(scale: float, interval: tuple[float, float] | None) -> Tensor:
        steps = generate(
            vp, linear_time, (2,), seeds_from(0, n, CPU), sampler="dpmpp_2m", steps=40, spacing="karras"
        )
        within = None if interval is None else torch.tensor([interval], dtype=torch.float64).expand(n, 2)
        guidance = Guidance(torch.full((n,), scale).double(), Cond(torch.tensor([1])), within)
        *_, last = alone(guided, steps, Cond(torch.zeros(n, dtype=torch.int64)), guidance)
        return last.x

    side = torch.linspace(-2.6, 2.6, 261, dtype=torch.float64)
    points = torch.cartesian_prod(side, side)
    clean = torch.tensor(torch.inf, dtype=torch.float64)
    log_asked, log_other, log_all = (each.log_prob(points, clean) for each in (of_class, other, every))
    tilted = (g * log_asked + (1 - g) * log_all).softmax(0)
    tilted_points = points[torch.multinomial(tilted, n, True, generator=torch.Generator().manual_seed(0))]
    tilted_points = (
        tilted_points
        + (torch.rand(tilted_points.shape, generator=torch.Generator().manual_seed(1)) - 0.5) * 0.02
    )

    figure, axes = figure_of(6.4, 6.1, 2, 2)
    panels = {
        "guidance 1: the class itself": walk(1.0, None),
        f"guidance {g:g}": walk(g, None),
        f"guidance {g:g}, for sigma {SIGMAS[0]:g} to {SIGMAS[1]:g}": walk(g, SIGMAS),
        f"drawn from p(x) p(class | x)$^{g:g}$": tilted_points,
    }
    lines = {"levels": [0.02, 0.1, 0.3], "linewidths": 1.0}
    for axis, (title, values) in zip(axes, panels.items()):
        for log_density, colour in ((log_asked, BLUE), (log_other, ORANGE)):
            density = log_density.exp().reshape(261, 261).T
            axis.contour(side, side, density, colors=colour, **lines)
        axis.scatter(*values.T, s=3, color=BLUE, alpha=0.6, linewidths=0)
        axis.set(title=title, xlim=(-2.4, 2.4), ylim=(-2.2, 2.2), aspect="equal")
        axis.label_outer()
    save(render(figure), "plane")


def sevens() -> None:
    """The same seeds at rising scales."""
    model = load("mnist", precision="fp32")
    rows = {f"guidance {g:g}": (g, (0.0, 1e6)) for g in (1.0, 2.0, 4.0, 8.0)}
    rows |= {f"8, 0.6 to {high:g}": (8.0, (0.6, high)) for high in (4.0, 2.0)}
    values = [
        model.sample(10, label=7, seed=0, guidance=g, guidance_interval=where).values
        for g, where in rows.values()
    ]
    save(plots.sheet(torch.cat(values), columns=10, row_labels=list(rows)), "sevens")


def inverse(model: Model, images: Tensor) -> None:
    """Half a digit, or one of 4x4 pixels, and what may have been there."""
    left = torch.zeros(8, 8, dtype=torch.bool)
    left[:, :4] = True
    digits = images[[0, 1, 24]]
    rows = []
    for operator, show in ((inpainting(left), lambda y: y), (super_resolution(2), super_resolution(2).pinv)):
        for image in digits:
            y = operator.forward(to_model(image[None]))
            plain, again = (solve(model, operator, y, 3, times) for times in (1, 10))
            rows.append(torch.cat([image[None], to_uint8(show(y)), plain, again]))
    captions = ["truth", "seen", *["once"] * 3, *["10 times"] * 3]
    save(plots.sheet(torch.cat(rows), columns=8, captions=captions, scale=9, gap=4), "inverse")


def solve(model: Model, operator: Operator, y: Tensor, n: int, times: int) -> Tensor:
    """n answers, each stretch of the way walked so many times; (n, C, H, W) uint8."""
    stops = repaint(grid("time", 20, model.schedule), 2, times)
    seeds = seeds_from(0, n, CPU)
    first = start(model.process, stops[0], noise(seeds, 0, 0, model.facts.shape))
    steps = SAMPLERS["ddim"].walk(
        model.process, first, stops, lambda i, draw: noise(seeds, i + 1, draw, model.facts.shape)
    )
    none = torch.full((n,), len(model.classes))
    *_, last = alone(model.denoiser, steps, Cond(none), corrections=[clip(), ddnm(operator, y)])
    return to_uint8(last.x)


def save(image: Any, name: str) -> None:
    path = HERE / f"5-{name}.png"
    image.quantize(64).save(path, optimize=True) if image.width > 1000 else image.save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB, {image.size}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    pictures = load_pictures("digits")
    everything, _ = pictures.batch(torch.arange(len(pictures)))
    held_out = everything[Order(len(everything), seed=0).permutation(0)[:90]]
    plane()
    sevens()
    inverse(load("digits", precision="fp32"), held_out)
