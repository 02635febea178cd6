"""mezzotint sample"""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.making import Making, make, making
from mezzotint.cli.output import lasting


@lasting()
@making(n=64)
def sample(
    run: options.Run,
    noise: Annotated[
        Path | None,
        typer.Option("--noise", help="noise to start from: the npz file of `mezzotint invert`"),
    ] = None,
    prompts: Annotated[
        Path | None, typer.Option("--prompts", help="file of texts, one a line, in turn")
    ] = None,
    *,
    how: Making,
) -> int:
    """Makes pictures. The PNG carries its settings; `mezzotint info` shows them, and what to type for it again.

    \b
    Examples:
      mezzotint sample digits -n 100 --class all --guidance 2
      mezzotint sample runs/mnist --class 7 --sampler ddim --steps 50 -o sevens.png
      mezzotint sample latest -n 1000 -o many.npz
      mezzotint sample scenes -n 8 --prompt "a small red circle left of a large blue square"
      mezzotint sample small.safetensors --network small:Small
    """
    if prompts is not None:
        how.prompt = [*(how.prompt or []), *_lines(prompts)]
    model = how.load(run, precision=None if noise is None else "fp32")  # as it was found
    if noise is None:
        return make(model, model.request(**how.asked(model)), how, f"{model.source}-{how.seed}")
    request = model.edits.from_noise(noise, **how.asked(model))
    return make(model, request, how, f"{model.source}-{noise.stem}")


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
