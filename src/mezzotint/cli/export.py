"""mezzotint export: a model in other forms"""

from pathlib import Path
from typing import Annotated

import typer

from mezzotint.cli import options
from mezzotint.cli.output import reserve, say, writing

export = typer.Typer(help="A model in other forms: a page that computes by itself.", rich_markup_mode=None)


@export.callback()
def _group() -> None:
    """A model in other forms: a page that computes by itself."""


@export.command("web")
def web(
    run: options.Run,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="folder to write (default: NAME-web)")
    ] = None,
) -> int:
    """Writes a page that makes pictures by itself.

    A folder whose index.html makes the model's pictures in any browser, offline: a double-click opens it. The same seed is
    the same picture as that of `mezzotint sample`.

    \b
    Example:
      mezzotint export web mnist_fast -o site
    """
    from mezzotint.disk.model_file import read_header
    from mezzotint.disk.names import find
    from mezzotint.exchange.web.export import check, export_page
    from mezzotint.model.model import load

    path = find(run)
    header = read_header(path)
    check(header.config, header.facts)
    model = load(run, device="cpu", precision="fp32")
    folder = output or Path(f"{model.source}-web")
    reserve(folder, folder=True)
    with writing(folder):
        size = export_page(model, folder, path.with_suffix(".md"))
    say(
        f"{folder / 'index.html'}: {model.source} as a page, {size / 1e6:.1f} MB in two files; open it in a browser"
    )
    return 0
