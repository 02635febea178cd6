"""A student from the command line: trained, gone on with, sampled, measured, tuned."""

import json
from pathlib import Path

import pytest
from helpers_workshop import FAST, Call

SMALL = ("train.batch_size=64", *FAST)  # held-out pictures and points cost the most, by the batch


def test_a_student_is_a_run_like_any_other(
    mezzotint: Call, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    teacher = store / "runs" / "digits"
    few = (*SMALL, "data.limit=64")
    assert mezzotint("distil", teacher, *few, "--steps", 3).code == 0
    run = tmp_path / "runs" / "digits_fast"
    assert "a student of digits" in (run / "log.txt").read_text()
    report = (run / "report.html").read_text()
    assert "teacher" in report and "dpmpp_2m, 8 steps, guidance" in report
    again = mezzotint("distil", teacher, *few, "--steps", 3)
    assert again.code == 0 and "already trained to step 3" in again.out
    more = mezzotint("distil", teacher, *few, "--steps", 5, "--resume")
    assert more.code == 0 and "resuming from step 3" in more.out

    for calls in (1, 8):
        made = mezzotint("sample", "digits_fast", "-n", 2, "--steps", calls, "-o", f"{calls}.png")
        assert made.code == 0, made.err
    refused = mezzotint("sample", "digits_fast", "-n", 2, "--guidance", 2)
    assert refused.code == 2 and "baked into this student" in refused.err


def test_what_cannot_be_distilled_is_said(mezzotint: Call, desk: Path) -> None:
    for words, line in (
        (("distil", "digits", "--calls", 3), "--calls must be 1, 2, 4 or 8, not 3"),
        (("distil", "digits", "--method", "magic"), "map, progressive, consistency"),
        (("distil", "digits", "--name", "a/b"), "must be the name of one folder"),
        (("evaluate", "mnist_fast", "--metrics", "vlb"), "a student has none"),
        (("train", "digits", "objective=progressive"), "mezzotint distil RUN"),
    ):
        answer = mezzotint(*words)
        assert answer.code == 2 and line in answer.err and answer.err.count("\n") == 1, answer.err
    assert mezzotint("distil", "nobody").code == 3


def test_meanflow_from_a_recipe(mezzotint: Call, desk: Path) -> None:
    """By itself and with classes dropped, so that it can be guided."""
    words = ("train", "moons", "objective=meanflow", "network.width=16", "network.depth=1", *FAST)
    answer = mezzotint(
        *words, "--batch-size", 32, "--steps", 3, "--out", "students", "sample.sampler=ddim", "sample.steps=1"
    )
    assert answer.code == 0, answer.err
    assert mezzotint("sample", "students/moons", "-n", 20, "--steps", 2, "-o", "points.png").code == 0


def test_points_and_the_search_for_settings(
    mezzotint: Call, store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`tune` leaves a student's guidance alone, and tries the samplers that students are made for."""
    monkeypatch.chdir(tmp_path)
    assert mezzotint("distil", store / "runs" / "moons", *SMALL, "--steps", 3).code == 0
    tuned = mezzotint("tune", "moons_fast", "--quick", "-n", 100, "--calls", 2)
    assert tuned.code == 0, tuned.err
    trials = json.loads((tmp_path / "runs" / "moons_fast" / "tune.json").read_text())["trials"]
    assert "consistency" in str(trials) and '"guidance": 1.5' not in json.dumps(trials)
