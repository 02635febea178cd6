"""An evaluation as one page that needs nothing else: numbers, samples, the training pictures nearest to them, curves."""

import base64
import io
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import NamedTuple

import torch
from PIL import Image

from mezzotint import plots
from mezzotint.disk.files import write_json
from mezzotint.disk.folder import read_metrics
from mezzotint.evaluate.evaluation import Evaluation

SHOWN, PAIRS = 100, 12


class Figure(NamedTuple):
    caption: str
    uri: str
    width: int
    height: int


class Section(NamedTuple):
    source: str
    settings: str
    figures: list[Figure]
    curves: list[str]  # <svg>
    verdict: str


def page(evaluations: Sequence[Evaluation]) -> str:
    """The page as HTML. Evaluations that were read from JSON have numbers alone."""
    from jinja2 import Environment

    names = dict.fromkeys(number.name for one in evaluations for number in one.numbers)
    rows = [[next((x for x in one.numbers if x.name == name), None) for one in evaluations] for name in names]
    template = resources.files("mezzotint.evaluate").joinpath("evaluation.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        first=evaluations[0],
        evaluations=evaluations,
        rows=list(zip(names, rows, [next(x for x in row if x) for row in rows])),
        sections=[_section(one) for one in evaluations],
    )


def _section(one: Evaluation) -> Section:
    shown = ("sampler", "steps", "guidance", "seed", "weights", "step")
    settings = ", ".join(f"{key} {one.settings[key]}" for key in shown if key in one.settings)
    verdict = ""
    if one.copies:
        found = one.copies
        verdict = (
            f"{found.copied.value:.1%} of the samples are suspiciously near one training picture, "
            f"{found.chance.value:.1%} by chance; the nearest of all pictures is a training picture for "
            f"{found.nearer.value:.1%}, by chance {found.expected:.1%}: "
            + ("this model copies its training pictures." if found.flagged else "no sign of copying.")
        )
    return Section(one.source, settings, list(_figures(one)), list(_curves(one)), verdict)


def _figures(one: Evaluation) -> Iterator[Figure]:
    if one.made is None:
        return
    values, labels = one.made.values, one.made.labels
    if values.ndim == 2:
        yield _figure(plots.scatter([(f"{len(values):,} points", values[:4000], None)]), "the points")
        return
    classes = 0 if labels is None else len(labels[:SHOWN].unique())
    columns = classes if 1 < classes <= 20 else None
    yield _figure(
        plots.sheet(values[:SHOWN], columns=columns), f"the first {min(SHOWN, len(values))} samples"
    )
    if drawn := pairs(one):
        yield _figure(drawn, "the samples likeliest to be copies, and the training pictures nearest to them")


def pairs(one: Evaluation) -> Image.Image | None:
    """The samples likeliest to be copies above the training pictures nearest to them, where they were looked for."""
    if one.copies is None or one.made is None or one.made.nearest is None:
        return None
    worst = one.copies.ratios.argsort()[:PAIRS]
    both = torch.stack([one.made.values[worst], one.made.nearest[worst]]).flatten(0, 1)
    return plots.sheet(both, columns=len(worst), row_labels=["sample", "nearest"])


def keep(one: Evaluation) -> None:
    """Writes the numbers, and what was found about copies, into the directory of the run that made the samples, for its
    own report. Other sources leave nothing. Raises OSError."""
    folder = None if one.made is None else one.made.folder
    if folder is None:
        return
    write_json(folder / "evaluation.json", one.as_json())
    drawn = pairs(one)
    if one.copies is not None and drawn is not None:
        found = one.copies
        content: dict[str, object] = {
            "n": one.n,
            "copied": round(found.copied.value * one.n),
            "flagged": found.flagged,
        }
        content |= {"ratio": float(found.ratios.median()), "p_value": found.p_value}
        write_json(folder / "memorization.json", content)
        plots.save_png(drawn, folder / "memorization.png", {"source": one.source, "n": one.n})


def _curves(one: Evaluation) -> Iterator[str]:
    """Quality over training where it was measured, and the losses, of a run that lies here."""
    rows = read_metrics(one.made.folder) if one.made and one.made.folder else []
    for name, columns in (
        ("Fréchet distance", {"Fréchet distance": "frechet distance"}),
        ("loss", {"training": "loss", "held out": "val_loss"}),
    ):
        if drawn := plots.history(rows, columns, ylabel=name):
            yield drawn


def _figure(image: Image.Image, caption: str) -> Figure:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return Figure(caption, f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", *image.size)
