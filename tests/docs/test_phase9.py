"""Phase 9 of the guide, words: its solutions, and what the page says in words."""

import re
from pathlib import Path
from types import ModuleType

import pytest
from helpers_modules import module_of

from mezzotint.evaluate.metrics.share import Share

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGE = GUIDE / "9-words.md"


def module(name: str) -> ModuleType:
    return module_of(GUIDE / name / "phase9.py")


solutions = module("solutions")


def test_9_1_start_keeps_gradients_finite() -> None:
    assert solutions.exercise_9_1(False) == (True, False)
    assert solutions.exercise_9_1(True) == (True, True)


def test_9_2_captions_that_tell_two_models_apart() -> None:
    unpaired, paired = solutions.exercise_9_2()
    assert (unpaired, paired) == (1050, 284)
    n = unpaired - 50
    assert Share.of(round(0.86 * n), n).high > Share.of(round(0.9 * n), n).low


def test_9_3_chance() -> None:
    across, right = solutions.exercise_9_3()
    assert across == pytest.approx(0.18, abs=0.03)
    assert right == pytest.approx((1 + 2 * across) / 4, abs=1e-9)


def test_9_4_the_sketch_is_the_mean_picture() -> None:
    error, spread = solutions.exercise_9_4()
    assert error < 0.15 * spread


def test_pictures_are_there_and_small() -> None:
    names = re.findall(r"\]\(figures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(names) == 3
    for name in names:
        assert 0 < (GUIDE / "figures" / name).stat().st_size < 150_000
