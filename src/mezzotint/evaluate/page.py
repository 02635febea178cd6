"""An evaluation as one self-contained page: numbers, samples, the training pictures nearest to them, curves."""

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
from mezzotint.model.by_weak import told

MAX_SAMPLES, MAX_PAIRS = 100, 12


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
    """The page as HTML. Evaluations read from JSON have only numbers."""
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
    keys = ("sampler", "steps", "guidance", "seed", "weights", "step")
    settings = ", ".join(f"{key} {one.settings[key]}" for key in keys if key in one.settings)
    if weak := one.settings.get("weak"):
        settings += f", {told(weak)}"
    verdict = ""
    if one.copies:
        memory = one.copies
        verdict = (
            ("This model copies its training pictures: " if memory.flagged else "No sign of copying: ")
            + f"{memory.copied.value:.1%} of the samples are suspiciously close to one training picture, "
            f"{memory.chance.value:.1%} by chance; the nearest of all pictures is a training picture for "
            f"{memory.nearer.value:.1%}, by chance {memory.expected:.1%}."
        )
    return Section(one.source, settings, list(_figures(one)), list(_curves(one)), verdict)


def _figures(one: Evaluation) -> Iterator[Figure]:
    if one.samples is None:
        return
    values, labels = one.samples.values, one.samples.labels
    if values.ndim == 2:
        yield _figure(plots.scatter([(f"{len(values):,} points", values[:4000], None)]), "the points")
        return
    classes = 0 if labels is None else len(labels[:MAX_SAMPLES].unique())
    columns = classes if 1 < classes <= 20 else None
    yield _figure(
        plots.sheet(values[:MAX_SAMPLES], columns=columns),
        f"the first {min(MAX_SAMPLES, len(values))} samples",
    )
    if image := pairs(one):
        yield _figure(image, "the samples likeliest to be copies, and the training pictures nearest to them")


def pairs(one: Evaluation) -> Image.Image | None:
    """The samples likeliest to be copies above the training pictures nearest to them, where they were looked for."""
    if one.copies is None or one.samples is None or one.samples.nearest is None:
        return None
    likeliest = one.copies.ratios.argsort()[:MAX_PAIRS]
    both = torch.stack([one.samples.values[likeliest], one.samples.nearest[likeliest]]).flatten(0, 1)
    return plots.sheet(both, columns=len(likeliest), row_labels=["sample", "nearest"])


def keep(one: Evaluation) -> None:
    """Writes the numbers, and what was found about copies, into the directory of the run that made the samples, for its
    own report. Nothing is written for other sources. Raises OSError."""
    folder = None if one.samples is None else one.samples.folder
    if folder is None:
        return
    write_json(folder / "evaluation.json", one.as_json())
    image = pairs(one)
    if one.copies is not None and image is not None:
        memory = one.copies
        content: dict[str, object] = {
            "n": one.n,
            "copied": round(memory.copied.value * one.n),
            "flagged": memory.flagged,
            "step": one.settings.get("step"),  # of the model, so that one knows later what was looked at
        }
        content |= {"ratio": float(memory.ratios.median()), "p_value": memory.p_value}
        write_json(folder / "memorization.json", content)
        plots.save_png(image, folder / "memorization.png", {"source": one.source, "n": one.n})


def _curves(one: Evaluation) -> Iterator[str]:
    """Quality over training where it was measured, and the losses, of a run that lies here."""
    rows = read_metrics(one.samples.folder) if one.samples and one.samples.folder else []
    for name, columns in (
        ("Fréchet distance", {"Fréchet distance": "frechet distance"}),
        ("loss", {"training": "loss", "held out": "val_loss"}),
    ):
        if chart := plots.history(rows, columns, ylabel=name):
            yield chart


def _figure(image: Image.Image, caption: str) -> Figure:
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return Figure(caption, f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}", *image.size)
