"""Which things of a set are held out of training: THE rule, for training, judges and everything else that must not mix them.

It depends on the set and the share alone, whatever the seed of a run, so that runs compare and no judge ever sees what a
model was trained on.
"""

from typing import NamedTuple

from torch import Tensor

from mezzotint.data.order import Order

MAX_HELD_OUT = 1000  # things; more would make the held-out loss slow and no clearer


class Split(NamedTuple):
    """Numbers of things, ascending: those to train on, and those held out."""

    train: Tensor
    held: Tensor


def held_out_count(total: int, share: float) -> int:
    """How many of `total` things are held out: a share, at most MAX_HELD_OUT, and never all."""
    return min(round(share * total), MAX_HELD_OUT, total - 1)


def shuffled(total: int) -> Tensor:
    """The numbers 0 ... total - 1 in an order of their own; the held-out ones stand first: (total,) int64."""
    return Order(total, seed=0).permutation(0)


def split_set(total: int, share: float) -> Split:
    """The two parts of a set of `total` things."""
    count, order = held_out_count(total, share), shuffled(total)
    return Split(order[count:].sort().values, order[:count].sort().values)
