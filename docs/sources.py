"""Fills the code fences of the Markdown pages from the source, so that a page never shows what the package no longer says.

    python docs/sources.py            write them all
    python docs/sources.py --check    change nothing; exit 1 and name those that are stale

A fence is filled where the line before it says from what, with paths relative to the project's folder:

    <!-- source: src/mezzotint/diffusion/process.py Process.noised -->
    ```python
    ```

Several objects may be named; each is a function, a class, a method or attribute (`Class.name`), or a name that the module
assigns. `without-docstring` as the last word leaves their own docstrings out. Of a long object a page shows the lines that
matter: after a bar, from the line that begins with some words to the next that begins with others, or one line alone,

    <!-- source: src/mezzotint/train/loop.py draw | u = ... eps = | return -->

with `# ...` where lines between were left out. The text is sliced from the file, comments included, and moved to the left
margin; nothing is imported.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[1]
BARE = "without-docstring"
MARK = r"<!-- source: (?P<words>[^\n]+?) -->"
FENCE = re.compile(rf"^{MARK}\n(?P<open>```python\n)(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


class Missing(ValueError):
    """A comment names what is not there."""


def pages(root: Path = ROOT) -> list[Path]:
    """All Markdown that readers see."""
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]


def excerpt(path: Path, name: str, bare: bool = False) -> str:
    """The lines of a file that define an object, from its first decorator on; `bare` leaves its docstring out."""
    text = path.read_text(encoding="utf-8")
    node: ast.AST = ast.parse(text)
    for part in name.split("."):
        found = [child for child in ast.iter_child_nodes(node) if part in _names(child)]
        if not found:
            raise Missing(f"{path.name} defines no {name}")
        node = found[-1]  # as in Python, the last definition holds
    assert isinstance(node, ast.stmt) and node.end_lineno
    first = min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", []))])
    lines = text.splitlines()[first - 1 : node.end_lineno]
    if bare and isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
        said, *rest = node.body
        if rest:
            assert said.end_lineno
            del lines[said.lineno - first : said.end_lineno - first + 1]
            while not lines[said.lineno - first].strip():  # the empty line after a class's docstring
                del lines[said.lineno - first]
    return dedent("\n".join(lines)) + "\n"


def parts(text: str, cuts: list[str]) -> str:
    """The lines of a text that `cuts` name, in order: "FIRST ... LAST", or "FIRST" for one line alone."""
    lines, shown, at = text.splitlines(), [], 0

    def find(words: str, begin: int) -> int:
        for place in range(begin, len(lines)):
            if lines[place].strip().startswith(words):
                return place
        raise Missing(f"no line from there on begins with {words}")

    for cut in cuts:
        first, _, last = (words.strip() for words in cut.partition(" ... "))
        begin = find(first, at)
        if shown and begin > at:
            left_out = "".join(lines[at:begin]).strip()
            shown.append(" " * (len(lines[begin]) - len(lines[begin].lstrip())) + "# ..." if left_out else "")
        at = (find(last, begin) if last else begin) + 1
        shown += lines[begin:at]
    return dedent("\n".join(shown)) + "\n"


def _names(node: ast.AST) -> set[str]:
    """What a statement defines."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {
        each.id for target in targets if target for each in ast.walk(target) if isinstance(each, ast.Name)
    }


def wanted(words: str, root: Path = ROOT) -> str:
    """The text that a comment asks for."""
    words, *cuts = words.split(" | ")
    path, *names = words.split()
    bare = names[-1:] == [BARE]
    names = names[:-1] if bare else names
    if not (root / path).is_file():
        raise Missing(f"there is no file {path}")
    if not names:
        raise Missing(f"say which object of {path}")
    text = "\n\n".join(excerpt(root / path, name, bare) for name in names)
    return parts(text, cuts) if cuts else text


def fill(page: str, root: Path = ROOT) -> tuple[str, list[str]]:
    """A page with its fences filled, and which of them were stale."""
    stale = []

    def put(match: re.Match[str]) -> str:
        text = wanted(match["words"], root)
        if text != match["text"]:
            stale.append(match["words"])
        return f"<!-- source: {match['words']} -->\n{match['open']}{text}```"

    filled = FENCE.sub(put, page)
    found, marked = len(FENCE.findall(page)), len(re.findall(f"^{MARK}$", page, re.MULTILINE))
    if found != marked:
        raise Missing(
            f"{marked - found} of {marked} source comments have no ```python fence on the next line"
        )
    return filled, stale


def problems(root: Path = ROOT, write: bool = False) -> Iterator[str]:
    """A line for every fence that is stale (unless written) and every comment that names what is not there."""
    for path in pages(root):
        place = path.relative_to(root)
        page = path.read_text(encoding="utf-8")
        try:
            filled, stale = fill(page, root)
        except (Missing, SyntaxError) as error:
            yield f"{place}: {error}"
            continue
        if write and filled != page:
            path.write_text(filled, encoding="utf-8")
            print(f"{place}: wrote {', '.join(stale)}")
        elif stale:
            yield f"{place}: stale: {', '.join(stale)}; run python docs/sources.py"


if __name__ == "__main__":
    found = list(problems(write=sys.argv[1:] != ["--check"]))
    print("\n".join(found), end="\n" if found else "", file=sys.stderr)
    sys.exit(bool(found))
