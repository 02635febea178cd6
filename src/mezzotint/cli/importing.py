"""mezzotint import: models of other programs"""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli.output import say, writing

HELP = "Imports models of other programs."
importing = typer.Typer(help=HELP, rich_markup_mode=None)


@importing.callback(help=HELP)
def _group() -> None: ...


@importing.command("diffusers")
def diffusers(
    source: Annotated[
        str, typer.Argument(metavar="FOLDER|OWNER/NAME", help="folder of a pipeline, or a name on the hub")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="run, or FILE.safetensors, to write (default: runs/NAME)"),
    ] = None,
) -> int:
    """Reads a folder of diffusers: a UNet2DModel with its scheduler.

    Every field of its files is used, or refused by name. The model is sampled, served and evaluated like any other, with its own scheduler unless you give --sampler and --steps. diffusers need not be installed.

    \b
    Examples:
      mezzotint import diffusers ddpm-cifar10-32
      mezzotint import diffusers google/ddpm-cifar10-32 -o cifar.safetensors
    """
    from mezzotint.disk import hub
    from mezzotint.disk.names import MODEL
    from mezzotint.exchange.pipeline.read import PATTERNS, import_pipeline
    from mezzotint.exchange.whole import check_new

    folder = Path(source)
    name = folder.absolute().name
    if not folder.exists() and len(folder.parts) == 2 and not folder.parent.exists():
        folder = hub.fetch(source, PATTERNS)
    path = output or Path("runs") / name
    path = path if path.suffix == ".safetensors" else path / MODEL
    check_new(path)
    with writing(path):
        header = import_pipeline(folder, path)
    sample = header.config.sample
    say(
        f"{path}: {header.facts.medium.words(header.facts.shape)}, by default sampled by {sample.sampler} in {sample.steps} steps"
    )
    return 0
