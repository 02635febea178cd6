"""What is published: one version everywhere, and packages with all that the code and the tests need."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from mezzotint import __version__

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
HATCH = PROJECT["tool"]["hatch"]


def test_one_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)
    assert PROJECT["project"]["dynamic"] == ["version"] and "version" not in PROJECT["project"]
    assert f'__version__ = "{__version__}"\n' in (ROOT / HATCH["version"]["path"]).read_text(encoding="utf-8")

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert (citation["version"], citation["license"]) == (__version__, PROJECT["project"]["license"])

    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", changes, re.MULTILINE)
    released = [heading for heading in headings if heading != "Unreleased"]
    assert released[0] == f"{__version__} ({citation['date-released']})"


def test_the_wheel_takes_the_whole_package() -> None:
    """hatchling leaves out what git ignores, so nothing that the package reads may be ignored."""
    assert HATCH["build"]["targets"]["wheel"] == {"packages": ["src/mezzotint"]}
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("this is no clone")
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "src/mezzotint"]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert [path for path in ignored if "__pycache__" not in path] == []


def test_the_source_package_has_what_its_tests_read() -> None:
    included = {"pyproject.toml", *HATCH["build"]["targets"]["sdist"]["include"]}
    assert all((ROOT / name).exists() for name in included)
    for path in set((ROOT / "tests").rglob("*.py")) - {Path(__file__)}:
        for name in re.findall(r'ROOT / "([^"/]+)"', path.read_text(encoding="utf-8")):
            assert name in included, f"{path.name} reads {name}"


def test_the_workflow_runs_commands_of_make(monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "tests.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["two-commands"]
    targets = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    said = [step["run"].removeprefix("${{ matrix.make }} ") for step in job["steps"] if "run" in step]
    assert said == ["demo", "install", "test"] and set(said) <= set(targets)
    runners = {row["system"].partition("-")[0]: row["make"] for row in job["strategy"]["matrix"]["include"]}
    assert runners == {"ubuntu": "make", "macos": "make", "windows": "python make.py"}
    assert "secrets." not in str(workflow)
