"""Shares and their intervals."""

import pytest
import torch

from mezzotint.evaluate.metrics.share import Share, agreement


def test_wilson() -> None:
    """The ends are where a binomial of that share would be 1.96 standard deviations off."""
    for hits, n in ((3, 20), (50, 100), (1, 4)):
        share = Share.of(hits, n)
        for end in (share.low, share.high):
            assert (hits / n - end) ** 2 == pytest.approx(1.959964**2 * end * (1 - end) / n, rel=1e-9)
        assert share.low < share.value < share.high
    assert Share.of(0, 10)[:2] == (0, 0)
    assert Share.of(10, 10).high == 1
    with pytest.raises(ValueError, match="is not a share"):
        Share.of(0, 0)


def test_agreement() -> None:
    scores = torch.tensor([[3.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 4.0, 1.0], [0.0, 1.0, 0.0]])
    assert agreement(scores, torch.tensor([0, 2, 0, 1])) == Share.of(3, 4)
    with pytest.raises(ValueError, match="one class a picture"):
        agreement(scores, torch.tensor([0, 2]))
