"""What a budget in minutes has become is said, and where it is a handful of steps, what to do."""

from mezzotint.run.budget import FEW_STEPS, in_steps


def test_minutes_in_steps() -> None:
    assert in_steps(5, 2500) == "5 minutes are 2,500 steps on this machine"
    assert in_steps(0.5, FEW_STEPS - 1).startswith("0.5 minutes are 499 steps on this machine: too few")
    assert in_steps(0.1, 1).startswith("0.1 minutes are 1 step on this machine: too few")
