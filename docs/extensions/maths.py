"""Formulas as MathML, which browsers draw by themselves: no script, no font, no LaTeX, no network.

docutils translates LaTeX to MathML. What it does not know is an error of the build; two of its forms are mended.
"""

import re
from itertools import pairwise
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging
from sphinx.writers.html5 import HTML5Translator

ACCENTS = {*"ˉˆ˙¨⃗¯~^_→", "\u02dc"}
BRACES = set("⏟⏞")
BRACKETS = set("([{‖|")
APPLY = "\u2061"


def to_mathml(latex: str, block: bool) -> str:
    """LaTeX as a <math> element. Raises MathError for what is not understood."""
    latex = re.sub(r"\\(big|Big|bigg|Bigg)[lrm]?(?![a-zA-Z])", "", latex.strip())  # fences grow by themselves
    latex = re.sub(r"\\([dt]?frac)(\d)(\d)", r"\\\1{\2}{\3}", latex)  # \frac12
    text = tex2mathml(latex.replace(r"\dots", r"\ldots"), as_block=block)
    root = ElementTree.fromstring(
        text.replace("&ApplyFunction;", APPLY).replace(' xmlns="http://www.w3.org/1998/Math/MathML"', "")
    )
    for node in root.iter():
        _mend(node)
        node.text, node.tail = (node.text or "").strip("\n ") if len(node) else node.text, None
    return ElementTree.tostring(root, encoding="unicode")


def _mend(node: ElementTree.Element) -> None:
    """A subscript of an accented letter stands beside it, not below, and a superscript above that; what is said of a
    brace stands below it; `log x` has a space; rows of equations are as large as equations."""
    last = node[-1].text if len(node) else None
    if node.tag == "munderover" and last in ACCENTS:
        base, below, accent = node
        accented = ElementTree.Element("mover", accent="true")
        accented.extend([base, accent])
        node.tag, node[:] = "msub", [accented, below]
    elif node.tag in ("msub", "msup") and len(node[0]) and node[0][-1].text in BRACES:
        node.tag = "munder" if node.tag == "msub" else "mover"
    elif node.tag == "msup" and len(node[0]) == 3 and node[0][-1].text in ACCENTS:
        _mend(node[0])
    if node.tag == "msup" and node[0].tag == "msub":
        node.tag, node[:] = "msubsup", [*node[0], node[1]]
    if node.tag == "mo" and node.text in ("|", "‖", "/"):  # letters for TeX, relations for browsers
        node.attrib.update(lspace="0", rspace="0")
    if node.get("class") == "ams-align":
        node.set("displaystyle", "true")
    for applied, argument in pairwise(list(node)):
        if (
            applied.text == APPLY
            and argument.text not in BRACKETS
            and (not len(argument) or argument[0].text not in BRACKETS)
        ):
            applied.tag, applied.text = "mspace", None
            applied.set("width", "0.167em")


def _inline(self: HTML5Translator, node: nodes.math) -> None:
    self.body.append(_markup(node, block=False))
    raise nodes.SkipNode


def _block(self: HTML5Translator, node: nodes.math_block) -> None:
    self.body.append(f'<div class="formula">{_markup(node, block=True)}</div>\n')
    raise nodes.SkipNode


def _markup(node: nodes.Element, block: bool) -> str:
    try:
        return to_mathml(node.astext(), block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s in the formula %s", error, node.astext(), location=node)
        return ""


def glue(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """No line begins with the comma after a formula."""
    glued = r'<span class="glued">\1\2</span>'
    context["body"] = re.sub(r"(<math>(?:(?!</math>).)*</math>)([.,;:)?]+)", glued, context.get("body", ""))


def setup(app: Sphinx) -> None:
    app.connect("html-page-context", glue)
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))
