"""A median, with its interval."""

import math
from typing import NamedTuple

from torch import Tensor

from mezzotint.evaluate.metrics.share import Z


class Median(NamedTuple):
    """A median and its 95 % interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Tensor) -> "Median":
        """Of numbers (n,), n >= 1, inf among them if need be. The interval lies between two of the numbers in their order: how many
        are below the true median is binomial, whatever they are distributed like (here by its normal approximation)."""
        ordered = values.double().sort().values
        n, reach = len(ordered), Z * math.sqrt(len(ordered)) / 2
        low, high = max(0, math.floor(n / 2 - reach) - 1), min(n - 1, math.ceil(n / 2 + reach))
        return cls(float(ordered[(n - 1) // 2]), float(ordered[low]), float(ordered[high]))
