"""Pictures of a model in training: the same seeds and classes every time, so that one sees it learn."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from mezzotint import plots
from mezzotint.conditions.labels import ALL
from mezzotint.model.model import Model
from mezzotint.model.samples import Samples
from mezzotint.train.distributed import Ranks

WATCH_AT = (0.01, 0.02, 0.05, *(i / 10 for i in range(1, 11)))  # shares of the budget


WATCHED = 16  # pictures
CALLS = (1, 2, 4, 8)  # of a flow map: a row or more of a sheet each


def spread(model: Model, n: int, ranks: Ranks, **settings: Any) -> Samples:
    """n samples of all classes, each process making its part; all processes get all of them."""
    span = ranks.span(n)
    label = ALL if model.classes else None
    mine = model.request(ranks.count * len(span), label=label, **settings).part(span.start, span.stop)
    things = torch.cat([model.make(part) for part in mine.parts(model.batch)])
    return model.finish(model.request(n, label=label, **settings), ranks.gather(things)[:n])


def sheet(model: Model, folder: Path, step: int, ranks: Ranks) -> Image.Image | None:
    """samples/step-N.png: a column a class, or 8 pictures a row; 2,000 points. Of a flow map the same things by 1, 2, 4 and 8
    calls, below each other. Returns it in the first process."""
    n, columns = model.medium.usual_sheet(model.facts.shape, len(model.classes))
    if model.config.objective == "map" and columns:
        rows = max(1, n // columns // len(CALLS))
        by_calls = [spread(model, rows * columns, ranks, steps=calls) for calls in CALLS]
        things = torch.cat([samples.values for samples in by_calls])
        samples = replace(by_calls[0], values=things, settings={**by_calls[0].settings, "steps": list(CALLS)})
    else:
        samples = spread(model, n, ranks)
    if not ranks.first:
        return None
    (folder / "samples").mkdir(exist_ok=True)
    picture = samples.sheet(columns)
    plots.save_png(picture, folder / "samples" / f"step-{step:07d}.png", {**samples.settings, "step": step})
    return picture


def watch(model: Model, folder: Path, step: int, ranks: Ranks, *, last: bool) -> None:
    """samples/watch.png: the newest of a series from the same seeds; samples/watch.gif: all of it, at the end."""
    classes = len(model.classes) if len(model.classes) <= 12 else 1
    rows = -(-WATCHED // max(classes, 1))
    n = max(rows * max(classes, 1), model.medium.least)  # whole rows, a column a class
    samples = spread(model, n, ranks)
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
