"""The package's docstrings are plain prose; this makes them the reStructuredText that autodoc expects.

What they do: paragraphs; lines `name: what it is` one below the other; indented lines, which are code or formulas;
`code` in backticks, *emphasis* and **bold**. Everything else is taken literally.
"""

import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from sphinx.application import Sphinx

NAMED = re.compile(r"[a-z_]\w*(?:, [a-z_]\w*)*: ")
SPAN = re.compile(r"`([^`]+)`|\*\*([^*]+)\*\*|(?<!\S)\*([^\W\d_][\w ]*)\*(?=[\s.,;:]|$)")  # and no (B, *D)


def to_rst(text: str) -> str:
    """reStructuredText that shows a docstring as it was meant."""
    return "\n".join(_blocks(text.splitlines())) + "\n"


def _blocks(lines: list[str]) -> Iterator[str]:
    for empty, group in groupby(lines, lambda line: not line.strip()):
        if not empty:
            yield from _paragraph(list(group))


def _paragraph(lines: list[str]) -> Iterator[str]:
    """Lines without an empty one: a list of what has a name, or prose with code or formulas in between."""
    named = [bool(NAMED.match(line)) for line in lines]
    if named[0] and sum(named) > 1 and all(name or line.startswith("  ") for name, line in zip(named, lines)):
        items: list[str] = []
        for name, line in zip(named, lines):
            if name:
                items.append(line)
            else:
                items[-1] += " " + line.strip()
        next_name = rf"(?<=\.) (?={NAMED.pattern})"
        for item in (each for line in items for each in re.split(next_name, line)):
            name_of, meaning = item.split(": ", 1)
            yield f"- ``{name_of}``: {_inline(meaning)}"
        yield ""
        return
    for indented, group in groupby(lines, lambda line: line.startswith("  ")):
        if indented:
            yield from ("::", "", *group, "")
        else:
            yield from (_inline(" ".join(line.strip() for line in group)), "")


def _inline(text: str) -> str:
    """A paragraph with everything escaped but code, bold and emphasis."""
    out, at = [], 0
    for match in SPAN.finditer(text):
        out.append(_literally(text[at : match.start()]))
        code, bold, stressed = match.groups()
        # an escaped blank on both sides: RST wants blanks or punctuation there, and shows none of these
        words = f"``{code}``" if code else f"**{_literally(bold)}**" if bold else f"*{stressed}*"
        out.append(rf"\ {words}\ ")
        at = match.end()
    out.append(_literally(text[at:]))
    return re.sub(r"^([-+•#]|\w+[.)]) ", r"\\\1 ", "".join(out))  # no list


def _literally(text: str) -> str:
    return re.sub(r"([\\*_|`])", r"\\\1", text)


def process(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst("\n".join(lines)).splitlines()


def skip(app: Sphinx, what: str, name: str, thing: Any, skipped: bool, options: Any) -> bool | None:
    """Fields of named tuples have nothing to say of themselves, and configuration keys have a page of their own."""
    return True if (getattr(thing, "__doc__", None) or "").startswith("Alias for field number") else None


def setup(app: Sphinx) -> None:
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-skip-member", skip)
