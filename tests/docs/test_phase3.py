"""The solutions of phase 3, training, are right."""

import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from helpers_modules import module_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def solutions() -> Iterator[ModuleType]:
    path = ROOT / "docs" / "guide" / "solutions" / "phase3.py"
    module = module_of(path)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield module
    torch.set_num_threads(threads)


def test_the_implied_weights_are_those_of_the_table(solutions: ModuleType) -> None:
    found = solutions.exercise_3_1()
    assert set(found) == {"x0", "eps", "v", "edm", "velocity", "edm is -v"}
    assert max(found.values()) < 1e-14


def test_regression_finds_the_posterior_mean_of_a_coin(solutions: ModuleType) -> None:
    found = solutions.exercise_3_2()
    assert found["formula"] == pytest.approx(math.tanh(math.sqrt(0.5)), abs=1e-12)
    assert found["ideal"] == pytest.approx(found["formula"], abs=1e-12)
    assert found["pairs"] == pytest.approx(found["formula"], abs=0.02)  # the standard error is 0.005


@pytest.mark.parametrize("sides", [1, 2, 6])
def test_the_area_under_the_floor_is_the_entropy(solutions: ModuleType, sides: int) -> None:
    assert solutions.exercise_3_3(sides) == pytest.approx(math.log(sides), abs=1e-4)


def test_spread_levels_make_the_loss_quieter(solutions: ModuleType) -> None:
    found = solutions.exercise_3_4()
    assert 0 < found["spread"] < 0.6 * found["free"]


def test_any_average_can_be_made_afterwards(solutions: ModuleType) -> None:
    found = solutions.exercise_3_5()
    assert found["spread"] == pytest.approx(0.1, abs=1e-5)
    assert found["error"] < 0.01


def test_a_network_of_twelve_points_learns_to_copy_them(solutions: ModuleType) -> None:
    found = solutions.exercise_3_6(steps=300)
    floor = found["floor of the twelve"]
    assert floor < found["training"] < floor + 0.1 < found["held out, of many"]
    assert found["held out"] > found["held out, of many"] + 0.2
