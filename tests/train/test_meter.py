"""Intervals fall due when they should, and the meter reads what was put in."""

import json
import math

import pytest
import torch

from mezzotint.train import meter as module
from mezzotint.train.loop import LEVELS, Progress
from mezzotint.train.meter import Every, Meter


def due(text: str, until: int, epoch: float) -> list[int]:
    every = Every.parse(text, until, epoch)
    return [step for step in range(1, until + 1) if every(step, until)]


@pytest.mark.parametrize(
    ("text", "until", "epoch", "steps"),
    [
        ("3 steps", 10, 99.0, [3, 6, 9, 10]),
        ("1 step", 3, 99.0, [1, 2, 3]),
        ("20%", 10, 99.0, [2, 4, 6, 8, 10]),
        ("30%", 10, 99.0, [3, 6, 9, 10]),
        ("2 epochs", 12, 2.5, [5, 10, 12]),
        ("0.5 epochs", 6, 4.0, [2, 4, 6]),
        ("1%", 10, 99.0, list(range(1, 11))),  # no more often than every step
        ("500 steps", 4, 99.0, [4]),  # always at the end
        ("100%", 7, 99.0, [7]),
        (" 50 % ", 4, 99.0, [2, 4]),
    ],
)
def test_intervals(text: str, until: int, epoch: float, steps: list[int]) -> None:
    assert due(text, until, epoch) == steps


def progress(loss: float, level: int = 0, skipped: bool = False) -> Progress:
    """A step with one loss, at one of the levels."""
    levels = torch.zeros(2, LEVELS)
    levels[:, level] = torch.tensor([loss, 1.0])
    flag = torch.tensor(float(skipped))
    return Progress(0, torch.tensor(loss), levels, torch.tensor(1.0), flag, 1e-3)


def test_the_mean_is_that_of_the_losses_since_the_last_reading() -> None:
    meter = Meter()
    for loss in (1.0, 2.0, 6.0):
        meter.add(progress(loss))
    assert meter.read(3).loss == 3.0
    meter.add(progress(5.0))
    assert meter.read(4).loss == 5.0


def test_levels_are_told_apart() -> None:
    meter = Meter()
    for loss, level in ((1.0, 0), (3.0, 0), (8.0, 5)):
        meter.add(progress(loss, level))
    reading = meter.read(3)
    assert reading.levels == [2.0, None, None, None, None, 8.0, None, None]
    assert reading.loss == 4.0


def test_skipped_steps_are_named_and_do_not_count() -> None:
    meter = Meter()
    for i in range(6):
        meter.add(progress(float("nan") if i in (1, 4, 5) else 2.0, skipped=i in (1, 4, 5)))
    assert meter.skipped_in_a_row() == 2
    reading = meter.read(106)  # steps 101 to 106
    assert (reading.loss, reading.skipped) == (2.0, [102, 105, 106])
    assert meter.skipped_in_a_row() == 2  # in a row, over readings
    meter.add(progress(float("inf"), skipped=True))
    assert meter.skipped_in_a_row() == 3
    assert math.isnan(meter.read(107).loss)
    meter.add(progress(1.0))
    assert meter.skipped_in_a_row() == 0


def test_what_was_not_read_survives_a_resume() -> None:
    losses = torch.rand(7).tolist()
    whole, first = Meter(), Meter()
    for i, loss in enumerate(losses):
        whole.add(progress(loss, i))
    for i, loss in enumerate(losses[:4]):
        first.add(progress(loss, i))
    second = Meter(json.loads(json.dumps(first.pending_rows())))
    for i, loss in enumerate(losses[4:], 4):
        second.add(progress(loss, i))
    assert second.pending_rows() == whole.pending_rows() and len(whole.pending_rows()) == 7
    assert second.read(7)[:3] == whole.read(7)[:3]
    assert second.pending_rows() == []


def test_speed_counts_this_sessions_steps_and_leaves_out_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    earlier = Meter()
    earlier.add(progress(1.0))
    meter = Meter(3 * earlier.pending_rows())  # steps of an earlier session took none of this one's time
    for _ in range(6):
        meter.add(progress(1.0))
        now[0] += 0.5
        with meter.paused():
            now[0] += 10.0
    assert meter.read(9).speed == pytest.approx(2.0)
    meter.add(progress(1.0))
    now[0] += 0.25
    assert meter.read(10).speed == pytest.approx(4.0)
