"""Medians and their intervals."""

import torch

from mezzotint.evaluate.metrics.median import Median


def test_values() -> None:
    assert Median.of(torch.tensor([3.0, 1.0, 2.0])) == (2, 1, 3)
    found = Median.of(torch.cat([torch.arange(100.0), torch.full((20,), torch.inf)]))
    assert found.low < found.value == 59 < found.high < 80


def test_the_interval_keeps_its_promise() -> None:
    torch.manual_seed(0)
    draws = torch.randn(2000, 60).exp()  # whose median is 1
    hits = sum(low <= 1 <= high for _, low, high in map(Median.of, draws)) / len(draws)
    assert 0.94 < hits < 0.99
