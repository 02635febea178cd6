"""The pictures of phase 3, training: python docs/guide/figures/phase3.py

Writes 3-posterior.png, 3-weights.png, 3-levels.png, 3-averages.png and 3-digits.png beside this file, in under a minute
on one core.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from mezzotint import Denoiser, DenoisingLoss, Mixture, plots
from mezzotint import config as configuration
from mezzotint.cond import Batch
from mezzotint.data import points, to_uint8
from mezzotint.diffusion import loss, parameterization, process, schedule
from mezzotint.diffusion.process import Process, per_row
from mezzotint.nets import MLP
from mezzotint.plots.style import COLOURS, FAINT, INK, figure_of, log_axis, render
from mezzotint.plots.training import LEVEL_COLOURS
from mezzotint.run.parts import Parts
from mezzotint.train import Ema, State, adamw, held_out_loss, train
from mezzotint.train.distributed import Ranks
from mezzotint.train.ema import gamma_of
from mezzotint.train.posthoc import coefficients

HERE = Path(__file__).parent
WIDTH = 5.2  # inches: letters stay legible on a phone


def save(image: Image.Image, name: str) -> None:
    """A PNG of at most 256 colours, which these drawings do not exceed to the eye."""
    path = HERE / f"3-{name}.png"
    image.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1000:.0f} kB")


def truth(noised_by: Process) -> Mixture:
    """The exact denoiser of the 2-D set "mixture": eight Gaussians of spread 0.2 on a circle."""
    angle = torch.arange(8, dtype=torch.float64) * math.pi / 4
    centres = math.sqrt(2 * (1 - 0.2**2)) * torch.stack([angle.cos(), angle.sin()], 1)
    eighth = torch.full((8,), 1 / 8, dtype=torch.float64)
    return Mixture(noised_by, eighth, centres, torch.full((8, 2), 0.2**2, dtype=torch.float64))


def posterior() -> None:
    """Arrows from x to E[x0 | x] at two levels of noise, over points noised so."""
    exact = truth(process.ve)
    figure, axes = figure_of(WIDTH, 0.56 * WIDTH, columns=2)
    for axis, sigma in zip(axes, (0.3, 1.0)):
        level = torch.tensor(-2 * math.log(sigma), dtype=torch.float64)
        reach = 1.9 + 0.8 * sigma
        x0, _ = points("mixture", 1500)
        noised = x0 + sigma * torch.randn(1500, 2, generator=torch.Generator().manual_seed(0))
        line = torch.linspace(-0.88 * reach, 0.88 * reach, 7, dtype=torch.float64)
        grid = torch.cartesian_prod(line, line)
        move = exact(grid, level) - grid
        axis.scatter(*noised.T.numpy(), s=3, color=COLOURS[5], alpha=0.5, linewidths=0)
        axis.quiver(
            *grid.T.numpy(),
            *move.T.numpy(),
            color=COLOURS[1],
            angles="xy",
            scale_units="xy",
            scale=1,
            width=0.008,
        )
        axis.scatter(*exact.means.T.numpy(), s=12, color=INK, zorder=3)
        axis.set(
            title=rf"noise $\sigma$ = {sigma:g}", xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal"
        )
    save(render(figure), "posterior")


def density(levels: schedule.Schedule, at: Tensor) -> Tensor:
    """How densely a schedule draws logsnr, as -du/dlogsnr by differences; nan beyond its ends."""
    count = len(levels) if isinstance(levels, schedule.Table) else 1_000_000
    drawn = levels((torch.arange(count, dtype=torch.float64) + 0.5) / count).flip(0)
    middle, slope = (drawn[1:] + drawn[:-1]) / 2, 1 / (count * drawn.diff())
    return torch.from_numpy(np.interp(at.numpy(), middle.numpy(), slope.numpy(), math.nan, math.nan))


def weights() -> None:
    """Above: the weights that parameterizations imply. Below: weight times density, for whole recipes."""
    figure, (above, below) = figure_of(WIDTH, 1.45 * WIDTH, rows=2)
    level = torch.linspace(-8, 8, 321, dtype=torch.float64)

    def implied(kind: parameterization.Parameterization, noised_by: Process = process.vp) -> Tensor:
        return kind(*noised_by(level)).c_out ** -2

    lines: dict[str, Tensor] = {
        "x0: 1": implied(parameterization.x0),
        "eps: SNR": implied(parameterization.eps),
        "v: SNR + 1": implied(parameterization.v),
        "edm: SNR + 4": implied(parameterization.edm),
        r"velocity: $(\sqrt{\mathrm{SNR}} + 1)^2$": implied(parameterization.velocity, process.flow),
        "min-SNR: min(SNR, 5)": loss.min_snr(5.0)(level, level),
    }
    for (name, line), colour in zip(lines.items(), (INK, *COLOURS)):
        above.plot(level, line, "--" if "min" in name else "-", color=colour, label=name)
    above.set(yscale="log", ylim=(0.1, 4000), ylabel="weight on the error of the belief")
    above.set(title="the weight that “simple” implies", xlabel="log SNR (clean is right)")

    snr = level.exp()
    recipes: dict[str, tuple[Tensor, schedule.Schedule]] = {
        "eps, linear betas (DDPM)": (snr, schedule.linear()),
        "v, cosine": (snr + 1, schedule.cosine()),
        "EDM: edm, lognormal (-1.2, 1.2)": (snr + 4, schedule.lognormal()),
        "flow: velocity, logit-normal (0, 1)": ((snr.sqrt() + 1) ** 2, schedule.lognormal(0.0, 1.0)),
        "x0, min-SNR 5, cosine": (snr.clamp(max=5), schedule.cosine()),
    }
    for (name, (weight, levels)), colour in zip(recipes.items(), COLOURS):
        product = weight / snr * density(levels, level)
        below.plot(level, product / product[len(level) // 2], color=colour, label=name)
    below.plot(level, torch.ones_like(level), "--", color=INK, label="the bound on likelihood")
    below.set(ylabel="weight on the error of eps\n(1 at SNR = 1)", xlabel="log SNR (clean is right)")
    below.set(title="weight times density, in training", yscale="log", ylim=(0.03, 40))
    for axis in (above, below):
        axis.set_xlim(-8, 8)
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    above.legend(frameon=False, fontsize=8, loc="upper left")
    below.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
    save(render(figure), "weights")


class Judge:
    """Error of velocity networks on the mixture, level by level, beside that of the truth, which is the floor."""

    def __init__(self, each_level: int) -> None:
        torch.manual_seed(1)
        self.levels = torch.linspace(-5, 5, 21, dtype=torch.float64)
        each = self.levels.repeat_interleave(each_level)
        x0, eps = points("mixture", len(each), seed=99)[0], torch.randn(len(each), 2)
        self.logsnr, self.target = each, eps - x0
        self.x = process.add_noise(process.flow, x0, eps, each)
        c = parameterization.velocity(*process.flow(each))
        belief = truth(process.flow)(self.x, each)
        self.exact = (belief - per_row(c.c_skip, self.x) * self.x) / per_row(c.c_out, self.x)
        self.floor = self._mean((self.exact - self.target).square())

    def _mean(self, squares: Tensor) -> Tensor:
        return squares.sum(1).view(len(self.levels), -1).mean(1) / 2

    @torch.no_grad()
    def excess(self, net: nn.Module) -> Tensor:
        """Squared distance from the truth at each level: what the loss has above its floor, (levels,)."""
        denoiser = Denoiser(net, process.flow, parameterization.velocity)
        return self._mean((denoiser.predict(self.x, self.logsnr) - self.exact).square())


def fresh_batches() -> Iterator[Batch]:
    step = 0
    while True:
        yield Batch(points("mixture", 256, seed=(0, step))[0])
        step += 1


def train_points() -> None:
    """One training on points gives the pictures of the floor and of the averages."""
    until, lengths = 1600, (0.05, 0.2)
    judge, exam = Judge(256), Judge(8192)
    torch.manual_seed(0)
    net = MLP(width=64, depth=2)
    averages = tuple(Ema(net, length) for length in (*lengths, 0.1))
    state = State(net, adamw(net), averages[0], tracked_emas=averages[1:])
    objective = DenoisingLoss(
        Denoiser(net, process.flow, parameterization.velocity), schedule.lognormal(0.0, 1.2)
    )
    names = ("raw", "0.05", "0.2", "0.1")
    kept: dict[int, Tensor] = {}
    errors: dict[str, list[float]] = {name: [] for name in names}
    steps: list[int] = []
    snapshots: list[tuple[int, float, dict[str, Tensor]]] = []
    for progress in train(objective, state, fresh_batches(), until=until, lr=lambda share: 4e-3):
        step = progress.step
        if step in (50, 200, until):
            kept[step] = exam.excess(net)
        if step % 40 == 0:
            steps.append(step)
            for name, each in zip(names, (net, *(a.net for a in averages))):
                errors[name].append(float(judge.excess(each).mean()))
        if step % 160 == 0:
            for length, average in zip(lengths, averages):
                snapshots.append((step, length, {k: v.clone() for k, v in average.net.state_dict().items()}))
    levels_picture(exam, kept)
    shares = coefficients([s for s, _, _ in snapshots], [w for _, w, _ in snapshots], until, 0.1)
    other = MLP(width=64, depth=2)
    kept_weights = [weights for _, _, weights in snapshots]
    other.load_state_dict(
        {k: sum(float(share) * w[k] for share, w in zip(shares, kept_weights)) for k in kept_weights[0]}
    )
    made = float(judge.excess(other).mean())
    print(
        "loss minus floor at the end:", {name: round(values[-1], 5) for name, values in errors.items()}, made
    )
    averages_picture(steps, errors, made)


def levels_picture(judge: Judge, kept: dict[int, Tensor]) -> None:
    figure, (above, below) = figure_of(WIDTH, 1.2 * WIDTH, rows=2)
    for (step, excess), colour in zip(kept.items(), (LEVEL_COLOURS[6], LEVEL_COLOURS[5], LEVEL_COLOURS[0])):
        above.plot(judge.levels, judge.floor + excess, color=colour, label=f"network, {step:,} steps")
        below.plot(judge.levels, excess, color=colour, label=f"{step:,} steps")
    above.plot(judge.levels, judge.floor, "--", color=INK, label="the floor: exact $E[x_0 | x]$")
    above.set(ylabel="loss on velocity", ylim=(0, None), title="the loss at each level")
    below.set(
        ylabel="loss minus floor",
        title="what the network still has to learn",
        xlabel="log SNR (clean is right)",
    )
    log_axis(below, "y", [float(v) for excess in kept.values() for v in excess])
    above.legend(frameon=False, fontsize=8)
    save(render(figure), "levels")


def averages_picture(steps: list[int], errors: dict[str, list[float]], made: float) -> None:
    figure, (above, below) = figure_of(WIDTH, 1.2 * WIDTH, rows=2)
    colours = {"raw": FAINT, "0.05": COLOURS[0], "0.1": COLOURS[2], "0.2": COLOURS[1]}
    for name, colour in colours.items():
        label = "the weights themselves" if name == "raw" else f"average of length {name}"
        above.plot(steps, errors[name], color="#8c959f" if name == "raw" else colour, label=label)
    above.plot(steps[-1:], [made], "o", color=INK, markersize=5, label="0.1 made from the other two")
    log_axis(above, "y", [v for values in errors.values() for v in values])
    above.set(ylabel="loss minus floor", xlabel="optimiser steps", title="2-D points, constant learning rate")
    above.legend(frameon=False, fontsize=8)
    tau = np.linspace(0, 1, 400)
    for length, colour in ((0.05, COLOURS[0]), (0.1, COLOURS[2]), (0.2, COLOURS[1])):
        gamma = gamma_of(length)
        below.plot(tau, (gamma + 1) * tau**gamma, color=colour, label=rf"{length:g} ($\gamma$ = {gamma:.2f})")
    below.set(ylabel="weight", xlabel="share of training", title="how much of each moment is in the average")
    below.legend(frameon=False, fontsize=8)
    save(render(figure), "averages")


def train_digits() -> None:
    """The recipe `digits` in brief: held-out loss by level, and the same eight samples on the way."""
    torch.manual_seed(0)
    overrides = ["train.steps=320", "train.batch_size=64", "train.precision=fp32", "train.device=cpu"]
    run = Parts(configuration.load("digits", overrides), HERE / "digits", Ranks())
    looked: list[tuple[int, list[float]]] = []
    frames: dict[int, Tensor] = {}
    for progress in run.steps(320):
        step = progress.step
        if step in (5, 10, 20, 40, 80, 160, 320):
            looked.append((step, held_out_loss(run.averaged, run.validation).levels))
        if step in (20, 40, 80, 160, 320):
            made = run.model.sample(10, label="all", seed=0, guidance=2.0, steps=12)
            frames[step] = to_uint8(made.values) if made.values.is_floating_point() else made.values
    figure, (above, below) = figure_of(WIDTH, 1.3 * WIDTH, rows=2)
    for part, colour in enumerate(LEVEL_COLOURS):
        label = {0: "cleanest eighth", 7: "noisiest eighth"}.get(part)
        above.plot([s for s, _ in looked], [v[part] for _, v in looked], color=colour, label=label)
    log_axis(above, "x", [s for s, _ in looked])
    above.set(ylabel="held-out loss", xlabel="optimiser steps", title="the loss, by eighths of u")
    above.legend(frameon=False, fontsize=8)
    grid = plots.sheet(torch.cat(list(frames.values())), columns=10, row_labels=[f"{s}" for s in frames])
    below.imshow(np.asarray(grid.convert("RGB")))
    below.set_title("the same seeds, after so many steps")
    below.set_axis_off()
    save(render(figure), "digits")


def main() -> None:
    torch.set_num_threads(1)
    posterior()
    weights()
    train_points()
    train_digits()


if __name__ == "__main__":
    main()
