"""Phase 11 of the guide, larger pictures: its solutions, and what the page says in words."""

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers_modules import module_of

from mezzotint.data import load_pictures, to_model

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGE = GUIDE / "11-larger-pictures.md"


def module(name: str) -> ModuleType:
    return module_of(GUIDE / name / "phase11.py")


solutions = module("solutions")


def test_11_1_numbers_for_thirty_decibels() -> None:
    assert solutions.exercise_11_1() == (40, 64)
    digits = load_pictures("digits")
    x = to_model(digits.batch(torch.arange(len(digits)))[0]).flatten(1).double()
    left = x - x.mean(0)
    basis = torch.linalg.svd(left, full_matrices=False)[2]
    for k, enough in ((40, True), (39, False)):
        error = (left - left @ basis[:k].T @ basis[:k]).square().mean()
        assert (-10 * torch.log10(error / 4) >= 30) == enough


@pytest.mark.parametrize("tokens", [64, 384, 1024])
def test_11_2_a_block_costs_what_the_formula_says(tokens: int) -> None:
    counted, formula, share = solutions.exercise_11_2(tokens)
    assert counted == pytest.approx(formula, rel=0.02)
    assert share == pytest.approx(tokens / (tokens + 384))


def test_11_3_a_deviation_is_a_shift_of_levels() -> None:
    difference, moved = solutions.exercise_11_3()
    assert difference < 1e-12
    assert moved == pytest.approx(3.41, abs=0.01)


def test_pictures_are_there_and_small() -> None:
    names = re.findall(r"\]\(figures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(names) == 2
    for name in names:
        assert 0 < (GUIDE / "figures" / name).stat().st_size < 150_000
