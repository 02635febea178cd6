"""Each rule speaks up about a run made to show its trouble, and about that alone; a healthy run hears none."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mezzotint import config as configuration
from mezzotint.studies.report.rules import Remark, RunHistory, Topic, findings

TROUBLESHOOTING = Path(__file__).resolve().parents[3] / "docs" / "troubleshooting.md"
CONFIG = configuration.load("digits")
BATCH = CONFIG.train.batch_size
Row = dict[str, Any]


def healthy(n: int = 100) -> list[Row]:
    """A run of n logged rows, with the held-out loss in every tenth, as it should be."""
    rows = []
    for k in range(1, n + 1):
        t = k / n
        level = [0.1 * (i + 1) * (0.3 + math.exp(-8 * t)) for i in range(8)]
        row: Row = {"step": 50 * k, "loss": sum(level) / 8, "grad_norm": 0.5, "images_per_second": 1000.0}
        row |= {"loss_by_level": level}
        if k % 10 == 0:
            row |= {"val_loss": 1.05 * row["loss"], "val_loss_by_level": [1.05 * v for v in level]}
            row |= {"ema_gap": 0.001, "noise_scale": 2.0 * BATCH}
        rows.append(row)
    return rows


def say(rows: list[Row], **more: Any) -> list[Remark]:
    return findings(RunHistory(rows, CONFIG, until=rows[-1]["step"] if rows else None, **more))


def test_a_healthy_run_is_told_so() -> None:
    found = say(healthy(), memorization={"flagged": False, "copied": 0.01, "n": 400})
    assert {finding.kind for finding in found} == {"good"}
    texts = " ".join(finding.text for finding in found)
    for word in (
        "No sign of trouble",
        "at or near its lowest",
        "lowers the held-out loss by 0.001",
        "No sign of copying: 4 of 400 samples are suspiciously close to a training picture.",
    ):
        assert word in texts


def overfitted(rows: list[Row]) -> None:
    for row in rows:
        if "val_loss" in row and row["step"] > 2500:
            row["val_loss"] *= 1 + (row["step"] - 2500) / 10_000


def astray(rows: list[Row]) -> None:
    for row in rows:
        for key in ("loss", "val_loss"):
            if key in row and row["step"] > 2500:
                row[key] *= 1 + (row["step"] - 2500) / 5_000


def too_short(rows: list[Row]) -> None:
    for row in rows:
        if "val_loss" in row:
            row["val_loss"] = 1000 / row["step"]


def by_heart_at_one_level(rows: list[Row]) -> None:
    for row in rows:
        if "val_loss_by_level" in row:
            row["val_loss_by_level"][5] *= 1.5


def set_all(key: str, value: float, since: int = 0) -> Callable[[list[Row]], None]:
    def change(rows: list[Row]) -> None:
        for row in rows:
            if key in row and row["step"] >= since:
                row[key] = value

    return change


def spike(rows: list[Row]) -> None:
    rows[60]["loss"] *= 3


def skip(rows: list[Row]) -> None:
    rows[40]["skipped"], rows[50]["skipped"] = 2, 1


@pytest.mark.parametrize(
    ("change", "kind", "topic", "words"),
    [
        (skip, "problem", Topic.NAN, "of 3 of 5,000 steps was not finite (first seen at step 2,050)"),
        (set_all("loss", math.nan, 3000), "problem", Topic.NAN, "not finite from step 3,000 on"),
        (overfitted, "problem", Topic.COPIES, "lowest at step 2,500"),
        (astray, "problem", Topic.STUCK, "training diverged"),
        (set_all("loss", 0.5), "problem", Topic.STUCK, "does not fall: 0.5 at the first row, 0.5 at the end"),
        (too_short, "advice", Topic.BLURRY, "fell by 30% over the last quarter"),
        (by_heart_at_one_level, "advice", Topic.COPIES, "At noise level 6 of 8"),
        (spike, "advice", Topic.NAN, "jumps in 1 of 100 logged rows, at step 3,050 to 3.0 times"),
        (set_all("grad_norm", 2.5), "advice", Topic.STUCK, "clipped at 100%"),
        (
            set_all("images_per_second", 600.0, 3000),
            "advice",
            Topic.SLOW,
            "from 1,000 to 600 pictures a second",
        ),
        (set_all("ema_gap", -0.01, 5000), "advice", Topic.BLURRY, f"train.ema={CONFIG.train.ema / 2:g}"),
        (set_all("noise_scale", 20.0 * BATCH), "advice", Topic.SLOW, f"20 times the batch of {BATCH}"),
        (set_all("noise_scale", BATCH / 8), "advice", Topic.SLOW, f"far below the batch of {BATCH}"),
    ],
)
def test_a_trouble_is_named_and_no_other(
    change: Callable[[list[Row]], None], kind: str, topic: Topic, words: str
) -> None:
    rows = healthy()
    change(rows)
    (found,) = [finding for finding in say(rows) if finding.kind != "good"]
    assert (found.kind, found.topic) == (kind, topic) and words in found.text


def test_copies_come_first() -> None:
    rows = healthy()
    spike(rows)
    found = say(rows, memorization={"flagged": True, "copied": 0.25, "n": 64})
    assert (
        found[0].kind == "problem"
        and "16 of 64 samples are suspiciously close to a training picture" in found[0].text
    )
    assert [f.kind for f in found] == sorted((f.kind for f in found), key=["problem", "advice", "good"].index)


def test_a_run_that_was_stopped_is_not_told_to_go_on_for_longer() -> None:
    rows = healthy()
    too_short(rows)
    assert all(f.topic != Topic.BLURRY for f in findings(RunHistory(rows, CONFIG, until=10_000)))


def test_an_average_given_as_a_decay_is_spoken_of_as_one() -> None:
    rows = healthy()
    set_all("ema_gap", -0.01)(rows)
    config = configuration.load("digits", ["train.ema_decay=0.999"])
    found = findings(RunHistory(rows, config))
    assert any("a lower train.ema_decay" in f.text for f in found)


@pytest.mark.parametrize("rows", [[], healthy(3), [{"step": k} for k in range(1, 40)]])
def test_from_next_to_nothing_nothing_is_concluded(rows: list[Row]) -> None:
    (found,) = say(rows)
    assert "Too few rows" in found.text


@pytest.mark.parametrize(
    "missing", ["loss", "val_loss", "loss_by_level", "grad_norm", "images_per_second", "ema_gap"]
)
def test_rules_do_without_a_column(missing: str) -> None:
    rows = [{key: value for key, value in row.items() if key != missing} for row in healthy()]
    assert not any(f.kind == "problem" for f in say(rows))


def test_every_link_has_its_heading() -> None:
    if not TROUBLESHOOTING.is_file():
        pytest.skip("there is no docs/troubleshooting.md in this installation")
    headings = re.findall(r"^#+ (.+)$", TROUBLESHOOTING.read_text(encoding="utf-8"), re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(Topic) <= anchors
