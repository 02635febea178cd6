"""mezzotint sample"""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.imports import imports
from mezzotint.cli.making import Making, make, making
from mezzotint.cli.output import lasting


@lasting()
@making(n=64)
def sample(
    context: typer.Context,
    run: options.Run,
    noise: Annotated[
        Path | None,
        typer.Option("--noise", help="noise to start from: the npz file of `mezzotint invert`"),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="file of texts, one a line, in turn")
    ] = None,
    then: Annotated[
        list[str] | None,
        typer.Option("--then", help="model that enlarges these pictures; repeated: one after the other"),
    ] = None,
    grain: options.Grain = None,
    batch_file: Annotated[
        Path | None,
        typer.Option(
            "--batch-file",
            help="file of orders, one JSON object a line: label, prompt, seed, n, name, steps, ...",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="folder for the pictures of --batch-file; those already there are not made again"
        ),
    ] = None,
    *,
    how: Making,
) -> int:
    """Makes pictures. The PNG stores its settings; `mezzotint info` shows them, and the command that makes it again.

    \b
    Examples:
      mezzotint sample digits -n 100 --class all --guidance 2
      mezzotint sample runs/mnist --class 7 --sampler ddim --steps 50 -o sevens.png
      mezzotint sample latest -n 1000 -o many.npz
      mezzotint sample scenes -n 8 --prompt "a small red circle left of a large blue square"
      mezzotint sample small.safetensors --network small:Small
      mezzotint sample mnist --batch-file orders.jsonl --out pictures
      mezzotint sample flowers32 -n 16 --then upscale
      torchrun --nproc-per-node=8 -m mezzotint sample latest -n 50000 -o many.npz
    """
    if batch_file is not None:
        return _orders(context, run, batch_file, out, how)
    from mezzotint.errors import ConfigError

    with imports():
        from mezzotint.model.loading import load
        from mezzotint.model.spread import things

    if out is not None:
        raise ConfigError("--out goes with --batch-file; without it, write -o FILE")
    if prompts is not None:
        how.prompt = [*(how.prompt or []), *_lines(prompts)]
    model = how.load(run, precision=None if noise is None else "fp32")  # as it was found
    if noise is None:
        request, name = model.request(**how.asked(model)), f"{model.source}-{how.seed}"
    else:
        request = model.edits.from_noise(noise, **how.asked(model))
        name = f"{model.source}-{noise.stem}"
    if grain is not None and not then:
        raise ConfigError("--grain is for a model that enlarges; add --then RUN, or leave it out")
    larger = [load(place, device=how.device or "auto") for place in then or ()]  # before anything is made
    for step in larger:
        samples = model.finish(request, things(model, request, how.ranks, how.batch))
        model, request = step, step.edits.enlarge(samples, grain=grain)
        name += f"-{step.source}"
    return make(model, request, how, name)


IN_LINES = ("n", "label", "prompt", "seed")  # an order says these itself
ALONE = ("noise", "prompts", "then", "grain", "output", "format", "trajectory")  # of a single command


def _orders(context: typer.Context, run: str, path: Path, out: Path | None, how: Making) -> int:
    """Makes the orders of a file; settings on the command line are the defaults of its lines."""
    from mezzotint.cli.orders import make_orders
    from mezzotint.errors import ConfigError

    for name in (*IN_LINES, *ALONE):
        source = context.get_parameter_source(name)
        if source is not None and source.name == "COMMANDLINE":
            remedy = f'put it into the lines, {{"{name}": ...}}' if name in IN_LINES else "leave it out"
            option = {"n": "-n", "label": "--class", "output": "-o"}.get(name, f"--{name}")
            raise ConfigError(f"{option} has no effect with --batch-file; {remedy}")
    if out is None:
        raise ConfigError("--batch-file needs --out FOLDER, where its pictures go")
    usual = {key: value for key, value in how.settings.items() if value is not None}
    return make_orders(how.load(run), path, out, usual, how.batch, how.ranks)


def _lines(path: Path) -> list[str]:
    from mezzotint.errors import ConfigError

    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"--prompts {path} cannot be read ({error}); it is a text file, one prompt a line"
        ) from error
    if not any(lines):
        raise ConfigError(f"--prompts {path} has no line with a text")
    return [line for line in lines if line]
