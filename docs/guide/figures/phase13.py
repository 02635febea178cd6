"""Draws the picture of phase 13: `python docs/guide/figures/phase13.py`."""

from pathlib import Path

import numpy as np
import torch
from matplotlib.colors import LinearSegmentedColormap

from mezzotint import load, plots
from mezzotint.exchange.sampler import sampler_table
from mezzotint.plots.style import figure_of, render

HERE = Path(__file__).parent


def tables() -> None:
    """The coefficients of what is known, in each question of four samplers."""
    model = load("digits", precision="fp32")
    both = LinearSegmentedColormap.from_list("both", [plots.COLOURS[1], "white", plots.COLOURS[0]])
    figure, axes = figure_of(7.2, 2.5, 1, 4)
    for axis, name in zip(axes, ("ddim", "dpmpp_2m", "heun", "ddpm")):
        table = sampler_table(model, sampler=name, steps=8)
        rows = [move["x"] for move in table["moves"] if "x" in move] + [table["result"]]
        width = max(map(len, rows))
        values = np.array([row + [0.0] * (width - len(row)) for row in rows])
        axis.imshow(values, cmap=both, vmin=-1, vmax=1)
        axis.set(title=name, xlabel="known", xticks=(), yticks=())
        axis.grid(False)
    axes[0].set(ylabel="questions, in turn")
    path = HERE / "13-tables.png"
    render(figure).quantize(64).save(path, optimize=True)
    print(f"{path.name}: {path.stat().st_size / 1024:.0f} kB")


if __name__ == "__main__":
    torch.set_num_threads(1)
    tables()
