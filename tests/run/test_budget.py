"""What a budget in minutes becomes: said at the start, counted anew on the way, and kept about by runs on machines whose pace changes."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest

from mezzotint.run.budget import FEW_STEPS, LOOKS, Clock, Plan, in_steps
from mezzotint.train.optim import learning_rate


def test_minutes_in_steps() -> None:
    assert in_steps(5, 2500) == "5 minutes are 2,500 steps on this machine"
    assert in_steps(0.5, FEW_STEPS - 1).startswith("0.5 minutes are 499 steps on this machine: too few")
    assert in_steps(0.1, 1).startswith("0.1 minutes are 1 step on this machine: too few")


def walked(plan: Plan, seconds: Callable[[float], float]) -> tuple[float, list[float]]:
    """A run of two minutes whose steps take `seconds` of the time so far: how long it takes, and the share done at the middle of each step."""
    time, shares = 0.0, []
    clock = Clock(2, 0.0, now=lambda: time)
    step = 0
    while step < plan.until:
        shares.append(plan.at(step + 0.5))
        time += seconds(time)
        step += 1
        if clock.due(plan, step):
            plan = clock.look(plan, step)
    return time, shares


@pytest.mark.parametrize(
    ("seconds", "low", "high"),
    [
        pytest.param(lambda time: 0.1, 115, 120, id="as planned"),
        pytest.param(lambda time: 0.05, 115, 120, id="the trial was slow"),
        pytest.param(lambda time: 0.25, 115, 120, id="the trial was fast"),
        pytest.param(lambda time: 0.1 if time < 50 else 0.05, 115, 120, id="quieter on the way"),
        pytest.param(lambda time: 0.05 if time < 50 else 0.1, 115, 120, id="busier on the way"),
        pytest.param(lambda time: 0.1 if int(time) % 10 else 0.3, 115, 122, id="bursts"),
        pytest.param(lambda time: 0.1 if time < 100 else 0.05, 105, 120, id="quieter at the end"),
    ],
)
def test_two_minutes_are_about_two_minutes(
    seconds: Callable[[float], float], low: float, high: float
) -> None:
    """Of 0.1 seconds a step by the trial; without a look they would take from 56 to 282."""
    time, shares = walked(Plan(1128), seconds)
    assert low < time < high
    steps = [b - a for a, b in pairwise(shares)]
    assert shares[0] > 0 and shares[-1] < 1 and min(steps) > 0  # on and on, to the end,
    assert max(steps) < 11 * min(steps)  # and without a jump
    assert shares[-1] + steps[-1] / 2 == pytest.approx(1)


def test_until_the_first_look_a_plan_is_a_share_of_its_steps_to_the_bit() -> None:
    plan, rate = Plan(977), learning_rate(1e-3, 0.02, "cosine")
    assert all(plan.at(step + 0.5) == (step + 0.5) / 977 for step in range(977))
    assert plan.rate(rate) is rate
    assert [plan.reached(share) for share in LOOKS] == [math.ceil(share * 977) for share in LOOKS]


def test_a_look_bends_the_learning_rate_and_nothing_before_it() -> None:
    rate = learning_rate(1e-3, 0.02, "cosine")
    plan = Plan(1000)
    later = plan.looked(100, seconds_left=90, seconds_a_step=0.05)
    assert later == Plan(1900, 100, 0.1) and Plan.of({"until": later.until, "looked": [*later[1:]]}) == later
    assert later.at(100) == plan.at(100) and later.at(later.until) == 1
    bent = later.rate(rate)
    assert bent(100.5 / later.until) == pytest.approx(rate(later.at(100.5)), rel=1e-9)
    late = plan.looked(600, seconds_left=-5, seconds_a_step=0.05)
    assert late.until == 640  # the rate comes down all the same
