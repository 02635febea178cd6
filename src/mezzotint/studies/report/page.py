"""One page about one run: what it was, what its numbers say, its curves and its pictures.

The page is one file that needs nothing else: charts are drawn into it, pictures are written into it as text, and there
is no script. It is written from the files in the run directory, so it can be made of an old or a broken run.
"""

import base64
import io
import json
import os
import shlex
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import torch
from PIL import Image

from mezzotint import build, plots
from mezzotint import config as configuration
from mezzotint.config import Config
from mezzotint.disk.files import write
from mezzotint.disk.folder import read_config, read_metrics
from mezzotint.disk.model_file import read_header
from mezzotint.errors import ModelError, printable
from mezzotint.studies.report import curves
from mezzotint.studies.report.rules import RunHistory, findings

MAX_SHEETS = 6  # of samples over training, at most
MAX_SHEET_BYTES = 1_300_000  # bytes for all sheets; text makes them a third larger
TROUBLESHOOTING = (
    Path(__file__).resolve().parents[4] / "docs" / "troubleshooting.md"
)  # where there is a checkout


class Picture(NamedTuple):
    caption: str
    uri: str  # data:image/...
    width: int
    height: int


@dataclass(frozen=True)
class RunRecord:
    """What a run directory holds, as far as it is there."""

    folder: Path
    config: Config
    rows: list[dict[str, Any]]
    environment: dict[str, Any]
    memorization: dict[str, Any]
    evaluation: dict[str, Any]
    until: int | None  # steps of the budget


def report(folder: str | Path) -> Path:
    """Writes report.html into a run directory and returns its path. Raises ModelError where there is no run, OSError
    where it cannot be written."""
    run = _read(Path(folder))
    path = run.folder / "report.html"
    write(path, printable(page(run)).encode())
    return path


def page(run: RunRecord) -> str:
    """The page as HTML."""
    from jinja2 import Environment

    template = resources.files("mezzotint.studies.report").joinpath("report.html").read_text(encoding="utf-8")
    evidence = RunHistory(run.rows, run.config, run.until, run.memorization)
    return (
        Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
        .from_string(template)
        .render(
            name=run.folder.resolve().name,
            tiles=list(_tiles(run)),
            findings=findings(evidence),
            help=_help(run.folder),
            summary=list(_summary(run)),
            charts=list(curves.draw_curves(run.rows, run.config)),
            sheets=list(_sheets(run.folder)),
            memorization=run.memorization,
            pairs=_picture(run.folder / "memorization.png", "", MAX_SHEET_BYTES // 4),
            evaluation=list(_evaluation(run.evaluation)),
            config=configuration.dump(run.config),
        )
    )


def _read(folder: Path) -> RunRecord:
    config = read_config(folder)
    newest = sorted((folder / "checkpoints").glob("step-*/state.json"), key=lambda f: (len(str(f)), f))
    until = _json(newest[-1]).get("until") if newest else None
    return RunRecord(
        folder,
        config,
        read_metrics(folder),
        _json(folder / "env.json"),
        _json(folder / "memorization.json"),
        _json(folder / "evaluation.json"),
        until or config.train.steps,
    )


def _json(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is missing or damaged: a page with gaps is better than none."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def _help(folder: Path) -> str | None:
    """The way from the page to docs/troubleshooting.md, or None in an installation without docs."""
    if not TROUBLESHOOTING.is_file():
        return None
    try:
        return Path(os.path.relpath(TROUBLESHOOTING, folder.resolve())).as_posix()
    except ValueError:  # on another drive
        return TROUBLESHOOTING.as_uri()


def _tiles(run: RunRecord) -> Iterator[tuple[str, str, str]]:
    """The numbers that everybody looks for first: (name, value, note)."""
    step = max((row["step"] for row in run.rows), default=0)
    share = f"{step / run.until:.0%} of {run.until:,}" if run.until else ""
    yield "steps", f"{step:,}", share
    _, loss = plots.column(run.rows, "loss")
    if len(loss):
        yield "training loss", f"{loss[-1]:.4g}", f"at first {loss[0]:.4g}"
    steps, val_loss = plots.column(run.rows, "val_loss")
    if len(val_loss):
        yield (
            "held-out loss",
            f"{val_loss[-1]:.4g}",
            f"lowest {val_loss.min():.4g} at step {steps[val_loss.argmin()]:,.0f}",
        )
    _, psnr = plots.column(run.rows, "psnr")
    if len(psnr):
        yield "PSNR", f"{psnr[-1]:.2f} dB", "of held-out pictures"
    _, speed = plots.column(run.rows, "images_per_second")
    if len(speed):
        yield "pictures a second", f"{sorted(speed)[len(speed) // 2]:,.0f}", "median"
    if seconds := _seconds(run.rows):
        yield "time", str(timedelta(seconds=round(seconds))), "sheets and checkpoints included"


def _seconds(rows: list[dict[str, Any]]) -> float:
    """The column starts anew at every resume."""
    total = previous = 0.0
    for seconds in (row["seconds"] for row in rows if row.get("seconds") is not None):
        total += seconds - previous if seconds >= previous else seconds
        previous = seconds
    return total


def _summary(run: RunRecord) -> Iterator[tuple[str, str]]:
    config, environment = run.config, run.environment
    data, train = config.data, config.train
    description = data.name + (f", {data.path.name}" if data.path else "")
    network: str = config.network.kind
    with suppress(ModelError):  # a run that ended before its first checkpoint has no model file
        facts = read_header(run.folder / "model.safetensors").facts
        classes = f", {len(facts.classes)} classes" if facts.classes else ", no classes"
        description += f": {facts}{classes}"
        with torch.device("meta"):
            parameters = sum(p.numel() for p in build.network(config, facts).parameters())
        network += f", {parameters:,} parameters"
    yield "data", description
    yield "network", network
    if config.objective != "autoencode":
        yield (
            "diffusion",
            f"{config.diffusion.process}, {config.diffusion.schedule.kind} schedule, predicts "
            f"{config.diffusion.parameterization}, weight {config.diffusion.weight}",
        )
    if (codec := config.codec) and codec.file and codec.network:
        yield "codec", f"{codec.network.kind} of {codec.file.parent.name} ({codec.digest})"
    if config.objective != "denoise":
        yield "objective", config.objective
    if teacher := config.teacher:
        walked = (
            f"{teacher.sample.sampler}, {teacher.sample.steps} steps, guidance {teacher.sample.guidance:g}"
        )
        if weak := teacher.weak:
            walked += f" away from {weak.file.parent.name}, weights {weak.weights}"
        yield "teacher", f"{teacher.file.name} of {teacher.file.parent.name} ({teacher.digest}); {walked}"
    if origin := config.origin:
        yield "begins as", f"{origin.file.name} of {origin.file.parent.name} ({origin.digest})"
    budget_key = next((b for b in configuration.BUDGETS if getattr(train, b) is not None), None)
    budget = f"{getattr(train, budget_key):,g} {budget_key}" if budget_key else "20 epochs"
    yield "budget", budget + (f" = {run.until:,} steps" if run.until and budget_key != "steps" else "")
    parts = f" in {train.accumulate} parts" if train.accumulate > 1 else ""
    yield "batch", f"{train.batch_size:,}{parts}"
    yield "learning rate", f"{train.lr:g}, {train.decay} decay, warm-up {train.warmup:.0%}"
    yield (
        "EMA of the weights",
        f"length {train.ema:g} of training" if train.ema_decay is None else f"decay {train.ema_decay:g}",
    )
    hardware = environment.get("cuda") or environment.get("machine")
    if hardware:
        threads = f", {environment['threads']} CPU threads" if environment.get("threads") else ""
        yield "hardware", f"{hardware}{threads}; precision {train.precision}"
    versions = [
        f"{name} {environment[name]}" for name in ("mezzotint", "torch", "python") if name in environment
    ]
    if versions:
        revision = f" ({environment['git'][:9]})" if environment.get("git") else ""
        yield "software", ", ".join(versions) + revision
    if command := environment.get("command"):
        yield "command", shlex.join(["mezzotint", *command[1:]])


def _sheets(folder: Path) -> Iterator[Picture]:
    """Sheets of samples spread over training, the first and the last among them."""
    paths = sorted((folder / "samples").glob("step-*.png"), key=lambda path: (len(path.name), path.name))
    if len(paths) > MAX_SHEETS:
        paths = [paths[round(i * (len(paths) - 1) / (MAX_SHEETS - 1))] for i in range(MAX_SHEETS)]
    for path in paths:
        step = path.stem.removeprefix("step-")
        caption = f"step {int(step):,}" if step.isdigit() else step
        if picture := _picture(path, caption, MAX_SHEET_BYTES // len(paths)):
            yield picture


def _picture(path: Path, caption: str, limit: int) -> Picture | None:
    """A PNG as text in the page, as it is, or as a JPEG of at most `limit` bytes; None where there is none."""
    try:
        image: Image.Image = plots.read_png(path)
    except (FileNotFoundError, ValueError):
        return None
    content, kind = path.read_bytes(), "png"
    if len(content) > limit:
        image, kind = image.convert("RGB"), "jpeg"
        image.thumbnail((1600, 1600))
        for quality in (90, 75, 60, 40, 20):
            file = io.BytesIO()
            image.save(file, "JPEG", quality=quality)
            content = file.getvalue()
            if len(content) <= limit:
                break
            image.thumbnail((image.width * 4 // 5, image.height * 4 // 5))
    uri = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return Picture(caption, uri, *image.size)


def _evaluation(content: dict[str, Any]) -> Iterator[tuple[str, str, str, str]]:
    """The numbers of evaluation.json: (name, value, 95 % interval, what real pictures get)."""

    def format_value(value: Any) -> str:
        return f"{value:.4g}" if isinstance(value, int | float) else ""

    numbers = content.get("numbers")
    for name, number in numbers.items() if isinstance(numbers, dict) else ():
        if isinstance(number, dict):
            low, high = format_value(number.get("low")), format_value(number.get("high"))
            yield (
                name,
                format_value(number.get("value")),
                f"{low} to {high}" if low and high else "",
                format_value(number.get("real")),
            )
