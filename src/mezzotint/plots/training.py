"""How a training run went: curves of the rows of its metrics.jsonl."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from mezzotint.plots.style import COLOURS, INK, figure_of, log_axis, render, svg

Rows = Sequence[dict[str, Any]]
# From clean to noisy: a walk through hues that are equally easy to see on white and on black.
LEVEL_COLOURS = ("#3b6fd4", "#2a8fbf", "#2a9d8f", "#5a9e4b", "#96962f", "#c98a1e", "#d1603d", "#b8406f")
MAX_MARKERS, MAX_POINTS = 30, 400  # points: fewer get markers, more are thinned out


def column(rows: Rows, key: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps and finite values (n,) float64 of a column, `key`, or of an entry of a column of lists, `key/3`."""
    name, _, entry = key.partition("/")
    pairs = []
    for row in rows:
        value = row.get(name)
        if entry and value is not None:
            value = value[int(entry)] if int(entry) < len(value) else None
        if value is not None and math.isfinite(value):
            pairs.append((row["step"], value))
    steps, values = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    return steps, values


def loss_curve(metrics: Rows) -> Image.Image:
    """The losses, training and held out, as a picture; rows without a finite loss are left out."""
    figure, (axis,) = figure_of(7.0, 4.0)
    log_axis(axis, "y", _lines(axis, metrics, {"training": "loss", "held out": "val_loss"}, COLOURS))
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set(xlabel="optimiser steps", ylabel="loss")
    if axis.lines:
        axis.legend(frameon=False, fontsize=9)
    else:
        axis.text(0.5, 0.5, "no losses yet", color=INK, ha="center", va="center", transform=axis.transAxes)
    return render(figure)


def history(
    metrics: Rows,
    columns: dict[str, str],
    *,
    ylabel: str,
    rule: tuple[str, float] | None = None,
    from_zero: bool = False,
) -> str | None:
    """Columns of the metrics over the steps, as an <svg> for a page (see `style.svg`); None where there are no values.

    columns: label -> key (see `column`); more than three are taken for noise levels, from clean to noisy.
    rule: a level line, as (label, value). from_zero: an axis from 0 on, in place of one that shows every change.
    """
    figure, (axis,) = figure_of(4.6, 2.8)
    levels = len(columns) > 3
    values = _lines(axis, metrics, columns, LEVEL_COLOURS if levels else COLOURS, faint=not levels)
    if not values:
        return None
    if rule:
        axis.axhline(rule[1], color=INK, linestyle="--", linewidth=1, label=rule[0])
        values.append(rule[1])
    if from_zero:
        axis.set_ylim(bottom=0)
    else:
        log_axis(axis, "y", values)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}")
    axis.xaxis.get_major_locator().set_params(nbins=6)
    axis.set(xlabel="optimiser steps", ylabel=ylabel)
    if levels:
        figure.legend(loc="outside right upper", frameon=False, fontsize=9, labelcolor=INK)
    elif len(columns) > 1 or rule:
        axis.legend(frameon=False, fontsize=9, labelcolor=INK)
    return svg(figure, f"{ylabel} over the steps of training")


def _lines(
    axis: Any,
    metrics: Rows,
    columns: dict[str, str],
    colours: Sequence[str],
    faint: bool = True,
) -> list[float]:
    """One line a column: where there are many rows its running mean, on the faint rows themselves. Returns all values."""
    drawn: list[float] = []
    for (label, key), colour in zip(columns.items(), colours):
        steps, values = column(metrics, key)
        drawn += values.tolist()
        window = len(values) // 50
        if window > 1:  # single batches are noisy: the eye wants the mean
            if faint:
                axis.plot(*_extremes(steps, values), color=colour, alpha=0.25, linewidth=0.8)
            sums, counts = (np.convolve(v, np.ones(window), "same") for v in (values, np.ones(len(values))))
            every = slice(None, None, max(1, len(values) // MAX_POINTS))
            axis.plot(steps[every], (sums / counts)[every], color=colour, label=label)
        elif len(values):
            marker = "o" if len(values) <= MAX_MARKERS else ""
            axis.plot(steps, values, color=colour, marker=marker, markersize=4, label=label)
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    return drawn


def _extremes(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest of every few values: the same to the eye, and no spike is lost."""
    block = len(values) // MAX_POINTS
    if block < 2:
        return steps, values
    count = len(values) // block * block
    blocks = values[:count].reshape(-1, block)
    pairs = np.stack([blocks.min(1), blocks.max(1)], axis=1).flatten()
    remainder = slice(count, None)
    return np.r_[steps[:count:block].repeat(2), steps[remainder]], np.r_[pairs, values[remainder]]
