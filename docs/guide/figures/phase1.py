"""The pictures of phase 1: python docs/guide/figures/phase1.py"""

from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import avg_pool2d

from mezzotint import Empirical, Mixture
from mezzotint.data import load_pictures, points, to_model, to_uint8
from mezzotint.diffusion.process import Process, add_noise, flow, ve, vp
from mezzotint.diffusion.schedule import Table, cosine, linear, quadratic, sigmoid
from mezzotint.plots import COLOURS, sheet
from mezzotint.plots.style import INK, figure_of, render
from mezzotint.randomness import noise
from mezzotint.tasks.generate import seeds_from

HERE = Path(__file__).parent
PROCESSES: dict[str, Process] = {"vp": vp, "ve": ve, "flow": flow}
TABLES: dict[str, Table] = {
    "linear": linear(),
    "quadratic": quadratic(),
    "cosine": cosine(),
    "sigmoid": sigmoid(),
    "linear, T = 300": linear(300),
}


def level(logsnr: float) -> Tensor:
    return torch.tensor(logsnr, dtype=torch.float64)


def digits() -> Tensor:
    """The bundled digits, (1797, 1, 8, 8) float32 in [-1, 1]."""
    return to_model(load_pictures("digits").batch(torch.arange(1797))[0])


def eps_for(x0: Tensor, seed: int = 0) -> Tensor:
    return noise(seeds_from(seed, len(x0), torch.device("cpu")), 0, 0, x0.shape[1:])


def schedules() -> Image.Image:
    """One digit of 96 x 96 pixels, the same noise, a row for each schedule; what is left at the end, averaged."""
    x0 = large_digit(96)
    times = torch.tensor([0.3, 0.5, 0.7, 0.9995], dtype=torch.float64)
    frames = []
    for table in TABLES.values():
        frames += [add_noise(vp, x0, eps_for(x0), logsnr) for logsnr in table(times)]
        averages = avg_pool2d(frames[-1], 12)
        frames.append(3 * averages.repeat_interleave(12, 2).repeat_interleave(12, 3))
    return sheet(
        to_uint8(torch.cat(frames)),
        columns=len(times) + 1,
        captions=["u = 0.3", "0.5", "0.7", "1", "averaged"],
        row_labels=["T = 300" if "300" in name else name for name in TABLES],
    )


def large_digit(size: int) -> Tensor:
    """A bundled digit of 8 x 8 pixels in a larger picture, (1, 1, size, size)."""
    return digits()[:1].repeat_interleave(size // 8, 2).repeat_interleave(size // 8, 3)


def nats(logsnr: Tensor) -> Tensor:
    """What one unit of logsnr decides about which of the 1,797 digits it is: SNR / 2 times the error of the best answer."""
    data = digits()
    exact = Empirical(vp, data)
    error = torch.stack(
        [(exact(add_noise(vp, data, eps_for(data), one), one) - data).square() for one in logsnr]
    )
    return logsnr.exp() / 2 * error.flatten(2).sum(2).mean(1)


def levels() -> Image.Image:
    """log-SNR over time of the same schedules; beside it, where the digits are decided."""
    figure, axes = figure_of(5.0, 4.0, columns=2)
    axes[0].get_gridspec().set_width_ratios([2.4, 1])
    for colour, (name, table) in zip(COLOURS, TABLES.items()):
        u = (torch.arange(len(table)) + 0.5) / len(table)
        style = "--" if "300" in name else "-"
        axes[0].plot(u.numpy(), table.logsnr.numpy(), style, color=colour, label=name, linewidth=1.8)
    axes[0].set(xlabel="u = t / T", ylabel="logsnr", xlim=(0, 1), ylim=(-14, 10), title="five schedules")
    axes[0].legend(frameon=False, fontsize=9, loc="lower left")
    logsnr = torch.arange(-12, 8.01, 0.5, dtype=torch.float64)
    decided = nats(logsnr).numpy()
    axes[1].fill_betweenx(logsnr.numpy(), 0, decided, color=COLOURS[6], alpha=0.25, linewidth=0)
    axes[1].plot(decided, logsnr.numpy(), color=COLOURS[6], linewidth=1.5)
    axes[1].set(xlabel="nats per unit", xlim=(0, None), ylim=(-14, 10), title="decided here", yticklabels=[])
    return render(figure)


def processes() -> Image.Image:
    """Moons at three levels in three processes: the same cloud at another scale."""
    x0, label = points("moons", 700, 1)
    figure, axes = figure_of(4.6, 4.9, 3, 3)
    grid = [(name, process, logsnr) for name, process in PROCESSES.items() for logsnr in (4.0, 0.0, -4.0)]
    for i, (axis, (name, process, logsnr)) in enumerate(zip(axes, grid)):
        x = add_noise(process, x0, eps_for(x0), level(logsnr))
        axis.scatter(*x.T.numpy(), s=2.5, c=[COLOURS[int(k)] for k in label], linewidths=0, alpha=0.6)
        axis.set(xlim=(-9, 9), ylim=(-9, 9), aspect="equal", xticks=[-6, 0, 6], yticks=[-6, 0, 6])
        if i < 3:
            axis.set_title(f"logsnr {logsnr:g}")
        if i % 3 == 0:
            axis.set_ylabel(name)
        axis.label_outer()
    return render(figure)


def belief() -> Image.Image:
    """Above: the density of two points under noise. Below: what a perfect denoiser answers."""
    exact = Mixture(
        vp,
        torch.tensor([0.5, 0.5], dtype=torch.float64),
        torch.tensor([[-1.0], [1.0]], dtype=torch.float64),
        torch.full((2, 1), 0.01, dtype=torch.float64),
    )
    figure, axes = figure_of(4.6, 6.4, 2)
    x = torch.linspace(-3, 3, 241, dtype=torch.float64)
    logsnr = torch.linspace(6, -8, 141, dtype=torch.float64)
    density = torch.stack([exact.log_prob(x[:, None], one).exp() for one in logsnr], dim=1)
    axes[0].imshow(
        density.sqrt().numpy(),
        origin="lower",
        aspect="auto",
        cmap="Blues",
        extent=(6, -8, -3, 3),
        vmax=1.0,
        zorder=1,
    )
    axes[0].set(xlabel="logsnr: from clean to noise", ylabel="x", title="where x lies")
    for colour, one in zip(COLOURS, (6.0, 2.0, 0.0, -2.0, -6.0)):
        axes[1].plot(x.numpy(), exact(x[:, None], level(one))[:, 0].numpy(), color=colour, label=f"{one:g}")
    axes[1].plot(x.numpy(), x.numpy(), ":", color=INK, linewidth=1)
    axes[1].set(xlabel="x", ylabel="E[x0 | x]", ylim=(-1.4, 1.4), title="the best answer at five levels")
    axes[1].legend(title="logsnr", frameon=False, fontsize=9, loc="upper left")
    return render(figure)


def ideal() -> Image.Image:
    """A digit under noise, and what the ideal denoiser of the other 1,796 believes; no picture of them is it."""
    x0, others = digits().split([1, 1796])
    exact = Empirical(vp, others)
    logsnrs = (4.0, 2.0, 1.0, 0.0, -1.0, -2.0, -4.0)
    noisy = [add_noise(vp, x0, eps_for(x0), level(one)) for one in logsnrs]
    beliefs = [exact(x, level(one)) for x, one in zip(noisy, logsnrs)]
    return sheet(
        to_uint8(torch.cat(noisy + beliefs)),
        columns=len(logsnrs),
        captions=["logsnr 4", *(f"{one:g}" for one in logsnrs[1:])],
        row_labels=["x", "E[x0 | x]"],
    )


if __name__ == "__main__":
    for draw in (schedules, levels, processes, belief, ideal):
        path = HERE / f"1-{draw.__name__}.png"
        draw().quantize(32 if draw is schedules else 256, dither=Image.Dither.NONE).save(path, optimize=True)
        print(path.name, f"{path.stat().st_size / 1000:.0f} kB")
