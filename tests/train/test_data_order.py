"""The order of the data: every epoch a fresh permutation, a pure function of (seed, position)."""

import pytest
import torch

from mezzotint.train import data_order
from mezzotint.train.data_order import Order


@pytest.mark.parametrize("total", [1, 2, 7, 1000])
def test_every_epoch_holds_everything_once(total: int) -> None:
    order = Order(total, seed=3)
    for epoch in range(4):
        assert order(epoch * total, total).sort().values.tolist() == list(range(total))


def test_epochs_and_seeds_shuffle_differently() -> None:
    permutations = [Order(50, seed).permutation(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    permutations.append(list(range(50)))
    assert len({tuple(p) for p in permutations}) == 5


def test_any_position_can_be_asked_for_first() -> None:
    whole = Order(10, seed=5)(0, 47)
    for start in (0, 3, 9, 10, 23, 30, 46):
        for count in (1, 4, 10, 21):
            part = Order(10, seed=5)(start, count)  # a new one, with no memory of what came before
            assert part.dtype == torch.int64
            assert torch.equal(part[: 47 - start], whole[start : start + count])


def test_going_back_gives_the_same() -> None:
    order = Order(10, seed=5)
    first = order(0, 20)
    order(35, 3)
    assert torch.equal(order(0, 20), first)


def test_a_large_seed_is_used_whole() -> None:
    assert not torch.equal(Order(20, 7).permutation(0), Order(20, 7 + 2**40).permutation(0))
    assert len(Order(20, 2**63 - 1)(0, 20)) == 20


def test_places_are_uniform() -> None:
    """Where one thing of 8 stands in 4,000 epochs: chi-squared below the 1 in 10,000 quantile for 7 degrees, 29.9."""
    order = Order(8, seed=0)
    places = torch.stack([order.permutation(epoch) for epoch in range(4000)])
    for thing in (0, 3, 7):
        counts = (places == thing).sum(0).double()
        assert float((counts - 500).square().sum() / 500) < 29.9


def test_every_purpose_draws_numbers_of_its_own() -> None:
    names = ("EPS", "LEVEL", "LABEL_DROP", "AUGMENT", "ORDER", "DROPOUT")
    assert len({getattr(data_order, name) for name in names}) == len(names)
