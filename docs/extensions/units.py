"""A number and its unit, as in "95 %" and "8 MB", stay on one line."""

import re

from docutils import nodes
from sphinx.application import Sphinx

UNIT = re.compile(r"(?<=\d) (?=(?:%|px|dB|[kMG]B|ms|s)(?!\w))")
VERBATIM = (nodes.literal, nodes.math, nodes.FixedTextElement)  # code and formulas


def keep_together(app: Sphinx, doctree: nodes.document) -> None:
    for text in list(doctree.findall(nodes.Text)):
        if UNIT.search(text) and not isinstance(text.parent, VERBATIM):
            text.parent.replace(text, nodes.Text(UNIT.sub("\N{NO-BREAK SPACE}", text)))


def setup(app: Sphinx) -> None:
    app.connect("doctree-read", keep_together)
