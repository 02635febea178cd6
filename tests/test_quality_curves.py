"""The benchmark of quality for time: its clock, its marks, and what it says about curves."""

from typing import Any

import contenders
import pytest
import quality
import torch


class Watch:
    """Time that passes only when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def perf_counter(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


time = Watch()


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contenders, "time", time)


def fake(seconds: float, steps: int | None, drawing: float = 0.0) -> contenders.Start:
    """A loop whose step takes so long."""
    net = torch.nn.Identity()

    def draw() -> tuple[Any, None]:
        time.sleep(drawing)
        return net(net(torch.zeros(5, 1, 2, 2))), None

    return lambda now: contenders.Contender(lambda n: time.sleep(n * seconds), draw, lambda: net, 3, steps)


def points(start: contenders.Start, *marks: float) -> list[dict[str, float]]:
    kept: list[int] = []
    found = contenders.record(start, marks, lambda number, pictures, labels: kept.append(number))["points"]
    assert kept == [*range(len(found))]
    return found


def test_the_clock_stands_still_while_pictures_are_drawn() -> None:
    first, second = points(fake(0.01, None, drawing=0.3), 0.05, 0.1)
    assert first["seconds"] == pytest.approx(0.08) and second["seconds"] == pytest.approx(0.12)
    assert first["calls"] == 2 and first["pictures"] % (3 * contenders.STEPS_A_LOOK) == 0


def test_making_the_loop_counts() -> None:
    def slow(now: contenders.Seconds) -> contenders.Contender:
        time.sleep(0.2)
        return fake(0.001, None)(now)

    (only,) = points(slow, 0.25)
    assert only["seconds"] == pytest.approx(0.252) and only["pictures"] == 3 * 52


def test_planned_steps_end_a_loop_before_or_after_its_last_mark() -> None:
    early = points(fake(0.001, 6), 0.1, 0.2, 0.3)
    assert [point["pictures"] for point in early] == [18]
    late = points(fake(0.005, 30), 0.02, 0.04)
    assert late[-1]["pictures"] == 90 and late[-1]["seconds"] == pytest.approx(0.15)


def test_a_loop_that_looks_at_the_clock_may_change_its_steps() -> None:
    def looking(now: contenders.Seconds) -> contenders.Contender:
        one = fake(0.001, 8)(now)

        def train(count: int) -> None:
            time.sleep(0.001 * count)
            one.steps = 20 if now() > 0.005 else 8

        one.train = train
        return one

    (only,) = points(looking, 0.1)
    assert only["pictures"] == 3 * 20


def test_seconds_until_good_lie_on_a_line_in_logarithms() -> None:
    power = [(s, 300 / s) for s in (10.0, 40.0, 250.0)]
    assert quality.until_good(power) == pytest.approx(100)
    assert quality.until_good(power, 30) == 10  # at most
    assert quality.until_good(power, 1) is None


def test_ours_is_compared_with_the_best_peer_and_with_nobody_else() -> None:
    curves = {
        "ours": [(10.0, 9.0), (90.0, 1.0)],
        "ours-plain": [(10.0, 2.0)],
        "diffusers": [(10.0, 30.0), (300.0, 1.0)],
        "smalldiffusion": [(10.0, 3.5), (60.0, 3.0)],
    }
    found = quality.compared(curves)
    assert found["best peer"] == "smalldiffusion" and found["peer"] == 60 and not found["least"]
    assert found["ours"] == pytest.approx(30) and found["ratio"] == pytest.approx(0.5)
    assert quality.told([found]) == "ours 30, best peer (smalldiffusion) 60, ratio 0.50"
    found = quality.compared({"ours": curves["ours"], "diffusers": [(10.0, 30.0), (120.0, 8.0)]})
    assert quality.told([found]) == "ours 30, best peer (no peer reaches it) >= 120, ratio <= 0.25"
    assert quality.told([quality.compared({"ours": [(1.0, 4.0)]})]) == "ours: not reached"
    assert quality.told([quality.compared({"ours": curves["ours"]})]) == "ours 30"


def test_a_contender_that_failed_is_a_row() -> None:
    point = {"seconds": 5.0, "pictures": 64, "calls": 20.0, "own": {"ratio": 2.5, "recall": 0.7}}
    runs = [
        {"contender": "ours", "seed": 0, "points": [point]},
        {"contender": "diffusers", "seed": 0, "points": [], "failed": "no"},
    ]
    assert "| failed" in quality.table(runs, ["own"]) and "2.50" in quality.table(runs, ["own"])
    assert quality.picture(runs, ["own"]).size[0] > 100
    assert [one["ours"] for one in quality.summary(runs, "own")] == [5.0]


def test_batches_from_memory_are_mirrored_where_that_is_wanted() -> None:
    from throughput import Memory

    images = torch.zeros(1, 1, 2, 2, dtype=torch.uint8)
    images[..., 0] = 255
    plain, flipped = (next(Memory(images, 64, flip).above(-1.0)) for flip in (False, True))
    assert plain.shape == (64, 1, 2, 2) and bool((plain[..., 0] == 1).all() and (plain[..., 1] == -1).all())
    assert 10 < int((flipped[:, 0, 0, 0] == -1).sum()) < 54
