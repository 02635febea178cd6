"""mezzotint edit, vary, enlarge, colour, morph, invert"""

from pathlib import Path
from typing import Annotated, Any

import typer

from mezzotint.cli import options
from mezzotint.cli.making import Making, make, making
from mezzotint.cli.output import lasting, reserve, say, writing

Picture = Annotated[Path, typer.Argument(metavar="PICTURE", help="picture file")]
Returns = Annotated[
    int | None,
    typer.Option(
        "--returns", help="repetitions of each step (RePaint); more fit better and take longer", min=1
    ),
]


def _made(how: Making, run: str, task: str, picture: Path, **given: Any) -> int:
    """Runs the method of `Edits` with that name on a picture, with the shared options, and writes the result."""
    model = how.load(run)
    request = getattr(model.edits, task)(picture, **given, **how.asked(model))
    return make(model, request, how, f"{picture.stem}-{task}")


@lasting()
@making(n=1, label=options.EditClass)
def edit(
    run: options.Run,
    picture: Picture,
    mask: Annotated[
        Path | None,
        typer.Option("--mask", help="mask file: white is repainted (default: the transparent parts)"),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--strength", help="strength of the change, 0 to 1 (default 1 with a mask, 0.6 without)"
        ),
    ] = None,
    returns: Returns = None,
    feather: Annotated[
        float, typer.Option("--feather", help="width of the soft edge inside the mask, in pixels", min=0)
    ] = 0.0,
    *,
    how: Making,
) -> int:
    """Changes a picture: as a whole, or where a mask is white. A model of clips continues a shorter clip, or a picture.

    \b
    Examples:
      mezzotint edit mnist seven.png --strength 0.5 --class 9 -n 8
      mezzotint edit mnist seven.png --mask half.png --class 7 -o whole.png
      mezzotint edit runs/bouncing four_frames.gif -n 8
    """
    given = {"mask": mask, "strength": strength, "returns": returns, "feather": feather}
    return _made(how, run, "edit", picture, **given)


@lasting()
@making(n=8, label=options.EditClass)
def vary(
    run: options.Run,
    picture: Picture,
    strength: Annotated[float, typer.Option("--strength", help="strength of the change, 0 to 1")] = 0.5,
    *,
    how: Making,
) -> int:
    """Makes pictures like a given one.

    \b
    Example:
      mezzotint vary mnist seven.png --strength 0.3
    """
    return _made(how, run, "vary", picture, strength=strength)


@lasting()
@making(n=1, label=options.EditClass)
def enlarge(
    run: options.Run,
    picture: Picture,
    factor: Annotated[
        int | None,
        typer.Option("--factor", help="factor of width and height (default 2, or the model's own)"),
    ] = None,
    returns: Returns = None,
    grain: options.Grain = None,
    *,
    how: Making,
) -> int:
    """Makes a picture larger.

    Shrunk again, the result is the given picture. A model that was trained to enlarge (`mezzotint train upscale`) does it
    best; any other model makes pictures whose blocks have the given pixels as their means.

    \b
    Examples:
      mezzotint enlarge mnist small.png --factor 2
      mezzotint enlarge upscale small.png --grain 0.2
    """
    return _made(how, run, "enlarge", picture, factor=factor, returns=returns, grain=grain)


@lasting()
@making(n=1, label=options.EditClass)
def colour(
    run: options.Run,
    picture: Picture,
    returns: Returns = None,
    *,
    how: Making,
) -> int:
    """Colours a grey picture. It needs a model of RGB pictures; the brightness stays.

    \b
    Example:
      mezzotint colour flowers grey.png -n 8
    """
    return _made(how, run, "colour", picture, returns=returns)


@lasting()
@making(n=9, without=("seed",), label=options.MorphClass)
def morph(
    run: options.Run,
    seeds: Annotated[str, typer.Argument(metavar="SEED:SEED", help="seeds of the beginning and of the end")],
    *,
    how: Making,
) -> int:
    """Makes the pictures between those of two seeds. With --class A,B also from class to class.

    \b
    Examples:
      mezzotint morph mnist 3:7 -n 9
      mezzotint morph mnist 3:7 --class 4,9 -n 30 -o morph.gif
    """
    first, colon, last = seeds.partition(":")
    if not (colon and all(word.isdecimal() and int(word) < 2**63 for word in (first, last))):
        raise typer.BadParameter(f"give two seeds such as 3:7, not {seeds!r}")
    model = how.load(run)
    request = model.edits.morph(int(first), int(last), how.n, label=how.classes(model), **how.settings)
    return make(model, request, how, f"{model.source}-{first}-{last}")


@lasting()
@making(
    n=1,
    without=(
        *("n", "sampler", "guidance", "interval", "rescale", "clip", "eta", "churn"),
        *("seed", "format", "trajectory", "batch", "by_clip", "weak"),
    ),
    label=options.EditClass,
)
def invert(
    run: options.Run,
    picture: Picture,
    rounds: Annotated[int | None, typer.Option("--rounds", help="network calls per step", min=1)] = None,
    *,
    how: Making,
) -> int:
    """Finds the noise that a picture is made from. The npz file is for `mezzotint sample RUN --noise FILE`.

    \b
    Example:
      mezzotint invert mnist seven.png --class 7 --steps 20
    """
    import time

    from mezzotint.cli.bar import Bar

    model = how.load(run, precision="fp32")  # bf16 drowns the differences
    if not how.ranks.first:  # a single picture: nothing to share
        return 0
    request = model.edits.invert(
        picture, rounds=rounds, label=how.classes(model), steps=how.steps, spacing=how.spacing
    )
    if request.note:
        say(request.note)
    path = how.output or Path(f"{picture.stem}-noise.npz")
    if path.suffix.lower() != ".npz":
        raise typer.BadParameter(f"-o {path}: end it in .npz")
    reserve(path)
    began = time.perf_counter()
    with Bar() as bar:
        inverted = model.invert(request, watch=lambda done: bar.show("inverting", done, request.steps))
    with writing(path):
        inverted.save(path)
    say(
        f"{path}: the noise of {picture} in {time.perf_counter() - began:.1f} s; sampled again, its values in [-1, 1] "
        f"differ by {inverted.residual:.1e} at most\n"
        f"sample it:  mezzotint sample {run} --noise {path}"
    )
    return 0
