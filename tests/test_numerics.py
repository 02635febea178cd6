"""The page of numerics: its tables, and that every fault on it is still shown by its program."""

import re

import pytest
from faults import FAULTS
from numerics import agreement, printed


def _numbers(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+", text)]


def _program(word: str) -> str:
    (program,) = (fault.program for fault in FAULTS if word in fault.program)
    return printed(program)


def test_programs_are_small() -> None:
    assert all(len(fault.program.strip().splitlines()) <= 22 for fault in FAULTS)


def test_ddim_gets_worse() -> None:
    pytest.importorskip("diffusers")
    errors = dict(zip((100, 200, 400, 600), _numbers(_program("DDIMScheduler("))))
    assert errors[200] < errors[100] < errors[400] < errors[600]


def test_third_order_is_of_order_two() -> None:
    pytest.importorskip("diffusers")
    theirs, mended = _program('dpmpp_3m"').splitlines()
    assert "WRONG" in theirs and 1.85 < _numbers(theirs)[0] < 2.15
    assert "right" in mended and 2.85 < _numbers(mended)[0] < 3.15


def test_sign_of_the_third_order_sde() -> None:
    pytest.importorskip("diffusers")
    second, third, mended = (_numbers(line)[0] for line in _program("sde-dpmsolver++").splitlines())
    assert third > 8 and second < 4 and mended < 4


def test_churn_leaves_its_noise() -> None:
    pytest.importorskip("diffusers")
    for sigma, theirs, edm in (_numbers(line) for line in _program("s_churn").splitlines()):
        assert abs(edm - sigma) <= 0.02 * sigma + 1e-4 and theirs > 1.5 * sigma


def test_bh1_and_shift() -> None:
    pytest.importorskip("diffusers")
    assert "nan" in _program("bh1")
    plain, shifted = (_numbers(line) for line in _program("FlowMatch").splitlines())
    assert plain[0] == plain[1] and shifted[0] > 2.9 * shifted[1]


def test_table_of_agreement() -> None:
    row = {"implementation": "EDM", "run": "heun", "sampler": "heun", "difference": 2e-14}
    text = agreement([row, {**row, "run": "churn", "difference": 7e-15}])
    assert "| EDM | 2 | 2e-14 | heun |" in text and "| EDM | churn | `heun` | 7e-15 |" in text
