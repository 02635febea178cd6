"""The solutions of phase 7 are right."""

from pathlib import Path
from types import ModuleType

import pytest
from helpers_modules import module_of

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"


def module(name: str) -> ModuleType:
    return module_of(GUIDE / name / "phase7.py")


solutions = module("solutions")


def test_7_1_shared_calls_are_those_of_the_longest() -> None:
    assert solutions.exercise_7_1() == (14, 26)


@pytest.mark.parametrize(("steps", "every"), [(20, 10.0), (20, 40.0), (10, 1.0)])
def test_7_2_by_the_step_nobody_waits_for_a_batch(steps: int, every: float) -> None:
    by_request, by_step, request_formula, step_formula = solutions.exercise_7_2(steps, every)
    assert by_request == pytest.approx(request_formula, rel=0.01)
    assert by_step == pytest.approx(step_formula, rel=0.01)
    assert by_step < by_request


def test_7_2_the_figures_of_the_page() -> None:
    assert solutions.exercise_7_2()[2:] == pytest.approx((29.37, 20.43), abs=0.01)
