"""Models that make pictures inside the built pages: what `mezzotint export web` writes, put beside the pages when they are built.

A line `<!-- generated: live -->` becomes a sentence that links to them; on a code host, where they are not, it says nothing.
"""

from pathlib import Path

from sphinx.application import Sphinx

from mezzotint.disk.names import BUNDLED
from mezzotint.exchange.web.export import export_page
from mezzotint.model.loading import load

MODELS = {
    "mnist_fast": "handwritten digits (1.6 MB)",
    "scenes": "coloured shapes by words (8 MB)",
}  # bundled ones


def sentence(page: str) -> str:
    """HTML, since Markdown's own links are looked up among the pages. page: its name, such as guide/index."""
    up = "../" * page.count("/")
    links = [f'<a href="{up}live/{name}/index.html">{words}</a>' for name, words in MODELS.items()]
    return f"Live, made by your browser, offline: {' and '.join(links)}.\n"


def export(app: Sphinx, failure: Exception | None) -> None:
    if failure is None and app.builder.format == "html":
        for name in MODELS:
            model = load(name, device="cpu", precision="fp32")
            export_page(model, Path(app.outdir) / "live" / name, BUNDLED / f"{name}.md")


def setup(app: Sphinx) -> None:
    app.connect("build-finished", export)
