"""Evaluating from the command line: runs, files and folders side by side, on equal terms, and what is written."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_workshop import Call, contents

from mezzotint import config as configuration
from mezzotint.evaluate.evaluation import quality
from mezzotint.evaluate.judges import classifier
from mezzotint.evaluate.metrics.numbers import Number
from mezzotint.evaluate.reference import open_judge, open_reference
from mezzotint.evaluate.table import format_number
from mezzotint.model.device import find_device
from mezzotint.model.loading import load


@pytest.fixture(autouse=True, scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the tests' own, and judges of a second's training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MEZZOTINT_CACHE", str(tmp_path_factory.mktemp("kept")))
        patch.setattr(classifier, "budget", lambda count: 3000)
        yield


def rows(out: str) -> dict[str, list[str]]:
    """The rows of the table by their names."""
    lines = (line.split("  ") for line in out.splitlines())
    return {words[0].strip(): [w.strip() for w in words[1:] if w.strip()] for words in lines if words[0]}


def test_a_run(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("evaluate", "digits", "-n", 100)
    assert answer.code == 0, answer.err
    assert (
        "reference: all 1,797 pictures of digits, training pictures included. A model that copies scores well"
        in answer.out
    )
    assert "features (the judge): classifier " in answer.out and "n = 100" in answer.out
    found = rows(answer.out)
    assert {"frechet distance", "kernel distance", "precision", "recall", "class agreement", "copies"} <= set(
        found
    )
    assert found["class agreement"][0] == "↑" and " to " in found["class agreement"][2]
    # what was found lies in the run, for its report
    kept = json.loads(Path("runs/digits/evaluation.json").read_text())
    assert kept["n"] == 100 and kept["numbers"]["frechet distance"]["value"] > 0
    assert json.loads(Path("runs/digits/memorization.json").read_text())["n"] == 100
    assert Path("runs/digits/memorization.png").is_file()


def test_several_sources_make_one_table(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("sample", "digits", "-n", 100, "--class", "all", "-o", "same.npz")
    assert answer.code == 0, answer.err
    answer = mezzotint("evaluate", "digits", "same.npz", "plain", "-n", 100, "--report", "page.html")
    assert answer.code == 0, answer.err
    found = rows(answer.out)
    assert any(line.split() == ["real", "digits", "same.npz", "plain"] for line in answer.out.splitlines())
    first, second = found["frechet distance"][-3:-1]
    assert first == second  # the same pictures by another way, the same number
    assert found["class agreement"][-1] == "-"  # of a model without classes
    html = Path("page.html").read_text()
    assert "page.html: numbers, samples, and the training pictures nearest to them" in answer.err
    assert html.count("<h2>") == 4 and html.count("data:image/png;base64,") == 6 and "<svg" in html


def test_json_stands_for_its_source_later(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("evaluate", "digits", "-n", 60, "--json", "--metrics", "frechet,agreement")
    assert answer.code == 0, answer.err
    (content,) = json.loads(answer.out)
    assert set(content["numbers"]) == {"frechet distance", "class agreement"}
    assert content["settings"]["steps"] == 4 and content["settings"]["label"] == "all"
    Path("then.json").write_text(answer.out)
    answer = mezzotint("evaluate", "plain", "then.json", "-n", 60, "--metrics", "frechet")
    assert answer.code == 0, answer.err
    distance = Number("frechet distance", **content["numbers"]["frechet distance"])
    assert format_number(distance) in answer.out
    words = ("evaluate", "plain", "then.json", "-n", 60, "--metrics", "frechet", "--report", "page.html")
    answer = mezzotint(*words)
    assert "page.html: numbers and samples\n" in answer.err and "nearest" not in answer.err
    assert "nearest" not in Path("page.html").read_text()
    assert "page.html: numbers\n" in mezzotint("evaluate", "then.json", "--report", "page.html").err
    answer = mezzotint("evaluate", "plain", "then.json", "-n", 50, "--metrics", "frechet")
    assert answer.code == 2 and "cannot be compared: n is 60 and 50" in answer.err


def test_guided_by_a_weak_model(mezzotint: Call, desk: Path) -> None:
    """It is what `sample` makes so, it says so, and the run's own numbers stay."""
    weak = load("digits")
    with torch.no_grad():
        for weight in weak.net.parameters():
            weight.mul_(0.9)
    weak.save("weak.safetensors")
    so = ("--weak", "weak.safetensors", "--guidance", 3)
    answer = mezzotint("sample", "digits", "-n", 60, "--class", "all", *so, "-o", "same.npz")
    assert answer.code == 0, answer.err
    before = contents(Path("runs/digits"))
    words = ("evaluate", "digits", "same.npz", "-n", 60, "--metrics", "frechet")
    answer = mezzotint(*words, *so, "--json", "--report", "page.html")
    assert answer.code == 0, answer.err
    guided, same = json.loads(answer.out)
    assert guided["numbers"] == same["numbers"]
    assert guided["settings"]["weak"]["model"] == "weak" and guided["settings"]["guidance"] == 3
    assert contents(Path("runs/digits")) == before
    line = "with the weak model weak, ema 0.1, step 20"
    assert (
        line in Path("page.html").read_text() and f"digits was sampled {line}" in mezzotint(*words, *so).out
    )
    (plain,) = json.loads(mezzotint(*words[:2], *words[3:], "--guidance", 3, "--json").out)
    assert plain["numbers"] != guided["numbers"] and "weak" not in plain["settings"]


def test_the_same_command_gives_the_same_numbers(mezzotint: Call, desk: Path) -> None:
    words = ("evaluate", "digits", "-n", 60, "--json", "--metrics", "frechet,kernel", "--seed")
    one, two, other = (json.loads(mezzotint(*words, seed).out)[0]["numbers"] for seed in (3, 3, 4))
    assert one == two and one != other


def test_points(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("evaluate", "moons", "-n", 500)
    assert answer.code == 0, answer.err
    found = rows(answer.out)
    assert "the density of moons" in answer.out
    assert {"energy distance", "log-likelihood"} <= set(found)


def test_bits_of_real_pictures_on_request(
    mezzotint: Call, desk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzotint.evaluate.bits.MAX_PICTURES", 4)
    answer = mezzotint("evaluate", "discrete.v1", "-n", 20, "--json", "--metrics", "vlb,ode")
    assert answer.code == 0, answer.err
    numbers = json.loads(answer.out)[0]["numbers"]
    assert set(numbers) == {"bits/dim, bound", "bits/dim, ODE"}
    assert all(0.1 < number["low"] < number["high"] < 30 for number in numbers.values())


def test_pictures_of_a_folder_against_a_known_set(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("sample", "digits", "-n", 40, "--class", "all", "-o", "some")
    assert answer.code == 0, answer.err
    before = contents(Path("some"))
    answer = mezzotint("evaluate", "some", "-n", 40, "--data", "digits", "--metrics", "frechet")
    assert answer.code == 0, answer.err
    assert "frechet distance" in rows(answer.out) and contents(Path("some")) == before


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["nowhere"], 3, "no run and no model file is called 'nowhere'"),
        (
            ["few"],
            2,
            "few is no model; to measure pictures in it, give real ones to compare with: --data NAME",
        ),
        (["few", "-n", "10", "--data", "digits"], 3, "few has 6, fewer than n = 10; add -n 6"),
        (["digits", "--metrics", "fid"], 2, "fid is not a metric; choose from frechet"),
        (["digits", "--extractor", "vgg"], 2, "--extractor vgg is not one of auto"),
        (["digits", "--extractor", "inception=few"], 3, "cannot read the weights few"),
        (["digits", "--report", "page.pdf"], 2, "ends in .html"),
        (["digits", "moons"], 2, "learned from different data"),
        (["digits", "nothing.json"], 3, "there is no file nothing.json"),
        (["list.yaml"], 3, "list.yaml"),
        (["digits", "-n", "3"], 2, "too few"),
        (["few", "--data", "digits", "--guidance", "3"], 2, "--weak and --guidance are for models"),
        (["digits", "--weak", "7"], 3, "has no snapshot of step 7"),
    ],
)
def test_wrong_words(mezzotint: Call, desk: Path, words: list[str], code: int, says: str) -> None:
    answer = mezzotint("evaluate", *words)
    assert answer.code == code and says in answer.err
    assert answer.err.count("\n") == 1 and "Traceback" not in answer.err


def test_quality_is_a_part_of_the_evaluation(desk: Path) -> None:
    """What tuning asks for has the numbers that `evaluate` prints."""
    model = load("digits")
    reference = open_reference(configuration.parse({"data": {"name": "digits"}}).data)
    judge = open_judge("auto", reference, find_device("cpu"))
    found = quality(model, judge, reference, n=80, seed=1)
    assert set(found) == {"frechet distance", "class agreement"}
    assert found == quality(model, judge, reference, n=80, seed=1)
    assert found != quality(model, judge, reference, n=80, seed=1, steps=2)
    assert np.isfinite(list(found.values())).all()
