"""Phase 13 of the guide, anywhere: its solutions, and what the page says in words."""

import re
from pathlib import Path
from types import ModuleType

import pytest
from helpers_modules import module_of

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGE = GUIDE / "13-anywhere.md"


def module(name: str) -> ModuleType:
    return module_of(GUIDE / name / "phase13.py")


solutions = module("solutions")


def test_13_1_rounding_errors_are_even() -> None:
    (predicted, measured), (_, finer) = solutions.exercise_13_1(8), solutions.exercise_13_1(9)
    assert measured == pytest.approx(predicted, rel=0.05)
    assert finer == pytest.approx(measured / 2, rel=0.05)


@pytest.mark.parametrize(("sampler", "counts"), [("ddim", (8, 0)), ("heun", (14, 0)), ("ddpm", (8, 7))])
def test_13_2_calls_and_draws(sampler: str, counts: tuple[int, int]) -> None:
    assert solutions.exercise_13_2(sampler) == counts


def test_13_2_a_multistep_solver_remembers() -> None:
    assert not solutions.remembers("ddim") and solutions.remembers("dpmpp_2m")


def test_pictures_are_there_and_small() -> None:
    names = re.findall(r"\]\(figures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(names) == 1
    for name in names:
        assert 0 < (GUIDE / "figures" / name).stat().st_size < 150_000
