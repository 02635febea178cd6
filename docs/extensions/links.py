"""Links to files of the project that are no pages: each such file gets a page with its text, and the link leads there.

So the Markdown can say `../src/mezzotint/model/model.py`, which a code host follows too. `[source]` beside a function of the
reference leads to the same pages.
"""

import inspect
import os.path
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from docutils import nodes
from pygments.lexers import get_lexer_for_filename
from pygments.util import ClassNotFound
from sphinx import addnodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[2]
MAX_BYTES = 300_000  # bytes of a text that is shown
ELSEWHERE = {
    "README.md": "reference/readme",
    "CHANGELOG.md": "reference/changelog",
    "CONTRIBUTING.md": "reference/contributing",
}
linked_paths: set[str] = set()  # paths of files that have a link, relative to the project
trees: dict[
    tuple[object, ...], str
] = {}  # contents of the documentation beside pages of files, see `share_tree`


def resolve(app: Sphinx, doctree: nodes.document) -> None:
    """Turns links to files into links to their pages, and links to folders into plain text."""
    page = app.env.docname
    base = ROOT if page in ELSEWHERE.values() else Path(app.srcdir, page).parent
    for kind in (addnodes.download_reference, addnodes.pending_xref):
        for node in list(doctree.findall(kind)):
            if node.get("reftype") != "myst" or node["reftarget"] in app.env.found_docs:
                continue
            target, _, anchor = node["reftarget"].partition("#")
            if node.get("refdomain") == "doc":  # Markdown outside of docs, for MyST a page that is missing
                target, anchor = f"{target}.md", node.get("reftargetid") or ""
            path = Path(os.path.normpath(base / target))
            if not target or not path.exists() or not path.is_relative_to(ROOT) or path.suffix == ".ipynb":
                continue  # a notebook is downloaded; of the others Sphinx says what is wrong with them
            place = path.relative_to(ROOT).as_posix()
            if path.is_dir():
                node.replace_self(nodes.inline("", "", *node.children))
                continue
            document = ELSEWHERE.get(place) or app.env.path2doc(str(path))
            if document in app.env.found_docs:
                uri = app.builder.get_relative_uri(page, document)
            elif path.stat().st_size < MAX_BYTES and _is_text(path):
                linked_paths.add(place)
                uri = app.builder.get_relative_uri(page, "source/" + place)
                anchor = anchor.replace("L", "line-", 1)
            else:
                continue
            uri += f"#{anchor}" if anchor else ""
            node.replace_self(nodes.reference("", "", *node.children, internal=True, refuri=uri))


def _is_text(path: Path) -> bool:
    try:
        path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return False
    return True


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """A page for every file that a link leads to."""
    for place in sorted(linked_paths):
        text = (ROOT / place).read_text(encoding="utf-8")
        try:
            language = get_lexer_for_filename(place).aliases[0]
        except ClassNotFound:
            language = "text"
        code = app.builder.highlighter.highlight_block(text, language, lineanchors="line", force=True)
        yield (
            f"source/{place}",
            {"title": place, "body": f"<h1><code>{place}</code></h1>\n{code}"},
            "page.html",
        )


def share_tree(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """The contents of the documentation, beside the page of a file, are made once for a depth of folders: they name no page
    as the current one, and for each of a hundred pages they took a tenth of a second."""
    if not page.startswith("source/"):
        return
    tree, depth = context["toctree"], page.count("/")

    def shared(**options: Any) -> str:
        key = (depth, *sorted(options.items()))
        if key not in trees:
            trees[key] = tree(**options)
        return trees[key]

    context["toctree"] = shared


def linkcode_resolve(domain: str, info: dict[str, str]) -> str | None:
    """Where a documented object is defined, seen from a page of the reference."""
    thing: Any = import_module(info["module"])
    try:
        for part in info["fullname"].split("."):
            thing = getattr(thing, part)
        thing = inspect.unwrap(thing.fget if isinstance(thing, property) else thing)
        path = Path(inspect.getsourcefile(thing) or "")
        place = path.relative_to(ROOT).as_posix()
        line = inspect.findsource(thing)[1] + 1  # as getsourcelines says, which reads to the end of it, too
    except (AttributeError, TypeError, ValueError, OSError):
        return None
    linked_paths.add(place)
    return f"../source/{place}.html#line-{line}"


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", resolve, priority=100)  # before downloads are collected
    app.connect("html-collect-pages", pages)
    app.connect("html-page-context", share_tree, priority=400)  # before the theme asks for the contents
