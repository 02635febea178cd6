"""The pictures of phase 2: python docs/guide/figures/phase2.py"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

import mezzotint
from mezzotint import Denoiser, DenoisingLoss, Empirical
from mezzotint.data import to_model
from mezzotint.diffusion import parameterization
from mezzotint.diffusion.denoiser import time_condition
from mezzotint.diffusion.process import add_noise, vp
from mezzotint.diffusion.schedule import cosine
from mezzotint.nets import MLP, UNet, UNetSimple
from mezzotint.nets.embed import sinusoidal
from mezzotint.nets.unet import Stage
from mezzotint.plots import COLOURS
from mezzotint.plots.style import FAINT, INK, figure_of, render
from mezzotint.randomness import noise
from mezzotint.tasks.generate import seeds_from

HERE = Path(__file__).parent


def level(logsnr: float) -> Tensor:
    return torch.tensor(logsnr, dtype=torch.float64)


def train_on_points(c_noise: Callable[[Tensor], Tensor], steps: int = 1500) -> Denoiser:
    """A small network that has learned the two points -1 and 1."""
    torch.manual_seed(0)
    net = MLP(dim=1, width=32, depth=2)
    denoiser = Denoiser(net, vp, parameterization.x0, c_noise)
    objective = DenoisingLoss(denoiser, cosine())
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        x0 = torch.randint(2, (256, 1)) * 2.0 - 1
        objective(x0, torch.randn_like(x0), torch.rand(256, dtype=torch.float64)).mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        rate.step()
    return denoiser


@torch.no_grad()
def told() -> Image.Image:
    """What a network learns that is told the level, and one that is not."""
    exact = Empirical(vp, torch.tensor([[-1.0], [1.0]]))
    x = torch.linspace(-2.2, 2.2, 201)[:, None]
    figure, axes = figure_of(4.6, 5.6, 2)
    with torch.enable_grad():
        denoisers = {
            "told the level": train_on_points(time_condition),
            "not told": train_on_points(lambda logsnr: torch.zeros_like(logsnr)),
        }
    for axis, (title, denoiser) in zip(axes, denoisers.items()):
        for colour, one in zip(COLOURS, (3.0, 0.0, -3.0)):
            at = level(one).expand(len(x))
            axis.plot(x, exact(x, at), color=colour, linewidth=5, alpha=0.25)
            if title == "told the level":
                axis.plot(x, denoiser(x, at), color=colour, linewidth=1.6, label=f"logsnr {one:g}")
        if title == "not told":
            axis.plot(x, denoiser(x, at), color=INK, linewidth=1.6, label="its one answer")
        axis.set(title=title, ylabel="belief", ylim=(-1.3, 1.3))
        axis.legend(frameon=False, fontsize=9, loc="upper left")
    axes[1].set(xlabel="x")
    return render(figure)


def embedding() -> Image.Image:
    """The level as a vector: each row a feature. Below: how alike the vectors of two levels are."""
    t = torch.linspace(0, 1000, 401, dtype=torch.float64)
    figure, axes = figure_of(4.6, 5.2, 2)
    axes[0].imshow(
        sinusoidal(t, 64).T.numpy(),
        aspect="auto",
        cmap="RdBu",
        extent=(0, 1000, 64, 0),
        zorder=1,
        vmin=-1,
        vmax=1,
    )
    axes[0].set(xlabel="what the network is told, t", ylabel="feature", title="64 features of t")
    for colour, (name, scale) in zip(COLOURS, {"told 1000 t": 1.0, "told t": 1e-3}.items()):
        vectors = sinusoidal(t * scale, 64)
        alike = vectors @ vectors[len(t) // 2] / 32
        axes[1].plot((t / 1000).numpy(), alike.numpy(), color=colour, label=name)
    axes[1].set(
        xlabel="t of the flow, 0 to 1", ylabel="likeness", ylim=(-0.1, 1.1), title="likeness to t = 0.5"
    )
    axes[1].legend(frameon=False, fontsize=9, loc="center left", bbox_to_anchor=(0, 0.8))
    return render(figure)


def unet() -> Image.Image:
    """The bundled digits network, its sizes read off the network itself: height is resolution, arrows are skips."""
    model = mezzotint.load("digits")
    net: Any = model.denoiser.net
    outputs: list[tuple[str, tuple[int, ...]]] = []

    def watch(name: str) -> Callable[..., None]:
        return lambda module, given, out: outputs.append((name, tuple(out.shape[1:])))

    for name, module in net.named_modules():
        if isinstance(module, Stage) or name.endswith((".enter", ".leave")):
            module.register_forward_hook(watch(name))
    net(torch.zeros(1, *model.facts.shape), torch.zeros(1))

    figure, (axis,) = figure_of(4.9, 3.4)
    skips: list[tuple[int, float]] = []
    for i, (name, (channels, height, _)) in enumerate(outputs):
        way, depth = name.split(".")[0], -1.0 if height == outputs[0][1][1] else -2.2
        if way == "middle":
            depth = -3.4
        block = ".stages." in name or way == "middle"
        colour = COLOURS[0] if block else COLOURS[4]
        axis.bar(i, 0.62, 0.72, bottom=depth - 0.31, color=colour, alpha=0.85 if block else 0.75, zorder=3)
        axis.text(i, depth, str(channels), ha="center", va="center", fontsize=10, color="white", zorder=4)
        if way == "down":
            skips.append((i, depth))
        elif way == "up" and block:
            start, at = skips.pop()
            arch = {"arrowstyle": "->", "color": INK, "linewidth": 0.9, "connectionstyle": "arc3,rad=-0.28"}
            axis.annotate("", (i, at + 0.33), (start, at + 0.33), arrowprops=arch, zorder=5)
    side = outputs[0][1][1]
    for depth, text in (
        (-1, f"{side} x {side}"),
        (-2.2, f"{side // 2} x {side // 2}"),
        (-3.4, f"middle, {side // 2} x {side // 2}"),
    ):
        axis.text(-0.8, depth, text, ha="right", va="center", fontsize=10, color=INK)
    axis.set(xlim=(-4, len(outputs) - 0.4), ylim=(-4, 0.7), xticks=[], yticks=[])
    for handle, text in ((COLOURS[0], "residual block"), (COLOURS[4], "entrance, halving, doubling, exit")):
        axis.bar(0, 0, color=handle, label=text)
    axis.legend(frameon=False, fontsize=9, loc="lower center", ncols=2, bbox_to_anchor=(0.5, -0.12))
    axis.set_axis_off()
    return render(figure)


def awake(net: nn.Module) -> nn.Module:
    """The same with small random numbers where weights start at zero: else nothing would reach the output."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.Conv2d) and not module.weight.any():
            nn.init.kaiming_uniform_(module.weight, a=5**0.5)
    return net.eval()


def pull(belief: Tensor, x: Tensor) -> Tensor:
    """How much each pixel moves the belief about the middle one: |d belief / d x|, root mean square over the rows, (H, W)."""
    middle = belief[:, 0, belief.shape[2] // 2, belief.shape[3] // 2].sum()
    (gradient,) = torch.autograd.grad(middle, x)
    strength = gradient[:, 0].square().mean(0).sqrt()
    return strength / strength.max()


def field() -> Image.Image:
    """Which pixels the middle one depends on: untrained networks, and a trained one at four levels."""
    size = 28
    torch.manual_seed(0)
    plain = nn.Sequential(*[nn.Conv2d(1 if i == 0 else 16, 16, 3, padding=1) for i in range(6)])
    simple = awake(UNetSimple(1, 16, 2))
    full = awake(UNet(1, 16, (1, 2, 2), 1))
    attentive = awake(UNet(1, 16, (1, 2, 2), 1, attention=(4,)))
    zeros = torch.zeros(8)
    nets: dict[str, Callable[[Tensor], Tensor]] = {
        "6 convolutions": plain,
        "simple, 2 levels": lambda x: simple(x, zeros),
        "full, 3 levels": lambda x: full(x, zeros),
        "with attention": lambda x: attentive(x, zeros),
    }
    figure, axes = figure_of(5.2, 3.3, 2, 4)
    for axis, (name, net) in zip(axes, nets.items()):
        x = noise(seeds_from(0, 8, torch.device("cpu")), 0, 0, (1, size, size)).requires_grad_()
        show(axis, pull(net(x), x), name)
    model = mezzotint.load("mnist", precision="fp32")
    x0 = to_model(model.sample(32, label="all", seed=0).values)
    for axis, one in zip(axes[4:], (6.0, 2.0, 0.0, -3.0)):
        eps = noise(seeds_from(99, len(x0), x0.device), 0, 0, x0.shape[1:])
        x = add_noise(model.process, x0, eps, level(one)).requires_grad_()
        cond = model.request(len(x0), label="none").cond
        belief = model.denoiser(x, level(one).expand(len(x0)), cond)
        show(axis, pull(belief, x), f"logsnr {one:g}")
    return render(figure)


def show(axis: Any, strength: Tensor, title: str) -> None:
    axis.imshow(strength.clamp(min=1e-5).log10().numpy(), cmap="magma", vmin=-4, vmax=0, zorder=1)
    axis.set(xticks=[], yticks=[])
    axis.set_title(title)
    axis.spines[:].set_color(FAINT)


def coefficients() -> Image.Image:
    """The share of x in the belief, and how much the network's errors count, for four parameterizations."""
    logsnr = torch.linspace(-8, 8, 161, dtype=torch.float64)
    figure, axes = figure_of(4.6, 5.4, 2)
    kinds = {
        "eps": parameterization.eps,
        "x0": parameterization.x0,
        "v": parameterization.v,
        "edm, std 0.5": parameterization.edm,
    }
    for colour, (name, kind) in zip(COLOURS, kinds.items()):
        c = kind(*vp(logsnr))
        axes[0].plot(logsnr.numpy(), c.c_skip.numpy(), color=colour, label=name)
        axes[1].plot(logsnr.numpy(), c.c_out.abs().numpy(), color=colour, label=name)
    axes[0].set(ylabel="c_skip", ylim=(-0.2, 4), title="how much of x the belief keeps")
    axes[1].set(ylabel="|c_out|", yscale="log", ylim=(0.01, 60), title="how much the network's errors count")
    axes[1].set(xlabel="logsnr, from noise to clean")
    axes[0].legend(frameon=False, fontsize=9)
    return render(figure)


if __name__ == "__main__":
    for draw in (told, embedding, unet, field, coefficients):
        path = HERE / f"2-{draw.__name__}.png"
        draw().quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
        print(path.name, f"{path.stat().st_size / 1000:.0f} kB")
