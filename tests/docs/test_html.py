"""The documentation builds without a warning, and its pages ask the network for nothing."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest
from helpers_modules import module_of
from pydantic import BaseModel

from mezzotint import config

ROOT = Path(__file__).resolve().parents[2]
pytest.importorskip("sphinx", reason="needs the extra [docs]")


def load(name: str) -> ModuleType:
    return module_of(ROOT / "docs" / "extensions" / f"{name}.py")


def page(built: Path, name: str) -> str:
    """The article of a page, without markup."""
    text = (built / f"{name}.html").read_text(encoding="utf-8")
    return re.sub(r"<[^>]+>", "", text[text.index("<article") : text.index("</article>")])


class Loads(HTMLParser):
    """What a page makes the browser fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        names = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
        if tag in names and given.get(names[tag]):
            self.found.append(given[names[tag]] or "")


def nothing_is_asked_of_the_network(built: Path) -> None:
    loaded = [(path, url) for path in built.rglob("*.html") for url in Loads(path.read_text()).found]
    assert len(loaded) > 100
    for path, url in loaded:
        assert not re.match(r"(\w+:)?//", url), f"{path.name} loads {url}"
        file = (path.parent / url.partition("?")[0].partition("#")[0]).resolve()
        assert url.startswith("data:") or file.exists(), f"{path.name} loads {url}, which is not there"
    for path in built.rglob("*.css"):
        style = path.read_text()
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style), f"{path.name} loads something"


def test_an_address_would_be_found() -> None:
    assert Loads('<script src="//a.example/b.js"></script><img alt="x" src=c.png>').found == [
        "//a.example/b.js",
        "c.png",
    ]


def formulas_are_mathml(built: Path) -> None:
    text = (built / "guide" / "index.html").read_text()
    assert text.count("<math>") > 20 and "MathJax" not in text and "$" not in page(built, "guide/index")


WORDS = [
    ("index", ["The guide", "Training you can trust", "Contributing"]),
    ("reference/commands", ["mezzotint show reverse", "--guidance", "continuation with another budget"]),
    ("reference/configuration", ["train.batch_size", "number from 0 below 1; default 0.05", "Norm of the gradient"]),
    ("reference/rest", ["POST /v1/generate", "GenerateBody", "keep the network's guess at the clean picture"]),
    ("reference/diffusion", ["add_noise", "Draws from q(x | x0) by reparameterization", "x0, eps: (B, *D)"]),
    ("reference/api", ["from_diffusers", "Measures a sampler against exact solutions"]),
    ("reference/contributing", ["ralston", "Add a data set"]),
    ("reference/readme", ["Two commands", "How it compares"]),
    ("guide/10-editing", ["12\N{NO-BREAK SPACE}% with 40 steps"]),
    ("source/src/mezzotint/diffusion/process.py", ["def add_noise"]),
]  # fmt: skip


def the_reference_has_what_the_code_says(built: Path) -> None:
    for name, words in WORDS:
        text = page(built, name).lower()
        for one in words:
            assert one.lower() in text, f"{name}: {one}"


def every_key_of_the_configuration_is_there(built: Path) -> None:
    text = (built / "reference" / "configuration.html").read_text()
    assert "ype: ignore" not in text  # what is said to mypy

    def look(prefix: str, model: type[BaseModel]) -> None:
        for name, field in model.model_fields.items():
            below = (field.annotation, *getattr(field.annotation, "__args__", ()))
            models = [each for each in below if isinstance(each, type) and issubclass(each, BaseModel)]
            for each in models:
                look(f"{prefix}{name}.", each)
            assert models or f">{prefix}{name}</span>" in text, f"{prefix}{name}"

    look("", config.Config)


def links_to_files_lead_somewhere(built: Path) -> None:
    """Sphinx has looked at those between documents; these are the ones to files and their lines."""
    wrong = []
    for path in built.rglob("*.html"):
        for url in re.findall(r'<a [^>]*href="([^"#:]*source/[^"]*)"', path.read_text()):
            target, _, anchor = url.partition("#")
            file = path.parent / target
            if not file.exists() or (anchor and f'id="{anchor}"' not in file.read_text()):
                wrong.append((path.name, url))
    assert wrong == []


def links_to_headings_lead_there(built: Path) -> None:
    """Those between pages, with what follows #: Sphinx looks at neither the README nor its headings."""
    pages = {path: path.read_text() for path in built.rglob("*.html") if "source" not in path.parts}
    places = {path.resolve(): set(re.findall(r'\bid="([^"]+)"', text)) for path, text in pages.items()}
    wrong = []
    for path, text in pages.items():
        for target, anchor in re.findall(r'href="([^"#:]+\.html)#([^"]+)"', text):
            there = places.get((path.parent / target).resolve())
            wrong += [(path.name, target, anchor)] if there is not None and anchor not in there else []
    assert wrong == []


def models_are_live(built: Path) -> None:
    links = re.findall(r'href="(live/\w+/index\.html)"', (built / "index.html").read_text())
    assert len(links) == 2 and links == re.findall(
        r'href="(live/[^"]+)"', (built / "gallery.html").read_text()
    )
    for link in links:
        assert "const MODEL = " in (built / link).with_name("model.js").read_text(encoding="utf-8")[:400]


# A tree of nodes for every page lives until the end: to look for garbage in them takes a tenth of the time. To set the same
# navigation on each page takes another: here it is on index pages and on those of source, which share it.
BUILD = """
import gc, sys, furo, sphinx.cmd.build as build
gc.set_threshold(200_000, 50, 50)
navigation = furo._compute_navigation_tree
furo._compute_navigation_tree = lambda page: (
    navigation(page) if page["pagename"].endswith("index") or page["pagename"].startswith("source/") else ""
)
sys.exit(build.main(sys.argv[1:]))
"""


def test_the_pages(tmp_path: Path) -> None:
    """One test, since the build takes most of the time."""
    command = ["-c", BUILD, "-q", "-W", "--keep-going", "-E", "-b", "html", "docs", str(tmp_path / "html")]
    command += ["-d", str(tmp_path / "doctrees")]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    for check in (
        nothing_is_asked_of_the_network,
        formulas_are_mathml,
        the_reference_has_what_the_code_says,
        every_key_of_the_configuration_is_there,
        links_to_files_lead_somewhere,
        links_to_headings_lead_there,
        models_are_live,
    ):
        check(tmp_path / "html")


def lost(text: str) -> list[str]:
    """Lines inside of a paragraph that Markdown takes for something else: a comment (%), or the first item of a list (1.)."""
    found, before, fenced = [], "", False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        inside = before.strip() and not fenced and not line.startswith("```")
        if inside and (re.match(r"\s*%", line) or re.match(r"1[.)] ", line)):
            found.append(line)
        before = line
    return found


def test_no_line_of_prose_is_lost() -> None:
    assert lost("A half is\n50 % of it.\n\n1. One\n2. two\n\n```\na\n% b\n```\n") == []
    assert lost("About 12\n% of it, a deviation of\n1. So it is.\n") == [
        "% of it, a deviation of",
        "1. So it is.",
    ]
    pages = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md")]
    assert [(page.name, line) for page in pages for line in lost(page.read_text(encoding="utf-8"))] == []


# --- the translations -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latex", "shape"),
    [
        (r"\hat{x}_\theta", "msub(mover(mi mo) mi)"),
        (r"\bar\alpha_t^2", "msubsup(mover(mi mo) mi mn)"),
        (r"\underbrace{a}_{b}", "munder(munder(mi mo) mi)"),
        (r"\log x", "mi mspace mi"),
        (r"\log(x)", "mi mo mo mi mo"),
        (r"\frac12", "mfrac(mn mn)"),
        (r"\sum_{i=1}^n i", "munderover(mo mrow(mi mo mn) mi) mi"),
    ],
)
def test_formulas(latex: str, shape: str) -> None:
    def told(node: ElementTree.Element) -> str:
        return node.tag + (f"({' '.join(map(told, node))})" if len(node) else "")

    root = ElementTree.fromstring(load("maths").to_mathml(latex, block=False))
    assert " ".join(map(told, root)) == shape


def test_an_unknown_command_of_latex_is_an_error() -> None:
    from docutils.utils.math import MathError

    with pytest.raises(MathError):
        load("maths").to_mathml(r"\nonsense x", block=True)


@pytest.mark.parametrize(
    ("said", "rst"),
    [
        ("Draws x_ from *D|y.", "Draws x\\_ from \\*D\\|y.\n\n"),
        ("It is `code_`, **bold**.", "It is \\ ``code_``\\ , \\ **bold**\\ .\n\n"),
        ("Equal to\n    a * b\nalways.", "Equal to\n\n::\n\n    a * b\n\nalways.\n\n"),
        ("name: a set\n    of things.\nsize: 2.", "- ``name``: a set of things.\n- ``size``: 2.\n\n"),
        ("x: (B, *D). Then\nmore of it.", "x: (B, \\*D). Then more of it.\n\n"),
        ("it is *not* (B, *D), *E", "it is \\ *not*\\  (B, \\*D), \\*E\n\n"),
    ],
)
def test_docstrings(said: str, rst: str) -> None:
    assert load("docstrings").to_rst(said) == rst
