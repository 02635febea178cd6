"""make.py installs what is pinned, once, with the build of torch that suits the machine."""

import ast
import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from helpers_modules import module_of
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typer.main import get_command

from mezzotint.cli import app

ROOT = Path(__file__).resolve().parents[1]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if line and not line.startswith("#"))


def test_every_dependency_is_pinned_to_a_version_that_it_allows() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [Requirement(line) for line in project["dependencies"]]
    wanted += [
        Requirement(line)
        for extra in ("hub", "serve", "export", "video", "track", "features", "text", "docs", "dev")
        for line in project["optional-dependencies"][extra]
    ]
    for requirement in wanted:
        if requirement.name != project["name"]:
            assert pins()[canonicalize_name(requirement.name)] in requirement.specifier, requirement
    assert list(pins()) == sorted(pins())


def test_an_old_python_can_read_it() -> None:
    ast.parse((ROOT / "make.py").read_text(), feature_version=(3, 9))


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """make.py on a folder of its own, where no command is run."""
    module = module_of(ROOT / "make.py")
    for name in ("PYPROJECT", "CONSTRAINTS"):
        copy = tmp_path / getattr(module, name).name
        copy.write_bytes(getattr(module, name).read_bytes())
        monkeypatch.setattr(module, name, copy)
    (tmp_path / ".venv").mkdir()
    python = tmp_path / ".venv" / "python"
    python.touch()
    monkeypatch.setattr(module, "STAMP", tmp_path / ".venv" / "stamp.json")
    monkeypatch.setattr(module, "PYTHON", python)
    monkeypatch.setattr(module, "make_venv", lambda: None)
    monkeypatch.setattr(module, "detect_torch", lambda: "cpu")
    monkeypatch.setattr(module, "has_torch", lambda build, version: False)
    monkeypatch.setattr(module.sys, "platform", "linux")
    return module


def record_pip(make: ModuleType, monkeypatch: pytest.MonkeyPatch, refuse: Callable[[str], bool]) -> list[str]:
    """Puts a pip in place that refuses some requirements as the real one does, and lists what it installed."""
    installed: list[str] = []

    def pip(*arguments: object) -> tuple[int, str]:
        line = " ".join(map(str, arguments))
        if refuse(line):
            return 1, "ERROR: ResolutionImpossible: for help visit a page"
        installed.append(line)
        return 0, ""

    monkeypatch.setattr(make, "pip", pip)
    return installed


def test_it_installs_once(make: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = record_pip(make, monkeypatch, lambda line: False)
    version = pins()["torch"]
    make.install("", "auto", None)
    assert installed == [f"--upgrade torch=={version}+cpu", "-e ."]
    make.install("", "auto", None)
    assert len(installed) == 2
    make.install("dev", "auto", None)
    assert installed[-1] == "-e .[dev]"
    make.install("", "auto", None)  # what the demo needs is in there
    assert len(installed) == 4
    make.CONSTRAINTS.write_text(make.CONSTRAINTS.read_text() + "more==1.0\n")
    make.install("", "auto", None)
    assert installed[-1] == "-e .[dev]" and len(installed) == 6


def test_a_forced_build_is_kept(make: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = record_pip(make, monkeypatch, lambda line: False)
    version = pins()["torch"]
    make.install("dev", "cuda", None)
    assert installed == [
        f"--upgrade torch==={version}",
        "-e .[dev]",
    ]  # not a CPU build, even where one is on offer
    make.install("dev", "auto", None)
    assert len(installed) == 2
    make.install("dev", "cpu", "file:///builds")
    assert installed[2:] == [f"--upgrade --index-url file:///builds torch=={version}+cpu", "-e .[dev]"]


def test_without_a_cpu_build_the_ordinary_one_is_taken_with_a_warning(
    make: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = record_pip(make, monkeypatch, lambda line: "+cpu" in line)
    make.install("", "auto", None)
    assert installed[0] == f"--upgrade torch=={pins()['torch']}"
    assert "several GB" in capsys.readouterr().out


def test_a_failure_is_shown_and_tried_again(make: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    record_pip(make, monkeypatch, lambda line: "-e" in line)
    with pytest.raises(SystemExit, match=r"ResolutionImpossible(.|\n)*could not install the packages"):
        make.install("dev", "auto", None)
    installed = record_pip(make, monkeypatch, lambda line: False)
    make.install("dev", "auto", None)
    assert installed[-1] == "-e .[dev]"
    assert json.loads(make.STAMP.read_text())["extra"] == "dev"


def test_checks_go_on_after_a_failure(
    make: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[str] = []

    def call(tool: str, more: list[str], **environment: str) -> int:
        called.append(" ".join([tool, *more]))
        return int("mypy" in tool)

    monkeypatch.setattr(make, "call", call)
    monkeypatch.setattr(make, "install", lambda *_: None)
    assert make.main(["test", "--", "-k", "heun"]) == 1
    assert called == ["ruff format --check .", "ruff check .", "mypy", "pytest -n 2 --dist worksteal -k heun"]
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[-4:]] == [
        ["format", "ok"],
        ["lint", "ok"],
        ["types", "FAILED"],
        ["unit", "ok"],
    ]
    assert make.main(["test", "lint"]) == 0


def test_the_demo_shows_digits_before_it_trains_and_says_what_they_are(
    make: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    called: list[list[str]] = []

    def call(command: list[str], cwd: str) -> int:
        called.append(command[1:])
        return 0

    monkeypatch.setattr(make.subprocess, "call", call)
    monkeypatch.setattr(make, "install", lambda *_: None)
    assert make.main(["demo"]) == 0
    assert called[0][:3] == ["show", "reverse", "mnist"]
    pictures = [words[-1] for words in called if "-o" in words]
    assert len(pictures) == 4 and all(name.startswith("out/demo-") for name in pictures)
    said = capsys.readouterr().out
    end = said[said.index("Look at:") :]
    assert all(name in end for name in pictures) and "8x8 pixels" in end and "28x28 pixels" in end


def test_the_demo_is_words_of_the_command_line(make: ModuleType) -> None:
    for line, _ in make.DEMO:
        command, context, name, words = get_command(app), None, "mezzotint", line.split()
        while True:
            context = command.make_context(name, words, parent=context)
            if not hasattr(command, "resolve_command"):
                break
            words = [*context._protected_args, *context.args]
            name, command, words = command.resolve_command(context, words)
