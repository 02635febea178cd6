"""The solutions of phase 5 are right, and so is what its page says without showing it."""

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers_modules import module_of
from torch import Tensor

from mezzotint import Cond
from mezzotint.diffusion.guidance import Guidance, cfg

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGE = GUIDE / "5-conditioning-and-guidance.md"


def module(name: str) -> ModuleType:
    return module_of(GUIDE / name / "phase5.py")


solutions = module("solutions")


def test_5_1_the_grid_tells_what_a_picture_costs() -> None:
    assert solutions.exercise_5_1() == (20, 20)


@pytest.mark.parametrize(("mean", "variance", "scale"), [(1.0, 0.25, 3.0), (-0.5, 1.0, 2.0), (1.0, 0.5, 1.0)])
def test_5_2_guidance_moves_a_class_to_g_times_its_mean(mean: float, variance: float, scale: float) -> None:
    found, spread = solutions.exercise_5_2(mean, variance, scale)
    assert found == pytest.approx(scale * mean, abs=4 * (variance / 4000) ** 0.5)
    assert spread == pytest.approx(variance, rel=0.09)  # four standard errors


@pytest.mark.parametrize("scale", [1.0, 2.0, 3.0])
def test_5_3_autoguidance_cancels_an_error(scale: float) -> None:
    right, wrong = solutions.exercise_5_3(scale)
    assert right == pytest.approx(1.2 ** (2 - scale), rel=0.09)
    assert wrong == pytest.approx(1.2**scale * 4 ** (1 - scale), rel=0.09)


def test_5_4_ddnm_falls_short_and_repaint_makes_up() -> None:
    once, formula, often = solutions.exercise_5_4()
    assert formula == pytest.approx(0.3468, abs=1e-4)
    assert once == pytest.approx(formula, abs=0.05)
    assert 0.65 < often < 0.85


def test_5_4_is_exact_where_the_pixels_are_independent() -> None:
    once, formula, often = solutions.exercise_5_4(rho=0.0)
    assert (once, formula, often) == pytest.approx((0, 0, 0), abs=0.1)


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0, 3.0])
def test_guided_variance_is_a_product_of_powers(scale: float) -> None:
    """Of section 2: a^g b^(1 - g), and not the 1 / (g / a + (1 - g) / b) of p(x) p(y | x)^g."""
    belief = cfg(solutions.choice(solutions.gaussian(0.0, 1.0), solutions.gaussian(0.0, 2.0)))
    found = float(solutions.draw(belief, 4000, 1, solutions.LEVELS, scale).var())
    assert found == pytest.approx(2 ** (1 - scale), rel=0.09)


def test_guidance_off_is_the_class_to_the_bit() -> None:
    belief = solutions.choice(solutions.gaussian(1.0, 1.0), solutions.gaussian(0.0, 2.0))
    x, level = torch.randn(3, 1, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    label: Tensor = torch.zeros(3, dtype=torch.int64)
    guidance = Guidance(torch.ones(3, dtype=torch.float64), Cond(torch.tensor([1])))
    guided = cfg(belief)(x, level, Cond(label), guidance)
    assert guided.equal(belief(x, level, Cond(label)))


def test_pictures_are_there_and_small() -> None:
    names = re.findall(r"\]\(figures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(names) == 3
    for name in names:
        assert 0 < (GUIDE / "figures" / name).stat().st_size < 150_000
