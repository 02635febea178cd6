"""Precision and recall: are samples like real pictures, and are all kinds of real pictures among the samples?

A set's region is the union of balls about its points, each as large as the distance to the k-th neighbour within the set
(Kynkäänniemi et al. 2019). All four numbers depend on the sizes of both sets: compare at equal sizes, and with the
numbers that real pictures get.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.evaluate.metrics.neighbours import nearest

MAX_DISTANCES = 2**23  # held in memory at a time


class PrecisionRecall(NamedTuple):
    """precision: share of samples within the real region, in [0, 1]; low where samples are unlike the data.
    recall: share of real pictures within the samples' region, in [0, 1]; low where samples lack variety.
    density: mean number of real balls about a sample, over k; about 1 for real pictures, not hurt by one outlier's
    large ball. coverage: share of real balls with a sample in them (Naeem et al. 2020, eq. 3 and 4)."""

    precision: float
    recall: float
    density: float
    coverage: float


def precision_recall(samples: Tensor, real: Tensor, k: int = 3) -> PrecisionRecall:
    """Of features (n, d) and (m, d), by balls to the k-th neighbour, the ball's edge included. float64.

    Works through chunks: memory for 8 million distances, whatever the sizes.
    """
    if min(len(samples), len(real)) <= k:
        raise ValueError(f"balls to the {k}-th neighbour need {k + 1} pictures and more of each set")
    samples, real = samples.double(), real.double()
    edge_samples, edge_real = (nearest(x, x, k + 1)[0][:, k] for x in (samples, real))
    pairs = 0  # pairs of a sample and a real ball
    precise, recalled = 0, torch.zeros(len(real), dtype=torch.bool)
    covered = torch.zeros(len(real), dtype=torch.bool)
    rows = max(1, MAX_DISTANCES // len(real))
    for part, edge in zip(samples.split(rows), edge_samples.split(rows)):
        distances = torch.cdist(part, real)
        hits = distances <= edge_real
        pairs += int(hits.sum())
        precise += int(hits.any(1).sum())
        covered |= hits.any(0)
        recalled |= (distances <= edge[:, None]).any(0)
    n, m = len(samples), len(real)
    return PrecisionRecall(precise / n, int(recalled.sum()) / m, pairs / (k * n), int(covered.sum()) / m)
