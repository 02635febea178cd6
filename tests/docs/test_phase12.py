"""Phase 12 of the guide, clips: its solutions, and what the page says in words."""

import re
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest
from helpers_modules import module_of

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGE = GUIDE / "12-clips.md"


def module(name: str) -> ModuleType:
    return module_of(GUIDE / name / "phase12.py")


solutions = module("solutions")


def test_12_1_frames_are_readable_at_more_noise() -> None:
    found = [solutions.exercise_12_1(frames) for frames in (1, 4, 16)]
    assert found == pytest.approx([3.68, 7.83, 18.45], rel=0.01)
    assert all(2 <= later / earlier < 2.5 for earlier, later in pairwise(found))


def test_12_2_two_steps_are_cheaper() -> None:
    assert solutions.exercise_12_2() == pytest.approx(12.8)
    assert solutions.exercise_12_2(10_000) == pytest.approx(64, rel=0.01)


def test_12_3_what_stands_still_is_straight() -> None:
    away, still, real = solutions.exercise_12_3()
    assert away < 0.1 and still == pytest.approx(0, abs=1e-9)
    assert 0.6 <= real <= 2.4


def test_pictures_are_there_and_small() -> None:
    names = re.findall(r"\]\(figures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(names) == 2
    for name in names:
        assert 0 < (GUIDE / "figures" / name).stat().st_size < 150_000
