"""Intervals fall due when they should, and the meter reads what was put in."""

import pytest
import torch

from mezzotint.train import meter as module
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


def test_the_mean_is_that_of_the_losses_since_the_last_reading() -> None:
    meter = Meter()
    for loss in (1.0, 2.0, 6.0):
        meter.add(torch.tensor(loss))
    assert meter.read()[0] == 3.0
    meter.add(torch.tensor(5.0))
    assert meter.read()[0] == 5.0


def test_what_was_not_read_survives_a_resume() -> None:
    losses = torch.rand(7)
    whole, first = Meter(), Meter()
    for loss in losses:
        whole.add(loss)
    for loss in losses[:4]:
        first.add(loss)
    second = Meter(first.unread())
    for loss in losses[4:]:
        second.add(loss)
    assert second.unread() == whole.unread() == losses.tolist()
    assert second.read()[0] == whole.read()[0]
    assert second.unread() == []


def test_speed_counts_this_sessions_steps_and_leaves_out_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(module.time, "perf_counter", lambda: now[0])
    meter = Meter([1.0, 1.0, 1.0])  # losses of an earlier session took none of this one's time
    for _ in range(6):
        meter.add(torch.tensor(1.0))
        now[0] += 0.5
        with meter.paused():
            now[0] += 10.0
    assert meter.read()[1] == pytest.approx(2.0)
    meter.add(torch.tensor(1.0))
    now[0] += 0.25
    assert meter.read()[1] == pytest.approx(4.0)
