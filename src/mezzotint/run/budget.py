"""One budget, in whatever unit: how many steps it buys."""

import math

from mezzotint.config import Train

USUAL_EPOCHS = 20  # where no budget is given
FEW_STEPS = 500  # the quickest recipe, digits of 8x8 pixels, takes 625


def fixed_steps(train: Train, total: int) -> int | None:
    """Steps of a budget in steps, images or epochs, for a set of `total` things; None for minutes, which have to be
    measured."""
    if train.minutes is not None:
        return None
    images = train.images or (train.epochs or USUAL_EPOCHS) * total
    return train.steps or max(1, math.ceil(images / train.batch_size))


def in_steps(minutes: float, steps: int) -> str:
    """A line on what a budget in minutes has become on this machine."""
    line = f"{minutes:g} minutes are {steps:,} step{'s' * (steps != 1)} on this machine"
    if steps >= FEW_STEPS:
        return line
    return (
        f"{line}: too few to learn much; give more minutes, a smaller network or smaller pictures, or stop what else keeps the machine busy "
        "(mezzotint doctor, with the same words, says what fits)"
    )
