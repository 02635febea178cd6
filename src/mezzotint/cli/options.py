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
Seed = Annotated[int, typer.Option("--seed", help="picture i is made from seed + i")]
