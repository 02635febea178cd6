"""Every code block and every command of the pages works.

Python blocks of a page run in order in one namespace and one empty folder (one that begins with `# NAME.py` is written
there as that file), and `mezzotint` commands among them in that folder, too. A comment `<!-- not run: REASON -->` on the
line before a block leaves it out: its Python is compiled, and its commands are still parsed.
"""

import contextlib
import io
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from mezzotint import config
from mezzotint.cli import app, explain, main

ROOT = Path(__file__).resolve().parents[2]
TESTED_ELSEWHERE = ("docs/numerics.md",)  # written by a command, with the output of its blocks
TO_COME = ("network.kind=plain",)  # what CONTRIBUTING.md shows how to add
TARGETS = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
BRIEF = (
    "sample",
    "show",
    "info",
    "list",
)  # of the README's list of commands, those that are done in seconds, offline


class Block(NamedTuple):
    line: int  # of its first line, from 1
    language: str  # "indented" for a block without a fence
    run: bool
    text: str


def blocks(page: str) -> Iterator[Block]:
    """The blocks of a page in order, without those that are taken from the source, or meant for it."""
    lines = page.splitlines()
    at = 0
    while at < len(lines):
        fence = re.match(r"(`{3,})(\S*)", lines[at])
        if fence:
            end = next(i for i in range(at + 1, len(lines)) if lines[i].strip() == fence[1])
            before = lines[at - 1] if at else ""
            if not before.startswith(("<!-- source: ", "<!-- add to: ")):
                run = not re.match(r"<!-- not run: .+ -->", before)
                yield Block(at + 2, fence[2], run, "\n".join(lines[at + 1 : end]))
        elif lines[at].startswith("    mezzotint "):
            end = next((i for i in range(at, len(lines)) if not lines[i].startswith("    ")), len(lines))
            yield Block(at + 1, "indented", True, "\n".join(line[4:] for line in lines[at:end]))
        else:
            end = at
        at = end + 1


def commands(text: str) -> list[list[str]]:
    """The words of every mezzotint command, without what a shell would do with its output."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        if "mezzotint " not in line:
            continue
        parts = shlex.shlex(line, posix=True, punctuation_chars=True)
        parts.whitespace_split = True
        words = list(parts)
        if "mezzotint" in words:
            words = words[words.index("mezzotint") + 1 :]
            end = next((i for i, word in enumerate(words) if set(word) <= set("|&;<>")), len(words))
            found.append(words[:end])
    return found


def parse(words: list[str]) -> None:
    """Raises ValueError unless these are words of the command line; keys and values of recipes are looked at, too."""
    command, context, name = get_command(app), None, "mezzotint"
    try:
        while True:
            context = command.make_context(name, words, parent=context)
            if not hasattr(command, "resolve_command"):
                break
            name, command, words = command.resolve_command(context, [*context._protected_args, *context.args])
        given = context.params
        begins = given.get("origin")  # with a model, which says the rest
        if given.get("source") in config.recipes() and "overrides" in given and not begins:
            config.load(given["source"], given["overrides"] or [])
    except Exception as error:
        raise ValueError(explain(error)[1]) from None


def run(words: list[str]) -> None:
    """Calls the command line in this process; raises AssertionError with its words where it fails. Sampling takes two steps, where
    the page does not say how many."""
    words = [*words, "--steps", "2"] if words[0] == "sample" and "--steps" not in words else words
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
        try:
            main(words)
        except SystemExit as left:
            assert not left.code, f"mezzotint {shlex.join(words)}: exit code {left.code}\n{said.getvalue()}"


def wrong(page: str) -> list[str]:
    """Commands of a page that cannot be, with their line for those in blocks: words of mezzotint that do not parse,
    targets of make and Python files that are not there."""
    found = []
    for block in blocks(page):
        if block.language in ("bash", "sh", "", "indented"):
            for words in commands(block.text):
                try:
                    parse(words)
                except ValueError as error:
                    found.append(f"line {block.line}: mezzotint {shlex.join(words)}: {error}")
            named = re.findall(r"^(?:\S*bin/)?(python3?|make) ([\w./]+)", block.text, re.MULTILINE)
            for program, name in named:
                if not (name in TARGETS if program == "make" else (ROOT / name).is_file()):
                    found.append(f"line {block.line}: {program} {name}: there is none")
    prose = re.sub(r"^```.*?^```", "", page, flags=re.MULTILINE | re.DOTALL).replace("\n", " ")
    for span in re.findall(r"`(mezzotint [^`]+)`", prose):
        try:
            parse(shlex.split(span)[1:])
        except ValueError as error:
            if "Missing argument" not in str(error) and "COMMAND" not in span:  # it may only be named
                found.append(f"{span}: {error}")
    return found


def work_through(page: str, name: str, indented: tuple[str, ...] = ()) -> None:
    """Runs the blocks of a page in the current folder; of indented ones, the commands named."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page):
        if block.language == "python":
            # empty lines before it, so that a traceback shows the line of the page
            code = compile("\n" * (block.line - 1) + block.text, name, "exec")
            if named := re.match(r"# (\w+)\.py\n", block.text):  # a file of the reader's, to import from
                Path(f"{named[1]}.py").write_text(block.text, encoding="utf-8")
                sys.modules.pop(named[1], None)
            elif block.run:
                exec(code, namespace)
        elif block.language in ("bash", "indented") and block.run:
            for words in commands(block.text):
                if block.language == "bash" or words[0] in indented:
                    run(words)


def pages() -> dict[str, str]:
    found = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in found}


PAGES = pages()
RUN = [
    name
    for name, page in PAGES.items()
    if name not in TESTED_ELSEWHERE
    and (name == "README.md" or any(b.run and b.language in ("python", "bash") for b in blocks(page)))
]


@pytest.mark.parametrize("name", PAGES)
def test_commands_are_words_of_the_command_line(name: str) -> None:
    assert [line for line in wrong(PAGES[name]) if not any(words in line for words in TO_COME)] == []


@pytest.mark.parametrize("name", RUN)
def test_blocks_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MPLBACKEND", "agg")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "orders.jsonl").write_text('{"label": "7", "seed": 3}\n', encoding="utf-8")
    work_through(PAGES[name], name, BRIEF if name == "README.md" else ())


# --- the test itself can fail -----------------------------------------------------------------------------


def page(language: str, text: str, before: str = "") -> str:
    return f"# A page\n\n{before}\n```{language}\n{text}\n```\n"


@pytest.mark.parametrize(
    "line",
    [
        "mezzotint paint digits",
        "mezzotint sample digits --paint",
        "mezzotint sample digits -n many",
        "mezzotint show paint",
        "mezzotint train digits train.paint=3",
        "mezzotint train digits train.lr=-3 && echo done",
        "torchrun --nproc-per-node=2 -m mezzotint train digits --paint",
        "MEZZOTINT_CACHE=here mezzotint sample digits --paint > out.txt",
        "mezzotint sample digits \\\n  --paint",
        "make paint",
        "python docs/paint.py --check",
    ],
)
def test_wrong_words_are_found(line: str) -> None:
    assert len(wrong(page("bash", line))) == 1
    assert len(wrong(page("bash", line, "<!-- not run: slow -->"))) == 1
    assert len(wrong("Before.\n\n    " + line.replace("\n", "\n    ") + "\n")) == line.startswith("mezzotint")


def test_wrong_words_in_prose_are_found() -> None:
    assert wrong("Say `mezzotint train`, `mezzotint info a.png` or `mezzotint\nCOMMAND --help`.") == []
    assert len(wrong("Say `mezzotint trian` or\n`mezzotint info a.png --paint`.")) == 2


def test_right_words_pass() -> None:
    line = "mezzotint sample digits -n 4 --class all -o a.png  # a comment\nmezzotint show reverse digits | less\n"
    assert wrong(page("bash", line)) == []
    assert commands(line)[0] == ["sample", "digits", "-n", "4", "--class", "all", "-o", "a.png"]
    assert commands(line)[1] == ["show", "reverse", "digits"]


def test_blocks_share_a_namespace_and_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = page("python", "from pathlib import Path\n\nPath('a').write_text('x')")
    then = page("python", "assert Path('a').read_text() == 'x'\nPath('b').touch()")
    skipped = page("python", "Path('b').unlink()", "<!-- not run: harmful -->")
    shown = page("python", "Path('b').unlink()", "<!-- source: somewhere b -->")
    work_through(first + then + skipped + shown, "a.md")
    assert (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (page("python", "x = 1\n1 / 0"), 'page.md", line 6'),
        (page("python", "x =", "<!-- not run: broken -->"), "invalid syntax"),
        (page("bash", "mezzotint info missing.png"), "exit code 3"),
    ],
)
def test_failing_blocks_fail(
    text: str, complaint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import traceback

    monkeypatch.chdir(tmp_path)
    try:
        work_through(text, "page.md")
    except (Exception, AssertionError):
        assert complaint in traceback.format_exc()
    else:
        pytest.fail("nothing was raised")
