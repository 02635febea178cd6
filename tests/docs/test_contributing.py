"""The lines that CONTRIBUTING.md shows are all that it takes: they are applied to a copy of the package, and used."""

import re
import shutil
from pathlib import Path

import pytest
from helpers_forked import run_code

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ADDED = re.findall(r"^<!-- add to: (\S+) -->\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CHANGED = re.findall(r"^```diff\n\+\+\+ (\S+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)

USE = """
import torch
from mezzotint import check, config, load
from mezzotint.cli import main
from mezzotint.data import KNOWN, load_pictures, log_prob, points
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.evaluate.judges.features import Features
from mezzotint.evaluate.metrics.numbers import compare
from mezzotint.studies.report import curves
from typing import get_args

curves.draw_curves = lambda rows, config: iter(())  # what takes the time of a report

def run(*words):
    try:
        main([str(word) for word in words])
    except SystemExit as left:
        assert not left.code, words

found = check("ralston")
print(found)
assert found.passed and abs(found.order - 2) < 0.1 and found.calls[0] == 20
assert set(get_args(config.SamplerName)) == set(SAMPLERS)
run("sample", "digits", "-n", 2, "--sampler", "ralston", "--steps", 3, "-o", "two.png")

rare = [f"train.{what}_every=100%" for what in ("sample", "validate", "snapshot", "checkpoint")]
quick = ("--steps", 3, "--batch-size", 64, *rare, "sample.steps=2", "train.warmup=0")
run("train", "digits", "network.kind=plain", "network.width=8", *quick)
assert load("runs/digits").sample(1, steps=2).values.shape[-2:] == (8, 8)

x, label = points("eight", 4000)
assert abs(float(x.var(0).mean()) - 1) < 0.05 and float(x.mean(0).abs().max()) < 0.05
assert float(log_prob("eight", x).mean()) > -2.5  # a curve's: a standard normal has -2.84
run("train", "moons", "data.name=eight", "--name", "eight", *quick)
assert KNOWN["kuzushiji"].size == 28

real = torch.randn(400, 5)
(number,) = compare(Features(2 * real, None), Features(real, None), metrics=("spread",))
assert number.name == "spread" and abs(number.value - 4) < 1e-6
print("used them all")
"""


def patched(text: str, change: str) -> str:
    """The text with one change: lines that begin with a blank or - must be there, once, and become those with a blank or +."""
    lines = change.splitlines(keepends=True)
    old = "".join(line[1:] or "\n" for line in lines if line[0] in " -")
    new = "".join(line[1:] or "\n" for line in lines if line[0] in " +")
    if text.count(old) != 1:
        raise ValueError(f"the lines are there {text.count(old)} times: {old}")
    return text.replace(old, new)


def test_the_lines_shown_are_all_that_it_takes(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "src", tmp_path / "src")
    assert len(ADDED) == 3 and len({path for path, _ in CHANGED}) == 7
    for path, code in ADDED:
        at = tmp_path / path
        before = at.read_text() + "\n\n" if at.exists() else ""
        at.write_text(before + code)
    for path, change in CHANGED:
        at = tmp_path / path
        at.write_text(patched(at.read_text(), change))
    done = run_code(USE, tmp_path / "src", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "used them all" in done.stdout
    measured = re.search(r"right: measured order [\d.]+, declared 2", PAGE)
    assert measured and measured[0] in done.stdout


def test_a_line_that_is_gone_is_noticed() -> None:
    assert patched("a\nb\nc\n", " b\n+d\n") == "a\nb\nd\nc\n"
    with pytest.raises(ValueError, match="0 times"):
        patched("a\nc\n", " b\n+d\n")
