"""One budget, in whatever unit: how many steps it buys."""

import math

from mezzotint.config import Train

USUAL_EPOCHS = 20  # where no budget is given


def fixed_steps(train: Train, total: int) -> int | None:
    """Steps of a budget in steps, images or epochs, for a set of `total` things; None for minutes, which have to be
    measured."""
    if train.minutes is not None:
        return None
    images = train.images or (train.epochs or USUAL_EPOCHS) * total
    return train.steps or max(1, math.ceil(images / train.batch_size))
