"""Code shown on the pages is the code of the package."""

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from helpers_modules import module_of

ROOT = Path(__file__).resolve().parents[2]

CODE = '''"""A module."""

import math

TABLE = {  # of two rows
    "a": 1,
    "b": 2,
}
first, second = 1, 2


def plain(x: int) -> int:
    """Says it.

    In full.
    """
    # a comment
    return x + 1


class Thing:
    """A thing."""

    size: int = 3  # in metres

    @property
    def half(self) -> int:
        """Half of it."""
        return self.size // 2  # rounded
'''


def load() -> ModuleType:
    return module_of(ROOT / "docs" / "sources.py")


sources = load()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "code.py").write_text(CODE)
    return tmp_path


def page(words: str, text: str = "") -> str:
    return f"Before.\n\n<!-- source: {words} -->\n```python\n{text}```\n\nAfter.\n"


def test_the_pages_show_what_the_source_says() -> None:
    assert list(sources.problems()) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TABLE", 'TABLE = {  # of two rows\n    "a": 1,\n    "b": 2,\n}\n'),
        ("second", "first, second = 1, 2\n"),
        ("Thing.size", "size: int = 3  # in metres\n"),
        (
            "Thing.half",
            '@property\ndef half(self) -> int:\n    """Half of it."""\n    return self.size // 2  # rounded\n',
        ),
        (
            "Thing.half without-docstring",
            "@property\ndef half(self) -> int:\n    return self.size // 2  # rounded\n",
        ),
        ("plain without-docstring", "def plain(x: int) -> int:\n    # a comment\n    return x + 1\n"),
        (
            "Thing without-docstring",
            "class Thing:\n    size: int = 3  # in metres\n\n    @property\n    def half(self) -> int:\n"
            '        """Half of it."""\n        return self.size // 2  # rounded\n',
        ),
        (
            "first Thing.size",
            "first, second = 1, 2\n\n\nsize: int = 3  # in metres\n",
        ),
        ('TABLE | "a"', '"a": 1,\n'),
        ('TABLE | TABLE ... "a" | }', 'TABLE = {  # of two rows\n    "a": 1,\n# ...\n}\n'),
        (
            "plain without-docstring | def ... # a | return",
            "def plain(x: int) -> int:\n    # a comment\n    return x + 1\n",
        ),
        (
            "Thing | size | @property ... def",
            "size: int = 3  # in metres\n\n@property\ndef half(self) -> int:\n",
        ),
    ],
)
def test_what_is_sliced(project: Path, name: str, expected: str) -> None:
    assert sources.wanted(f"code.py {name}", project) == expected


def test_a_fence_is_written_once_and_then_current(project: Path) -> None:
    at = project / "docs" / "page.md"
    at.write_text(page("code.py plain") + page("code.py first"))
    assert len(list(sources.problems(project))) == 1
    assert list(sources.problems(project, write=True)) == []
    text = at.read_text()
    assert "    # a comment\n    return x + 1\n```\n\nAfter." in text and "first, second = 1, 2\n```" in text
    assert list(sources.problems(project)) == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("code.py first", "stale: code.py first"),
        ("code.py third", "code.py defines no third"),
        ("code.py Thing.third", "code.py defines no Thing.third"),
        ("code.py TABLE | c", "no line from there on begins with c"),
        ('code.py TABLE | "b" ... "a"', 'no line from there on begins with "a"'),
        ("none.py first", "there is no file none.py"),
        ("code.py", "say which object of code.py"),
    ],
)
def test_what_is_wrong_is_named(project: Path, words: str, complaint: str) -> None:
    (project / "docs" / "page.md").write_text(page(words, "first, second = 3, 4\n"))
    (found,) = sources.problems(project)
    assert found.startswith(f"{Path('docs', 'page.md')}: {complaint}")


def test_a_comment_without_its_fence_is_named(project: Path) -> None:
    (project / "README.md").write_text("<!-- source: code.py first -->\n\n```python\n```\n")
    (found,) = sources.problems(project)
    assert "no ```python fence on the next line" in found


def test_check_changes_nothing_and_fails(tmp_path: Path) -> None:
    """The command itself, on a copy of it in another project."""
    (tmp_path / "docs").mkdir()
    command = tmp_path / "docs" / "sources.py"
    command.write_text((ROOT / "docs" / "sources.py").read_text(encoding="utf-8"), encoding="utf-8")
    (tmp_path / "code.py").write_text(CODE)
    at = tmp_path / "docs" / "page.md"
    at.write_text(page("code.py first"))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([sys.executable, str(command), *words], capture_output=True, text=True)

    stale = run("--check")
    assert stale.returncode == 1 and "stale: code.py first" in stale.stderr
    assert at.read_text() == page("code.py first")
    assert run().returncode == 0 and run("--check").returncode == 0
