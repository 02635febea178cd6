"""Help is instant, and every command's has examples that can be typed."""

import os
import shlex
import subprocess
import sys

import pytest
from helpers_workshop import Call

COMMANDS = [
    "train",
    "distil",
    "sample",
    "edit",
    "vary",
    "enlarge",
    "colour",
    "morph",
    "invert",
    "serve",
    "ui",
    "evaluate",
    "tune",
    "sweep",
    "doctor",
    "report",
    "info",
    "list",
    "show",
    "export",
    "import",
    *(f"show {s}" for s in ["data", "forward", "schedule", "reverse", "loss"]),
    *(f"export {s}" for s in ["web", "diffusers", "onnx", "torch"]),
    "import diffusers",
]
GROUPS = ["show", "export", "import"]


def examples(text: str) -> list[str]:
    """The lines of a help text that are commands."""
    return [line.strip() for line in text.splitlines() if line.strip().startswith("mezzotint ")]


def test_every_command_is_tested_here(mezzotint: Call) -> None:
    def listed(text: str) -> list[str]:
        return [line.split()[0] for line in text.split("Commands:\n")[1].split("\n\n")[0].splitlines()]

    commands = listed(mezzotint("--help").out)
    below = [f"{group} {name}" for group in GROUPS for name in listed(mezzotint(group, "--help").out)]
    assert [*commands, *below] == COMMANDS


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in GROUPS])
def test_help_has_examples_on_lines_of_their_own(mezzotint: Call, command: str) -> None:
    answer = mezzotint(*command.split(), "--help")
    assert answer.code == 0 and answer.err == ""
    found = examples(answer.out)
    assert found and all(line.startswith(f"mezzotint {command} ") for line in found)
    for line in found:  # its options exist: with another, there would be no help
        words = shlex.split(line)[1:]
        assert mezzotint(*words, "--help").code == 0
        assert mezzotint(*words, "--no-such-option", "--help").code == 2


def test_short_help_is_whole(mezzotint: Call) -> None:
    """In the lists of commands no sentence is cut."""
    for words in ((), ("show",), ("export",), ("import",)):
        assert "..." not in mezzotint(*words, "--help").out.split("Commands:")[1]


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["show", "loss", "-h"], ["train", "mnits"], ["trian"]]
)
def test_answers_before_anything_heavy_is_imported(words: list[str]) -> None:
    code = f"""
import sys, time, mezzotint.cli
try:
    mezzotint.cli.main({words})
except SystemExit as left:
    print(left.code, sorted({{"torch", "numpy", "matplotlib", "PIL", "safetensors"}} & set(sys.modules)))
"""
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "COLUMNS": "80"}
    )
    after = os.times()
    assert done.stdout.splitlines()[-1] == ("0 []" if words[-1] in ("--help", "-h") else "2 []"), done.stderr
    if os.name == "posix":  # elsewhere nobody counts a child's time
        assert after.children_user - before.children_user < 2  # usually 0.3, of computing
