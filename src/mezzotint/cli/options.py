"""Arguments and options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Source = Annotated[str, typer.Argument(metavar="RECIPE|CONFIG.yaml", help="a recipe's name or a YAML file")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="any key of the configuration, train.lr=1e-4"),
]
Run = Annotated[
    str, typer.Argument(metavar="RUN|MODEL", help="a run's name or directory, a model file, or latest")
]
Data = Annotated[
    Path | None, typer.Option("--data", help="local files to learn from: a folder or a parquet file")
]
Device = Annotated[
    str | None, typer.Option("--device", help="cuda, mps or cpu; the best there is by default")
]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="where to write")]
Sampler = Annotated[str | None, typer.Option("--sampler", help="see: mezzotint list samplers")]
Steps = Annotated[int | None, typer.Option("--steps", help="more are slower and closer to the model's truth")]
Class = Annotated[
    str | None,
    typer.Option("--class", help="a name, a number, a list a,b,c, all in turn, or none; else drawn"),
]
Guidance = Annotated[
    float | None, typer.Option("--guidance", help="1 is off; 2 to 4 is clearer, less varied")
]


def _seed(value: int) -> int:
    if not 0 <= value < 2**63:
        raise typer.BadParameter(f"a seed is a whole number from 0 to 2^63 - 1, not {value}")
    return value


Seed = Annotated[int, typer.Option("--seed", help="picture i is made from seed + i", callback=_seed)]
