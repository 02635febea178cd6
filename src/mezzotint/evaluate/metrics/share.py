"""A share of pictures, with its interval; and how many are of the class that was asked for."""

import math
from typing import NamedTuple

from torch import Tensor

Z = 1.959964  # 95 % of a normal distribution lie within


class Share(NamedTuple):
    """A share and its 95 % interval, all in [0, 1]."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, n: int) -> "Share":
        """`hits` of `n`, n >= 1, with Wilson's interval (1927): it keeps its promise near 0 and 1 too."""
        if not 0 <= hits <= n or n < 1:
            raise ValueError(f"{hits} of {n} is not a share")
        p = hits / n
        middle = (p + Z**2 / (2 * n)) / (1 + Z**2 / n)
        half = Z * math.sqrt(p * (1 - p) / n + Z**2 / (4 * n**2)) / (1 + Z**2 / n)
        return cls(p, max(0.0, middle - half) if hits else 0.0, middle + half if hits < n else 1.0)


def agreement(scores: Tensor, labels: Tensor) -> Share:
    """The share of pictures that a classifier takes for the class they were asked to be.

    scores: (n, K) logits or probabilities; labels: (n,) int64.
    """
    if scores.shape[:1] != labels.shape:
        raise ValueError(
            f"{len(scores)} pictures were asked for {len(labels)} classes: give one class a picture"
        )
    return Share.of(int((scores.argmax(1) == labels).sum()), len(labels))
