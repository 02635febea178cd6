"""A tenth of the time, by a clock of the test's own."""

import pytest

from mezzotint.run.allowance import FREE_SECONDS, Allowance


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_tenth_of_the_time_so_far_may_be_spent() -> None:
    clock = Clock()
    allowance = Allowance(clock)
    assert allowance.left == FREE_SECONDS, "a little in any run"
    clock.now += 60
    assert allowance.left == pytest.approx(6)
    assert allowance.for_one == pytest.approx(3), "half for one thing"
    with allowance.spending():
        clock.now += 2
    assert allowance.left == pytest.approx(6.2 - 2)
    with pytest.raises(RuntimeError), allowance.spending():
        clock.now += 10
        raise RuntimeError("what fails has been paid for, too")
    assert allowance.left == pytest.approx(7.2 - 12)


def test_half_by_half_never_more_than_a_tenth() -> None:
    clock = Clock()
    allowance = Allowance(clock)
    spent = 0.0
    for _ in range(50):
        clock.now += 3
        costs = max(allowance.for_one, 0)
        with allowance.spending():
            clock.now += costs
        spent += costs
        assert spent <= max(FREE_SECONDS, 0.1 * (clock.now - 1000)) + 1e-9
    assert spent > 0.08 * (clock.now - 1000), "nor much less"
