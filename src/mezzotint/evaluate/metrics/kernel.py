"""The kernel distance (KID): a squared maximum mean discrepancy between two sets of features.

Its estimate has no bias at any n, so that it is 0 on average between equal distributions (Bińkowski et al. 2018); it may
be negative.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

ROWS_PER_CHUNK = 2048  # of a kernel


class KernelDistance(NamedTuple):
    """Mean and standard deviation over subsets. The deviation tells how much one subset varies; that of the mean is
    smaller, though not by the root of their number: subsets share pictures."""

    mean: float
    std: float


def squared_mmd(x: Tensor, y: Tensor) -> float:
    """The unbiased squared discrepancy of x (n, d) and y (m, d) under k(a, b) = (a.b / d + 1)^3 (Gretton et al. 2012,
    eq. 3; Bińkowski et al. 2018, eq. 4). float64; memory by chunks."""
    if x.shape[1:] != y.shape[1:] or x.ndim != 2:
        raise ValueError(f"features are (n, d) and (m, d), not {tuple(x.shape)} and {tuple(y.shape)}")
    n, m, d = len(x), len(y), x.shape[1]
    if min(n, m) < 2:
        raise ValueError(f"the kernel distance needs two pictures and more of each set, not {n} and {m}")
    x, y = x.double(), y.double()

    def total(a: Tensor, b: Tensor) -> Tensor:
        return torch.stack([((part @ b.T) / d + 1).pow(3).sum() for part in a.split(ROWS_PER_CHUNK)]).sum()

    def others(a: Tensor) -> Tensor:
        """Over all pairs of two different rows."""
        return total(a, a) - (a.square().sum(1) / d + 1).pow(3).sum()

    return float(others(x) / (n * (n - 1)) + others(y) / (m * (m - 1)) - 2 * total(x, y) / (n * m))


def random_subsets(
    n: int, m: int, count: int = 100, size: int = 1000, seed: int = 0
) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of two sets of n and m, drawn without replacement within a subset; the usual 100 times 1,000.

    Sets smaller than `size` are taken as a whole, which gives the mean without a deviation.
    """
    generator = torch.Generator().manual_seed(seed)
    size = min(size, n, m)
    for _ in range(count):
        yield torch.randperm(n, generator=generator)[:size], torch.randperm(m, generator=generator)[:size]


def kernel_distance(
    x: Tensor, y: Tensor, subsets: Iterable[tuple[Tensor, Tensor]] | None = None
) -> KernelDistance:
    """KID of features x (n, d) and y (m, d): the squared discrepancy, averaged over subsets.

    subsets: pairs of rows' numbers, of x and of y; default `random_subsets`.
    """
    pairs = random_subsets(len(x), len(y)) if subsets is None else subsets
    each = torch.tensor([squared_mmd(x[i], y[j]) for i, j in pairs], dtype=torch.float64)
    return KernelDistance(float(each.mean()), float(each.std(correction=0)))
