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
    *,
    how: Making,
) -> int:
    """Makes pictures. The PNG carries its settings; `mezzotint info` shows them, and what to type for it again.

    \b
    Examples:
      mezzotint sample digits -n 100 --class all --guidance 2
      mezzotint sample runs/mnist --class 7 --sampler ddim --steps 50 -o sevens.png
      mezzotint sample latest -n 1000 -o many.npz
      mezzotint sample small.safetensors --network small:Small
    """
    model = how.load(run, precision=None if noise is None else "fp32")  # as it was found
    label = how.classes(model)
    if noise is None:
        request = model.request(how.n, label=label, seed=how.seed, **how.settings)
        return make(model, request, how, f"{model.source}-{how.seed}")
    request = model.edits.from_noise(noise, how.n, label=label, seed=how.seed, **how.settings)
    return make(model, request, how, f"{model.source}-{noise.stem}")
