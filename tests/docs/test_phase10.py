"""Phase 10 of the guide, editing: its solutions, and what the page says in words."""

import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers_modules import module_of

from mezzotint import Gaussian
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.process import flow, vp
from mezzotint.diffusion.schedule import grid, karras, linear_time
from mezzotint.tasks.generate import seeds_from
from mezzotint.tasks.task import Task, Way

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGE = GUIDE / "10-editing.md"


def module(name: str) -> ModuleType:
    return module_of(GUIDE / name / "phase10.py")


solutions = module("solutions")


@pytest.mark.parametrize(("strength", "kept"), [(0.2, 0.97), (0.4, 0.83), (0.6, 0.55), (0.8, 0.24)])
def test_10_1_strength_says_how_much_is_left(strength: float, kept: float) -> None:
    formula, measured = solutions.exercise_10_1(strength)
    assert formula == pytest.approx(kept, abs=0.006)
    assert measured == pytest.approx(formula, abs=0.04)  # about three standard errors


def test_10_2_naive_inversion_shrinks() -> None:
    """And the formula is what walking does: up by the belief at hand, down again."""
    assert (solutions.exercise_10_2(20), solutions.exercise_10_2(40)) == pytest.approx(
        (0.237, 0.124), abs=1e-3
    )
    zero = torch.zeros(1, dtype=torch.float64)
    exact, hop = Gaussian(vp, zero, zero + 1), Hop(vp, torch.tensor(0.0), lambda draw: zero)
    stops = grid("karras", 20, karras())[:-1]
    x = begun = torch.ones(1, 1, dtype=torch.float64)
    for t, s in pairwise(stops.flip(0)):
        x = hop(x, exact(x, t), t, s)
    for s, t in pairwise(stops):
        x = hop(x, exact(x, s), s, t)
    assert 1 - float(x / begun) == pytest.approx(solutions.exercise_10_2(20), abs=1e-9)


def test_10_3_the_variance_tells_of_what_the_mean_hides() -> None:
    for steering, returns, variance in (
        (False, 1, 0.30),
        (False, 4, 0.10),
        (True, 1, 0.147),
        (True, 4, 0.088),
    ):
        mean, spread = solutions.exercise_10_3(steering, returns)
        assert mean == pytest.approx(0, abs=0.03)
        assert spread == pytest.approx(variance, rel=0.1)


def test_weak_noise_ends_as_a_weak_sample() -> None:
    """Of section 5."""
    n, zero = 4000, torch.zeros(1, dtype=torch.float64)
    z = torch.randn(n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    way = Way(flow, linear_time, (1,), "dpmpp_2m", 40, "time")
    task = Task(noise=z * 0.5**0.5)
    *_, last = alone(Gaussian(flow, zero, zero + 1), task.steps(way, seeds_from(0, n, torch.device("cpu"))))
    assert float(last.x.var() / z.var()) == pytest.approx(0.5, abs=0.01)


def test_pictures_are_there_and_small() -> None:
    names = re.findall(r"\]\(figures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(names) == 4
    for name in names:
        assert 0 < (GUIDE / "figures" / name).stat().st_size < 150_000
