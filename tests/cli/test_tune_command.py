"""Tuning from the command line: a line a trial, a table at the end, and nothing lost or written on Ctrl-C."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers_workshop import Call, contents

from mezzotint.disk.model_file import read_header
from mezzotint.evaluate.judges import classifier
from mezzotint.studies.tune import search as study


@pytest.fixture(autouse=True, scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, and judges of a second's training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_CACHE", str(tmp_path_factory.mktemp("kept")))
        patch.setattr(classifier, "budget", lambda count: 3000)
        yield


@pytest.fixture
def own(desk: Path, store: Path) -> Path:
    """A copy of the moons run, to write into."""
    shutil.copytree(store / "runs" / "moons", desk / "own")
    return desk / "own"


def test_a_run_of_points(mezzotint: Call, own: Path) -> None:
    answer = mezzotint("tune", "own", "--quick", "-n", 100, "--calls", 8)
    assert answer.code == 0, answer.err
    trials = [line for line in answer.out.splitlines() if re.match(r" *\d+/\d+  ", line)]
    assert len(trials) > 8 and all("calls (NFE), distance" in line and "left" in line for line in trials)
    assert "EMA 0.05" in answer.out and "best so far" in trials[0]
    assert "against 200 fresh points of moons" in answer.out
    found = dict(re.findall(r"^(sampler|steps|energy distance|EMA length) +(.+)$", answer.out, re.MULTILINE))
    header = read_header(own / "model.safetensors")
    kept = json.loads((own / "tune.json").read_text())
    assert ("its defaults now" in answer.out) == kept["written"]
    if kept["written"]:
        assert found["steps"].split()[-1] == str(header.config.sample.steps)
        assert found["sampler"].split()[-1] == header.config.sample.sampler


def test_a_dry_run_of_pictures(mezzotint: Call, desk: Path, store: Path) -> None:
    before = contents(store / "runs" / "digits")
    answer = mezzotint("tune", "digits", "--quick", "-n", 100, "--dry-run", "--calls", 3)
    assert answer.code == 0, answer.err
    assert "training a classifier of digits to score with, once" in answer.out and "agreement" in answer.out
    assert "898 training pictures of digits, 90 of them held out" in answer.out
    assert "Fréchet distance" in answer.out and "class agreement" in answer.out
    assert all(int(calls) <= 3 for calls in re.findall(r"(\d+) calls", answer.out))
    assert contents(store / "runs" / "digits") == before


def test_ctrl_c_tells_the_best_and_writes_no_model(
    mezzotint: Call, own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (own / "model.safetensors").read_bytes()
    looks: list[int] = []
    plain = study.look

    def stopped(*words: Any) -> Any:
        looks.append(1)
        if len(looks) == 4:
            raise KeyboardInterrupt
        return plain(*words)

    monkeypatch.setattr(study, "look", stopped)
    answer = mezzotint("tune", "own", "--quick", "-n", 100)
    assert answer.code == 130 and "stopped; the best so far, not written:" in answer.out
    assert (own / "model.safetensors").read_bytes() == before
    assert len(json.loads((own / "tune.json").read_text())["trials"]) == 3


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nothing",), 3, "no run and no model file"),
        (("garbage.safetensors",), 3, "damaged"),
        (("moons", "-n", "5"), 2, "-n"),
        (("moons", "--calls", "0"), 2, "--calls"),
        (("moons", "--seconds", "0"), 2, "--seconds"),
        (("moons", "--agreement", "2"), 2, "--agreement"),
    ],
)
def test_wrong_words_are_answered_in_one_line(
    mezzotint: Call, desk: Path, words: tuple[str, ...], code: int, says: str
) -> None:
    answer = mezzotint("tune", *words)
    assert answer.code == code and answer.err.count("\n") == 1 and says in answer.err
