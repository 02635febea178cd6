"""Phase 8 of the guide, few steps: its solutions, and what the page says in words."""

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers_modules import module_of

from mezzotint import Gaussian, exact_flow
from mezzotint.diffusion.flowmap import secant
from mezzotint.diffusion.process import flow
from mezzotint.diffusion.schedule import grid, linear_time

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGE = GUIDE / "8-few-steps.md"


def module(name: str) -> ModuleType:
    return module_of(GUIDE / name / "phase8.py")


solutions = module("solutions")


@pytest.mark.parametrize(("steps", "variance"), [(1, 0.0), (2, 0.25), (4, 0.5184), (8, 0.7239)])
def test_8_1_a_walk_of_few_steps_is_too_narrow(steps: int, variance: float) -> None:
    formula, samples = solutions.exercise_8_1(steps)
    assert formula == pytest.approx(variance, abs=1e-4)
    assert samples == pytest.approx(formula, abs=1e-9)


def test_8_2_weights_of_a_walk() -> None:
    before, whole = solutions.exercise_8_2()
    assert before.tolist() == sorted(before.tolist()) and float(before.sum()) == pytest.approx(1)
    assert (float(before[0]), float(before[-1])) == pytest.approx((0.0204, 0.5714), abs=1e-4)
    assert whole.tolist() == [0] * 7 + [1]
    ratio = (grid("time", 8, linear_time)[:-1] / 2).exp()
    assert before.tolist() == pytest.approx((ratio.diff() / (ratio[-1] - ratio[0])).tolist())


def test_8_3_consistency_models_learn_with_and_without_a_teacher() -> None:
    for taught in (False, True):
        one, two, four = solutions.exercise_8_3(taught, steps=100)
        assert max(one, two, four) < 0.1  # 0.87 for a denoiser's one call


def test_a_gaussian_consistency_model_is_the_square_root_of_its_denoiser() -> None:
    """Of section 3, with y = x / alpha."""
    zero = torch.zeros(1, dtype=torch.float64)
    exact, level = Gaussian(flow, zero, zero + 0.7), torch.tensor(-2.0, dtype=torch.float64)
    x = torch.randn(5, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    (alpha, _), ratio = flow(level), 0.7 / (0.7 + (-level).exp())
    torch.testing.assert_close(exact(x, level), ratio * x / alpha)
    clean = torch.tensor(torch.inf, dtype=torch.float64)
    end = exact_flow(exact, x, level, clean)
    torch.testing.assert_close(end, ratio.sqrt() * x / alpha)
    torch.testing.assert_close(secant(flow, x, end, level, clean), end)


def test_pictures_are_there_and_small() -> None:
    names = re.findall(r"\]\(figures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(names) == 3
    for name in names:
        assert 0 < (GUIDE / "figures" / name).stat().st_size < 150_000
