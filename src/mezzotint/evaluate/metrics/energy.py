"""How far are generated points from the data's distribution?"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.data import toy


def energy_distance(x: Tensor, y: Tensor) -> float:
    """The energy distance between two samples, 2 E|X - Y| - E|X - X'| - E|Y - Y'| (Székely & Rizzo 2013).

    Zero between equal distributions and positive between all others, in the unit of the data. As a V-statistic
    (means over all pairs, of a point with itself included) it is never negative, and between two fresh samples of n
    points of one distribution about E|X - X'| 2 / n: compare with that, at equal n.

    x: (n, d); y: (m, d); computed in float64.
    """

    def mean(a: Tensor, b: Tensor) -> float:
        """Of |a_i - b_j|, by differences: products of matrices would lose the digits of near points."""
        parts = [
            torch.cdist(part, b, compute_mode="donot_use_mm_for_euclid_dist").sum() for part in a.split(1024)
        ]
        return float(torch.stack(parts).sum()) / (len(a) * len(b))

    x, y = x.double(), y.double()
    return 2 * mean(x, y) - mean(x, x) - mean(y, y)


class LogLikelihood(NamedTuple):
    """mean: nats a point, of the points where the density is positive. outside: share of the others, in [0, 1], whose
    log density is minus infinity."""

    mean: float
    outside: float


def true_log_likelihood(name: str, x: Tensor) -> LogLikelihood:
    """The mean log density of generated points (n, 2) under the exact density of a set of `data.toy`.

    Compare with that of the set's own points, minus its entropy: below are points where no data lie, above are points
    too typical, with variety lost. So it is no distance: read it with `energy_distance`. Only the checkerboard has an
    outside.
    """
    nats = toy.log_prob(name, x)
    finite = nats.isfinite()
    mean = float(nats[finite].mean()) if finite.any() else -math.inf
    return LogLikelihood(mean, 1 - int(finite.sum()) / len(nats))
