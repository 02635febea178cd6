"""Charts as pictures: points, curves and noise schedules."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from mezzotint.plots.style import COLOURS, figure_of, log_axis, render, whole_axis


def scatter(
    panels: Sequence[tuple[str, Tensor, Tensor | None]], limits: tuple[float, float] | None = None
) -> Image.Image:
    """Sets of points side by side on the same axes. Panel: title, points (n, 2), and labels (n,) int or None.

    `limits`: the interval that both axes show; by default all points that are finite, rounded outwards.
    """
    if not panels or any(points.ndim != 2 or points.shape[1] != 2 for _, points, _ in panels):
        raise ValueError("a scatter plot needs at least one panel, and points of shape (n, 2)")
    if limits is None:
        values = torch.cat([points.detach().cpu().double().flatten() for _, points, _ in panels])
        values = values[values.isfinite()]
        low, high = (float(values.min()), float(values.max())) if len(values) else (-1.0, 1.0)
        step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9))) / 2
        limits = (math.floor(low / step) * step, math.ceil(high / step) * step + step * (high == low))
    columns = len(panels) if len(panels) <= 4 else min(4, math.ceil(len(panels) / 2))
    rows = math.ceil(len(panels) / columns)
    side = min(4.4, 8.6 / columns)
    figure, axes = figure_of(side * columns, (side + 0.25) * rows, rows, columns)
    for axis, (title, points, labels) in zip(axes, panels):
        x, y = points.detach().cpu().double().numpy().T
        size = min(max(2400 * side / max(len(x), 1), 1.0), 14.0)
        colour: Any = COLOURS[0]
        if labels is not None:
            colour = [COLOURS[int(k) % len(COLOURS)] for k in labels.tolist()]
        axis.scatter(x, y, s=size, c=colour, alpha=0.7 if len(x) < 500 else 0.45, linewidths=0)
        axis.set(title=title, xlim=limits, ylim=limits, aspect="equal")
        axis.locator_params(nbins=6, prune="both")  # numbers at the corners would touch the next panel's
        axis.label_outer()
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    return render(figure)


def curves(
    series: dict[str, tuple[Sequence[float], Sequence[float]]],
    *,
    xlabel: str,
    ylabel: str,
    title: str = "",
    logx: bool = False,
    logy: bool = False,
) -> Image.Image:
    """One line for each name: (x, y). NaN and infinity leave gaps; single points and short lines get markers."""
    figure, (axis,) = figure_of(7.0, 4.0)
    for i, (name, (x, y)) in enumerate(series.items()):
        style = "-" if i < len(COLOURS) else "--"
        axis.plot(x, y, style, color=COLOURS[i % len(COLOURS)], marker="o" * (len(x) <= 30), label=name)
    whole_axis(axis, (v for x, _ in series.values() for v in x))
    if logx:
        log_axis(axis, "x", (v for x, _ in series.values() for v in x))
    if logy:
        log_axis(axis, "y", (v for _, y in series.values() for v in y))
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(series) > 1:
        axis.legend(frameon=False, fontsize=9)
    return render(figure)


def schedule_plot(entries: dict[str, tuple[Tensor, Tensor]]) -> Image.Image:
    """Noise schedules side by side, name: (u, logsnr): alpha and sigma of the variance-preserving process, and log SNR."""
    figure, axes = figure_of(9.0, 3.3, columns=3)
    for i, (name, (u, logsnr)) in enumerate(entries.items()):
        u, logsnr = u.detach().cpu().double(), logsnr.detach().cpu().double()
        style = {"color": COLOURS[i % len(COLOURS)], "linestyle": "-" if i < len(COLOURS) else "--"}
        for axis, values in zip(axes, (logsnr.sigmoid().sqrt(), (-logsnr).sigmoid().sqrt(), logsnr)):
            axis.plot(u.numpy(), values.numpy(), label=name, **style)
    for axis, title in zip(
        axes, (r"signal $\alpha$", r"noise $\sigma$", r"log SNR = $\log\ \alpha^2 / \sigma^2$")
    ):
        axis.set(title=title, xlabel="u", xlim=(0, 1))
    low, high = axes[2].get_ylim()
    axes[2].set_ylim(max(low, -20), min(high, 20))  # beyond, alpha or sigma is 0 to the eye
    if entries:
        lines, names = axes[0].get_legend_handles_labels()
        figure.legend(lines, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return render(figure)
