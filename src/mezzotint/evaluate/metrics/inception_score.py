"""The Inception Score: are pictures clearly of one class each, and of all classes together?"""

from typing import NamedTuple

import torch
from torch import Tensor


class InceptionScore(NamedTuple):
    """Mean and standard deviation over the splits. From 1 (every picture gets the same probabilities) to the number of
    classes (each picture certain, classes equally many)."""

    mean: float
    std: float


def inception_score(probabilities: Tensor, splits: int = 10, order: Tensor | None = None) -> InceptionScore:
    """exp(E KL(p(y|x) || p(y))) of a classifier's probabilities (n, K), by splits (Salimans et al. 2016, section 4).

    It knows nothing of the data: compare with that of real pictures. Named after the classifier first used; any will do,
    and scores of different ones do not compare. order: (n,) which row comes where before the cut into splits; default a
    random one, always the same. float64.
    """
    p = probabilities.double()
    if p.ndim != 2 or (p < 0).any() or not torch.allclose(p.sum(1), p.new_ones(()), atol=1e-3):
        raise ValueError(
            "the Inception Score is of probabilities (n, classes) whose rows sum to 1: give softmax(logits)"
        )
    if not 2 <= splits <= len(p):
        raise ValueError(f"{len(p)} pictures make no {splits} splits: take between 2 and {len(p)}")
    if order is None:
        order = torch.randperm(len(p), generator=torch.Generator().manual_seed(0))
    scores = torch.stack([_score(part) for part in p[order].tensor_split(splits)])
    return InceptionScore(float(scores.mean()), float(scores.std()))


def _score(p: Tensor) -> Tensor:
    """The mutual information of picture and class: xlogy takes 0 log 0 as 0."""
    together = p.mean(0)
    return (torch.xlogy(p, p).sum(1).mean() - torch.xlogy(together, together).sum()).exp()
