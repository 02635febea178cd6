"""How far are generated points from the data's distribution?"""

import torch
from torch import Tensor


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
