"""mezzotint distil"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.output import lasting
from mezzotint.cli.train import run_of

if TYPE_CHECKING:
    from mezzotint.config import ObjectiveName
METHODS: "dict[str, ObjectiveName]" = {name: name for name in ("map", "progressive", "consistency")}


@lasting()
def distil(
    run: options.Run,
    overrides: options.Overrides = None,
    calls: Annotated[
        int,
        typer.Option("--calls", help="network calls per picture that the student needs: 1, 2, 4 or 8"),
    ] = 1,
    method: Annotated[
        str,
        typer.Option(
            "--method", help="method: map (one student for all numbers of calls), progressive or consistency"
        ),
    ] = "map",
    weak: options.Weak = None,
    data: options.Data = None,
    out: options.Out = Path("runs"),
    name: Annotated[
        str | None, typer.Option("--name", help="name of the run (default: that of the model, and _fast)")
    ] = None,
    images: options.Images = None,
    steps: options.TrainSteps = None,
    minutes: Annotated[
        float | None, typer.Option("--minutes", help="budget: time on this machine (default 15)")
    ] = None,
    seed: options.TrainSeed = None,
    device: options.Device = None,
    resume: options.Resume = False,
    overwrite: options.Overwrite = False,
) -> int:
    """Trains a student that needs few network calls.

    It makes the pictures of the model in 1, 2, 4 or 8 calls; its guidance is fixed. Run it again to continue where it
    stopped. Afterwards the teacher's file is not needed.

    \b
    Examples:
      mezzotint distil mnist --data pictures/mnist
      mezzotint distil runs/photos --minutes 60 --name photos_fast
      mezzotint distil mnist --method progressive --calls 4 teacher.sample.guidance=1.8
      mezzotint distil runs/scenes --weak 800 teacher.sample.guidance=3
    """
    from mezzotint.disk.names import find, spoken
    from mezzotint.errors import ConfigError
    from mezzotint.model.loading import weak_of
    from mezzotint.run.teacher import student

    if method not in METHODS:
        raise ConfigError(f"--method must be one of {', '.join(METHODS)}, not {method}")
    if calls not in (1, 2, 4, 8):
        raise ConfigError(f"--calls must be 1, 2, 4 or 8, not {calls}")
    config = student(
        run,
        METHODS[method],
        calls,
        overrides or [],
        weak=None if weak is None else weak_of(run, weak),
        data__path=None if data is None else str(data),
        train__images=images,
        train__steps=steps,
        train__minutes=minutes,
        train__seed=seed,
        train__device=device,
    )
    return run_of(
        config, out, f"{spoken(find(run))}_fast" if name is None else name, overwrite=overwrite, resume=resume
    )
