"""Every picture this package draws: sheets and strips of samples, GIFs, scatter plots and curves.

Pictures come in as uint8 tensors and go out as PIL images. Charts are drawn by matplotlib's Figure objects alone,
never its pyplot state, and matplotlib is imported when the first chart or caption is drawn.
"""

import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin
from torch import Tensor

TINY = 64  # pixels: smaller pictures are enlarged for the eye
KEY = "mezzotint"  # of the PNG text chunk that holds the settings
INK, FAINT = "#24292f", "#d8dee4"
# Okabe and Ito's colours, which colour-blind readers tell apart too
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#24292f")
DPI = 160


# --- pictures --------------------------------------------------------------------------------------------


def picture(image: Tensor) -> Image.Image:
    """One picture (C, H, W) uint8, grey or RGB, at its own size."""
    return _image(_pixels(image[None])[0])


def sheet(
    images: Tensor,
    *,
    columns: int | None = None,
    gap: int = 2,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
    row_labels: Sequence[str] | None = None,
) -> Image.Image:
    """Pictures (N, C, H, W) uint8 in a grid, row by row, on white.

    `columns`: as many as make the sheet about square, where not given. `gap`: pixels between and around the pictures.
    `scale`: whole-number nearest-neighbour enlargement; by default pictures below 64 pixels come close to that size,
    larger ones keep theirs. `captions`: one above each column. `row_labels`: one to the left of each row.
    """
    pixels = _pixels(images)
    n, height, width = pixels.shape[:3]
    if columns is None:
        columns = math.ceil(math.sqrt(n * height / width))
    if columns < 1 or gap < 0 or (scale is not None and scale < 1):
        raise ValueError("a sheet needs columns >= 1, gap >= 0 and scale >= 1")
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    for labels, expected, what in ((captions, columns, "captions"), (row_labels, rows, "row labels")):
        if labels is not None and len(labels) != expected:
            raise ValueError(f"{len(labels)} {what} for {expected}: give one for each")
    scale = scale or max(1, round(TINY / max(height, width)))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale

    font = _font(13) if captions or row_labels else None
    left = top = gap
    cell = width
    if font and row_labels:
        left += math.ceil(max(font.getlength(label) for label in row_labels)) + 8
    if font and captions:  # a caption wider than its picture spreads the columns
        top += 20
        cell = max(width, math.ceil(max(font.getlength(label) for label in captions)) + 6)
    paper = np.full(
        (top + rows * (height + gap), left + columns * (cell + gap), pixels.shape[3]), 255, np.uint8
    )
    for i, tile in enumerate(pixels):
        y = top + i // columns * (height + gap)
        x = left + i % columns * (cell + gap) + (cell - width) // 2
        paper[y : y + height, x : x + width] = tile
    drawn = _image(paper)
    pen = ImageDraw.Draw(drawn)
    for i, label in enumerate(captions or ()):
        pen.text((left + i * (cell + gap) + cell / 2, gap + 10), label, INK, font, anchor="mm")
    for i, label in enumerate(row_labels or ()):
        pen.text((left - 6, top + i * (height + gap) + height / 2), label, INK, font, anchor="rm")
    return drawn


def strip(frames: Tensor, captions: Sequence[str]) -> Image.Image:
    """The same pictures at several times, frames (T, N, C, H, W) uint8: a row for each picture, a column for each time."""
    if frames.ndim != 5 or len(frames) != len(captions):
        raise ValueError(
            f"a strip takes frames (T, N, C, H, W) and T captions, not {tuple(frames.shape)} and {len(captions)}"
        )
    return sheet(frames.transpose(0, 1).flatten(0, 1), columns=len(frames), captions=captions)


def _pixels(images: Tensor) -> np.ndarray:
    """(N, C, H, W) uint8 tensor to an (N, H, W, C) array."""
    if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[1] not in (1, 3):
        found = f"{tuple(images.shape)} {str(images.dtype).removeprefix('torch.')}"
        raise ValueError(f"pictures are (N, C, H, W) uint8 with C = 1 (grey) or 3 (RGB), not {found}")
    if not images.numel():
        raise ValueError("there are no pictures to draw")
    return images.permute(0, 2, 3, 1).cpu().numpy()


def _image(pixels: np.ndarray) -> Image.Image:
    """(H, W, 1 or 3) uint8 to an image."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _font(size: int) -> ImageFont.FreeTypeFont:
    """The face of the charts, so that every picture is lettered alike."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)


# --- files -----------------------------------------------------------------------------------------------


def save_png(image: Image.Image, path: str | Path, settings: dict[str, Any] | None = None) -> None:
    """Writes a PNG, with the settings that made it as JSON in a text chunk. Makes the folder where needed."""
    text = PngImagePlugin.PngInfo()
    if settings is not None:
        text.add_text(KEY, json.dumps(settings))
    _write(Path(path), lambda temporary: image.save(temporary, "PNG", pnginfo=text))


def gif(frames: Sequence[Image.Image], path: str | Path, *, ms: int = 80, hold: int = 2000) -> None:
    """Writes an endless GIF: `ms` milliseconds a frame, `hold` for the last. All frames are of one size."""
    if len({frame.size for frame in frames}) != 1:
        raise ValueError("a GIF needs one frame at least, and all of one size")
    durations = [ms] * (len(frames) - 1) + [hold]
    first, rest = frames[0], frames[1:]
    _write(
        Path(path),
        lambda temporary: first.save(
            temporary, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, disposal=1
        ),
    )


def read_png(path: str | Path) -> Image.Image:
    """A PNG with all its pixels. ValueError if it is none, or damaged."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError) as error:  # what Pillow raises for another format, and for broken chunks
        raise ValueError(f"{path} is not a PNG picture, or it is damaged") from error


def read_settings(path: str | Path) -> dict[str, Any] | None:
    """The settings inside a PNG, or None where it has none. ValueError if it is no PNG, or they are damaged."""
    text = read_png(path).info.get(KEY)
    try:
        return None if text is None else dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise ValueError(f"the settings inside {path} are damaged") from error


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Writes under a temporary name and renames: nobody ever reads half a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


# --- charts ----------------------------------------------------------------------------------------------


def scatter(
    panels: Sequence[tuple[str, Tensor, Tensor | None]], limits: tuple[float, float] | None = None
) -> Image.Image:
    """Sets of points side by side on the same axes. Panel: title, points (n, 2), and labels (n,) int or None.

    `limits`: the interval that both axes show; by default all points that are finite, rounded outwards.
    """
    if not panels or any(points.ndim != 2 or points.shape[1] != 2 for _, points, _ in panels):
        raise ValueError("a scatter plot takes one panel at least, and points of shape (n, 2)")
    if limits is None:
        values = torch.cat([points.detach().cpu().double().flatten() for _, points, _ in panels])
        values = values[values.isfinite()]
        low, high = (float(values.min()), float(values.max())) if len(values) else (-1.0, 1.0)
        step = 10.0 ** math.floor(math.log10(max(high - low, 1e-9))) / 2
        limits = (math.floor(low / step) * step, math.ceil(high / step) * step + step * (high == low))
    columns = len(panels) if len(panels) <= 4 else min(4, math.ceil(len(panels) / 2))
    rows = math.ceil(len(panels) / columns)
    side = min(4.4, 8.6 / columns)
    figure, axes = _figure(side * columns, (side + 0.25) * rows, rows, columns)
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
    return _render(figure)


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
    figure, (axis,) = _figure(7.0, 4.0)
    for i, (name, (x, y)) in enumerate(series.items()):
        style = "-" if i < len(COLOURS) else "--"
        axis.plot(x, y, style, color=COLOURS[i % len(COLOURS)], marker="o" * (len(x) <= 30), label=name)
    if logx:
        _log(axis, "x", (v for x, _ in series.values() for v in x))
    if logy:
        _log(axis, "y", (v for _, y in series.values() for v in y))
    axis.set(xlabel=xlabel, ylabel=ylabel, title=title)
    if len(series) > 1:
        axis.legend(frameon=False, fontsize=9)
    return _render(figure)


def loss_curve(metrics: Sequence[dict[str, Any]]) -> Image.Image:
    """The rows of a run's metrics.jsonl (`step`, `loss`, `val_loss`) as a chart; rows without a finite loss are left out."""
    figure, (axis,) = _figure(7.0, 4.0)
    steps, losses = _column(metrics, "loss")
    window = len(losses) // 50
    if window > 1:  # single batches are noisy: the eye wants the mean
        axis.plot(steps, losses, color=COLOURS[0], alpha=0.25, linewidth=0.8)
        sums, counts = (np.convolve(v, np.ones(window), "same") for v in (losses, np.ones(len(losses))))
        axis.plot(steps, sums / counts, color=COLOURS[0], label="training")
    elif len(losses):
        axis.plot(steps, losses, color=COLOURS[0], marker="o", markersize=4, label="training")
    held_steps, held = _column(metrics, "val_loss")
    if len(held):
        axis.plot(held_steps, held, color=COLOURS[1], marker="o", label="held out")
    _log(axis, "y", [*losses, *held])
    axis.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set(xlabel="optimiser steps", ylabel="loss")
    if len(losses) or len(held):
        axis.legend(frameon=False, fontsize=9)
    else:
        axis.text(0.5, 0.5, "no losses yet", color=INK, ha="center", va="center", transform=axis.transAxes)
    return _render(figure)


def schedule_plot(entries: dict[str, tuple[Tensor, Tensor]]) -> Image.Image:
    """Noise schedules side by side, name: (u, logsnr): alpha and sigma of the variance-preserving process, and log SNR."""
    figure, axes = _figure(9.0, 3.3, columns=3)
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
    return _render(figure)


def _column(metrics: Sequence[dict[str, Any]], key: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps and finite values of one column."""
    rows = [
        (row["step"], row[key]) for row in metrics if row.get(key) is not None and math.isfinite(row[key])
    ]
    steps, values = np.array(rows, dtype=np.float64).reshape(-1, 2).T
    return steps, values


def _figure(width: float, height: float, rows: int = 1, columns: int = 1) -> tuple[Any, list[Any]]:
    """An empty figure, in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", layout="constrained")
    return figure, list(figure.subplots(rows, columns, squeeze=False).flat)


def _log(axes: Any, which: str, values: Iterable[float]) -> None:
    """Makes the x or y axis logarithmic, ticked in plain numbers, if the values span enough and none is negative."""
    from matplotlib.ticker import LogLocator, NullFormatter

    finite = [float(v) for v in values if math.isfinite(v)]
    positive = [v for v in finite if v > 0]
    if not positive or min(finite) < 0 or max(positive) < 3 * min(positive):
        return
    getattr(axes, f"set_{which}scale")("log", nonpositive="mask")
    scale = getattr(axes, f"{which}axis")
    decades = math.log10(max(positive) / min(positive))
    ticks = (1, 1.5, 2, 3, 5, 7) if decades < 1 else (1, 2, 5) if decades < 2.5 else (1,)
    scale.set_major_locator(LogLocator(subs=ticks))
    scale.set_major_formatter(lambda value, _: f"{value:g}")
    scale.set_minor_formatter(NullFormatter())


def _render(figure: Any) -> Image.Image:
    """Draws a figure in the house style."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    for axis in figure.axes:
        axis.set_axisbelow(True)
        axis.grid(color=FAINT, linewidth=0.6)
        axis.tick_params(which="both", colors=INK, labelsize=9, length=0)
        axis.spines[:].set_color(FAINT)
        axis.spines[["top", "right"]].set_visible(False)
        for text in (axis.title, axis.xaxis.label, axis.yaxis.label):
            text.set(color=INK, fontsize=10)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
