"""Arguments and options that several commands share."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

RUNS = Path("runs")  # where runs go, and are looked for
Source = Annotated[str, typer.Argument(metavar="RECIPE|CONFIG.yaml", help="name of a recipe, or a YAML file")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="keys of the configuration, such as train.lr=1e-4"),
]
Run = Annotated[
    str, typer.Argument(metavar="RUN|MODEL", help="name or folder of a run, a model file, or latest")
]
Data = Annotated[Path | None, typer.Option("--data", help="folder or parquet file of the training pictures")]
Device = Annotated[
    str | None, typer.Option("--device", help="device: cuda, mps or cpu (default: the fastest there is)")
]
Encoder = Annotated[
    Path | None,
    typer.Option("--encoder", help="folder of the text encoder, if it was moved"),
]
Out = Annotated[Path, typer.Option("--out", help="folder of all runs")]
Images = Annotated[int | None, typer.Option("--images", help="budget: pictures seen")]
TrainSteps = Annotated[int | None, typer.Option("--steps", help="budget: optimiser steps")]
TrainSeed = Annotated[int | None, typer.Option("--seed", help="random seed (default 0)")]
Resume = Annotated[bool, typer.Option("--resume", help="continuation with another budget")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="new run that replaces the one of this name")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="file or folder to write")]
Sampler = Annotated[
    str | None, typer.Option("--sampler", help="name of a sampler: mezzotint list samplers [--all]")
]
Steps = Annotated[
    int | None, typer.Option("--steps", help="number of steps; more is slower and more accurate")
]
Class = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        help="class: a name, a number, a list a,b,c, all (in turn), or none; random by default; "
        "repeated: a list of names that have commas",
    ),
]
Prompt = Annotated[
    list[str] | None,
    typer.Option("--prompt", help="text that describes the picture; repeated: several texts in turn"),
]
Negative = Annotated[
    str | None, typer.Option("--negative", help="negative prompt: text that guidance steers away from")
]
Grain = Annotated[
    float | None,
    typer.Option(
        "--grain",
        help="noise added to the small picture, 0 to 0.5 (default 0.1), for models trained to enlarge; more noise, more invented detail",
        min=0,
        max=0.5,
    ),
]
EditClass = Annotated[
    list[str] | None,
    typer.Option("--class", help="class: a name, a number, a list a,b,c, or all (in turn); none by default"),
]
MorphClass = Annotated[
    list[str] | None,
    typer.Option(
        "--class", help="class, or two classes A,B for the beginning and the end; default: those of the seeds"
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option("--guidance", help="guidance scale (CFG): 1 is off; 2 to 4 is clearer, less varied"),
]
Weak = Annotated[
    str | None,
    typer.Option(
        "--weak",
        help="weak model that guidance steers away from (autoguidance): an early step of the run, such as 800, or another model",
    ),
]


def _seed(value: int) -> int:
    if not 0 <= value < 2**63:
        raise typer.BadParameter(f"a seed is a whole number from 0 to 2^63 - 1, not {value}")
    return value


Seed = Annotated[
    int, typer.Option("--seed", help="random seed (default 0); picture i has seed + i", callback=_seed)
]


def check_encoder(encoder: Path | None, models: Sequence[str]) -> None:
    """Before the work, that --encoder is a folder, and of use to one of the models, by their names. Raises ModelError and ConfigError."""
    if encoder is None:
        return
    from mezzotint.disk.model_file import read_header
    from mezzotint.disk.names import find
    from mezzotint.errors import ConfigError, ModelError

    if not encoder.expanduser().is_dir():
        raise ModelError(f"--encoder {encoder}: there is no such folder; give the folder of the text encoder")
    readings = set()
    for name in models:
        with suppress(ModelError):  # which is reported where it is opened
            readings.add(read_header(find(name)).facts.reading)
    if readings and "encoder" not in readings:
        raise ConfigError(
            "--encoder is for models with a text encoder, and none of these has one; leave it out"
        )
