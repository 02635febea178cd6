"""The solutions of phase 6 are right, and so is what its page says without showing it."""

import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers_modules import module_of

from mezzotint.evaluate.metrics.frechet import Moments, frechet_distance

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGE = GUIDE / "6-evaluation.md"


def module(name: str) -> ModuleType:
    return module_of(GUIDE / name / "phase6.py")


solutions = module("solutions")


def test_6_1_the_bias_of_the_frechet_distance() -> None:
    measured, predicted, inception, ours = solutions.exercise_6_1()
    assert measured == pytest.approx(predicted, rel=0.05)
    assert (predicted, inception, ours) == pytest.approx((0.42, 42.05, 0.09696), abs=0.005)


def test_6_1_its_formula_holds_for_features_that_are_not_white() -> None:
    variances = torch.tensor([9.0, 4.0, 1.0, 0.25, 0.01], dtype=torch.float64)
    random, n = torch.Generator().manual_seed(1), 400
    draws = [
        Moments.of(torch.randn(n, 5, generator=random, dtype=torch.float64) * variances.sqrt())
        for _ in range(600)
    ]
    measured = torch.tensor([frechet_distance(a, b) for a, b in zip(draws[::2], draws[1::2])]).mean()
    assert float(measured) == pytest.approx(2 * module("figures").bias(variances.diag()) / n, rel=0.1)


def test_6_2_moments_do_not_know_the_moons() -> None:
    found = solutions.exercise_6_2()
    blob, fresh = zip(*found.values())
    frechet, kernel, precision, recall, energy = blob
    assert frechet < 0.01 and abs(kernel) < 0.02 and recall > 0.95
    assert precision < 0.6 < 0.95 < fresh[2]
    assert energy > 10 * fresh[4]


def test_pictures_are_there_and_small() -> None:
    names = re.findall(r"\]\(figures/([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(names) == 2
    for name in names:
        assert 0 < (GUIDE / "figures" / name).stat().st_size < 150_000
