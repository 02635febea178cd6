"""mezzotint info, mezzotint list"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from mezzotint.cli import options
from mezzotint.cli.output import say
from mezzotint.errors import CONTROL, printable


def info(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE|RUN", help="PNG, npz or MP4 made by mezzotint, a model file, or a run"),
    ],
) -> int:
    """Shows how a PNG was made, or what a model file contains.

    For a PNG: the settings as JSON on stdout, and the command that makes it again on stderr.

    \b
    Example:
      mezzotint info digits-0.png
    """
    from mezzotint.data.endings import SUFFIXES

    path = Path(file)
    if path.suffix.lower() in (*SUFFIXES, ".npz", ".mp4"):
        return _picture(path)
    from mezzotint import config as configuration
    from mezzotint.disk.model_file import read_header
    from mezzotint.disk.names import find

    path = find(file)
    header = read_header(path)
    classes = ", ".join(printable(name, keep="") for name in header.facts.classes) or "none"
    print(f"model     {printable(str(path), keep='')}")
    print(f"weights   {printable(header.weights, keep='')} at step {header.step:,}")
    print(f"makes     {'codes of ' if header.config.objective == 'autoencode' else ''}{header.facts}")
    print(f"classes   {classes}")
    print(f"network   {header.config.network.kind}, {_parameters(path):,} parameters\n")
    print(printable(configuration.dump(header.config)), end="")
    return 0


def _parameters(path: Path) -> int:
    """Numbers in a model file, from its header alone."""
    import math

    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def _picture(path: Path) -> int:
    from PIL import Image

    from mezzotint import plots
    from mezzotint.data.endings import FORMATS
    from mezzotint.errors import ModelError
    from mezzotint.model.again import command

    kind: str | None
    try:
        if path.suffix.lower() == ".npz":
            kind, settings = "npz", _arrays(path)
        elif path.suffix.lower() == ".mp4":
            kind, settings = "MP4", plots.read_settings(path)
        else:
            with Image.open(path, formats=FORMATS) as image:
                image.load()
                kind, (width, height) = image.format, image.size
            settings = plots.read_settings(path) if kind == "PNG" else None
    except Exception as error:  # Pillow raises nearly anything for what is no picture
        raise ModelError(f"{path} cannot be read as a picture; check the name ({error})") from error
    if settings is None and kind in ("npz", "MP4"):
        raise ModelError(f"{path} has no settings; only files written by mezzotint have them")
    if settings is None:
        raise ModelError(
            f"{path} is a {kind} picture, {width:,} pixels wide and {height:,} high, without settings; only PNGs written "
            "by mezzotint carry them"
        )
    text = json.dumps(settings, indent=1, ensure_ascii=False)
    print(CONTROL.sub(lambda match: match[0] if match[0] == "\n" else f"\\u{ord(match[0]):04x}", text))
    typed = command(settings)
    if typed is not None and printable(typed, keep="") == typed:
        say(f"again: {typed}", error=True)  # what is printed stays JSON
        _tell_other_model(settings)
    return 0


def _arrays(path: Path) -> dict[str, Any] | None:
    """The settings inside an npz file. Raises OSError or ValueError."""
    from zipfile import BadZipFile

    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(json.loads(str(file["settings"]))) if "settings" in file else None
    except (BadZipFile, TypeError, AttributeError, EOFError) as error:
        raise ValueError(str(error)) from error


def _tell_other_model(settings: dict[str, Any]) -> None:
    """Says where the model of that name has been trained on since, or is not here."""
    from mezzotint.disk.model_file import read_header
    from mezzotint.disk.names import find
    from mezzotint.errors import ModelError

    try:
        step = read_header(find(settings["model"])).step
    except ModelError:
        say(f"there is no model {settings['model']!r} here; give its file instead", error=True)
        return
    if step != settings["step"]:
        say(f"but {settings['model']} is at step {step:,} now, and was at {settings['step']:,}", error=True)


def listing(
    what: Annotated[
        str, typer.Argument(metavar="models|samplers|datasets|recipes", help="kind of thing to list")
    ],
    out: options.Out = options.RUNS,
    all: Annotated[bool, typer.Option("--all", help="rarer samplers, too")] = False,
) -> int:
    """Lists models, samplers, datasets or recipes.

    \b
    Example:
      mezzotint list samplers
    """
    match what:
        case "models":
            head, rows = _models(out)
        case "samplers":
            head, rows = _samplers(all)
        case "datasets":
            head, rows = _datasets()
        case "recipes":
            head, rows = _recipes()
        case _:
            raise typer.BadParameter(f"list models, samplers, datasets or recipes, not {what!r}")
    lines = [head, *([printable(str(cell), keep="") for cell in row] for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*lines)]
    for line in lines:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip())
    if what == "samplers" and not all:
        print(f"\n{_rarer()}: mezzotint list samplers --all")
    return 0


Rows = tuple[list[str], list[tuple[Any, ...]]]


def _models(out: Path) -> Rows:
    from mezzotint.disk.model_file import read_header
    from mezzotint.disk.names import bundled, check_runs
    from mezzotint.errors import ModelError

    check_runs(out, options.RUNS)
    entries = [(path.parent.name, path, "run") for path in sorted(out.glob("*/model.safetensors"))]
    names = {name for name, *_ in entries}
    entries += [(name, path, "bundled") for name, path in bundled().items() if name not in names]
    rows: list[tuple[Any, ...]] = []
    for name, path, origin in entries:
        try:
            header = read_header(path)
        except ModelError as error:
            rows.append((name, origin, "damaged", "", "", str(error)))
            continue
        shape = "x".join(map(str, header.facts.shape))
        classes, step = len(header.facts.classes), f"{header.step:,}"
        rows.append((name, origin, header.config.data.name, shape, classes, step))
    return ["model", "from", "data", "shape", "classes", "step"], rows


def _samplers(all: bool) -> Rows:
    from mezzotint.diffusion.table import SAMPLERS

    rows = [
        (name, row.order, row.calls, "yes" if row.stochastic else "no", row.when, row.paper)
        for name, row in SAMPLERS.items()
        if row.shown or all
    ]
    return ["sampler", "order", "calls a step (NFE)", "stochastic", "when", "paper"], rows


def _rarer() -> str:
    """The samplers that are not listed, the first two of them by name."""
    from mezzotint.diffusion.table import SAMPLERS

    names = [name for name, row in SAMPLERS.items() if not row.shown]
    return f"{len(names)} rarer ones, such as {' and '.join(names[:2])}"


def _datasets() -> Rows:
    from mezzotint.data import KNOWN, TOYS

    rows: list[tuple[Any, ...]] = [(name, "points", "generated") for name in TOYS]
    for name, known in KNOWN.items():
        origin = f"hub {known.hub}, or --data" if known.hub else "bundled"
        rows.append(
            (
                name,
                f"pictures {known.size}x{known.size}" + (f", {known.only} only" if known.only else ""),
                origin,
            )
        )
    rows += [("folder", "your pictures", "--data FOLDER"), ("parquet", "your pictures", "--data FILE|FOLDER")]
    rows.append(("owner/set", "any picture set of the dataset hub", "hub"))
    return ["name", "what", "from"], rows


def _recipes() -> Rows:
    from mezzotint.config import recipes

    rows = []
    for name, path in recipes().items():
        comments = [
            line.lstrip("# ").rstrip()
            for line in path.read_text(encoding="utf-8").splitlines()
            if line.startswith("#")
        ]
        rows.append((name, comments[0] if comments else ""))
    return ["recipe", "what"], rows
