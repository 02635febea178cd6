"""Pictures of a model in training: the same seeds and classes every time, so that one sees it learn."""

from collections import deque
from pathlib import Path

import torch
from PIL import Image

from mezzotint import plots
from mezzotint.model.model import Model, Samples
from mezzotint.train.distributed import Ranks

WATCH_AT = (0.01, 0.02, 0.05, *(i / 10 for i in range(1, 11)))  # shares of the budget


def spread(model: Model, n: int, ranks: Ranks) -> Samples:
    """n samples of all classes, each process making its part; all processes get all of them."""
    label = "all" if model.classes else None
    labels = model.labels(label, ranks.count * len(ranks.span(n)))
    parts = []
    span = ranks.span(n)
    for begin in range(span.start, span.stop, model.batch):
        count = min(model.batch, span.stop - begin)
        some = None if labels is None else labels[begin : begin + count]
        (last,) = deque(model.stream(count, label=some, seed=begin), maxlen=1)
        parts.append(last.belief)
    return model.samples(ranks.gather(torch.cat(parts))[:n], label, 0, {})


def sheet(model: Model, folder: Path, step: int, ranks: Ranks) -> Image.Image | None:
    """samples/step-N.png: a column a class, or 8 pictures a row; 2,000 points. Returns it in the first process."""
    columns = None
    n = 2000
    if model.facts.pictures:
        classes = len(model.classes) or 8
        columns = classes if classes <= 10 else 8
        n = columns * (4 if max(model.facts.shape[1:]) > 32 else 8)
    samples = spread(model, n, ranks)
    if not ranks.first:
        return None
    (folder / "samples").mkdir(exist_ok=True)
    picture = samples.sheet(columns)
    plots.save_png(picture, folder / "samples" / f"step-{step:07d}.png", {**samples.settings, "step": step})
    return picture


def watch(model: Model, folder: Path, step: int, ranks: Ranks, *, last: bool) -> None:
    """samples/watch.png: the newest of a series from the same seeds; samples/watch.gif: all of it, at the end."""
    classes = len(model.classes) if len(model.classes) <= 12 else 0
    n = -(-16 // classes) * classes if classes else 16  # whole rows, a column a class
    samples = spread(model, n if model.facts.pictures else 2000, ranks)
    if not ranks.first:
        return
    frames = folder / "samples" / "watch"
    frames.mkdir(parents=True, exist_ok=True)
    picture = samples.sheet()
    plots.save_png(picture, frames / f"{step:07d}.png")
    plots.save_png(picture, folder / "samples" / "watch.png", {**samples.settings, "step": step})
    if last:
        series = [plots.read_png(f) for f in sorted(frames.glob("*.png"))]
        plots.gif(series, folder / "samples" / "watch.gif")
