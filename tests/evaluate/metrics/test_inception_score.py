"""The Inception Score against its definition's extremes and another implementation."""

import math

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.inception import InceptionScore

from mezzotint.evaluate.metrics.inception_score import inception_score


class Logits(nn.Module):
    """Stands where torchmetrics expects a network."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_torchmetrics() -> None:
    logits = 2 * torch.randn(60, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    theirs = InceptionScore(feature=Logits(), splits=5).set_dtype(torch.float64)
    theirs.update(logits.view(60, 3, 2, 2))
    torch.manual_seed(5)
    mean, std = theirs.compute()
    torch.manual_seed(5)
    ours = inception_score(logits.softmax(1), splits=5, order=torch.randperm(60))
    assert ours.mean == pytest.approx(float(mean), rel=1e-6)
    assert ours.std == pytest.approx(float(std), rel=1e-6)


def test_extremes() -> None:
    certain = torch.eye(4).repeat(25, 1)
    assert inception_score(certain, 2, torch.arange(100)) == pytest.approx((4, 0), abs=0.05)
    assert inception_score(certain[:1].repeat(20, 1)).mean == 1
    assert inception_score(torch.full((20, 4), 0.25)).mean == pytest.approx(1, abs=1e-12)


def test_two_kinds_of_pictures() -> None:
    """Half of them (p, 1 - p), half of them (1 - p, p): log score log 2 less the entropy of p."""
    p = 0.9
    rows = torch.tensor([[p, 1 - p], [1 - p, p]], dtype=torch.float64).repeat(50, 1)
    expected = 2 * math.exp(p * math.log(p) + (1 - p) * math.log(1 - p))
    assert inception_score(rows, 5, torch.arange(100)).mean == pytest.approx(expected, rel=1e-12)


def test_pictures_that_come_class_by_class() -> None:
    """The splits are drawn at random: in order, each would hold one class and score 1."""
    ordered = torch.eye(10).repeat_interleave(100, 0)
    assert inception_score(ordered).mean > 9


def test_errors_say_the_remedy() -> None:
    with pytest.raises(ValueError, match="softmax"):
        inception_score(torch.zeros(20, 4))
    with pytest.raises(ValueError, match="no 10 splits"):
        inception_score(torch.full((5, 2), 0.5))
