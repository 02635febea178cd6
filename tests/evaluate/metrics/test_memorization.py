"""Copies are found, however they are disguised; a model that makes pictures of its own passes."""

import pytest
import torch
from torch import Tensor

from mezzotint.evaluate.metrics.memorization import Memorization, among_few, memorization

D = 40


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pictures(n: int, seed: int) -> Tensor:
    """Ten classes of different spread, of six dimensions each."""
    generator = torch.Generator().manual_seed(seed)
    shapes = randn(10, 7, D, seed=99)
    label = torch.randint(10, (n,), generator=generator)
    where = torch.randn(n, 6, generator=generator) * (0.3 + 0.1 * label[:, None])
    return 2 * shapes[label, 6] + torch.einsum("nk,nkd->nd", where, shapes[label, :6])


@pytest.mark.parametrize(
    ("train", "held_out"), [(64, 2000), (2000, 2000), (6000, 500), (6000, 50), (500, 6000)]
)
def test_sizes(train: int, held_out: int) -> None:
    """The verdict is right whichever of the two sets is the larger."""
    seen, new = pictures(train, 1), pictures(held_out, 2)
    pick = torch.randint(train, (300,), generator=torch.Generator().manual_seed(3))
    copier = memorization(seen[pick] + 0.05 * randn(300, D), seen, new)
    assert copier.flagged
    assert torch.equal(copier.nearest, pick)
    assert len(copier.suspects) == copier.copied.value * 300 > 250
    honest = memorization(pictures(300, 4), seen, new)
    assert not honest.flagged
    assert honest.copied.value < 0.05
    assert honest.odds < 1.5


@pytest.mark.parametrize("disguise", ["plain", "noise", "faded"])
def test_disguises(disguise: str) -> None:
    seen, new = pictures(64, 1), pictures(2000, 2)
    copies = seen[torch.randint(64, (300,), generator=torch.Generator().manual_seed(3))]
    if disguise == "noise":
        copies = copies + 0.7 * randn(300, D)
    if disguise == "faded":
        copies = 0.7 * copies
    assert memorization(copies, seen, new).flagged


def test_some_copies_among_many() -> None:
    seen, new, samples = pictures(3000, 1), pictures(3000, 2), pictures(500, 4)
    samples[:80] = seen[100:180]
    found = memorization(samples, seen, new)
    assert found.flagged
    assert found.copied.low < 0.16 + found.chance.value and found.copied.high > 0.16
    assert set(found.suspects[:80].tolist()) == set(range(80))
    assert torch.equal(found.nearest[:80], torch.arange(100, 180))
    assert found.distances[:80].max() == 0 and found.distances[80:].min() > 0


@pytest.mark.parametrize("fault", ["faint", "one class", "noise"])
def test_other_faults_are_not_copies(fault: str) -> None:
    seen, new, samples = pictures(3000, 1), pictures(1000, 2), pictures(4000, 4)
    if fault == "faint":
        samples = 0.8 * samples[:300]
    if fault == "noise":
        samples = samples[:300] + 0.5 * randn(300, D)
    if fault == "one class":
        middle = 2 * randn(10, 7, D, seed=99)[0, 6]
        samples = samples[(samples - middle).norm(dim=1).argsort()[:300]]
    assert not memorization(samples, seen, new).flagged


def test_a_training_set_with_twins() -> None:
    """A copy of a picture that is there twice has another copy next to it, and is found all the same."""
    seen, new = pictures(1000, 1).repeat(2, 1), pictures(1000, 2)
    found = memorization(seen[:200] + 0.05 * randn(200, D), seen, new)
    assert found.flagged and found.copied.value > 0.8
    assert not memorization(pictures(300, 4), seen, new).flagged


def test_the_p_value_is_calibrated() -> None:
    """Of 200 honest models, about 1 in 10 has p < 0.1, though samples crowd about the same few pictures."""
    small = []
    for i in range(200):
        real = randn(120, 3, seed=i)
        small.append(memorization(0.5 * randn(400, 3, seed=1000 + i), real[:80], real[80:]).p_value < 0.1)
    assert 8 <= sum(small) <= 34


def test_bytes_and_shapes() -> None:
    generator = torch.Generator().manual_seed(0)
    seen, new, samples = (
        torch.randint(256, (n, 1, 6, 6), dtype=torch.uint8, generator=generator) for n in (90, 60, 30)
    )
    found = memorization(samples, seen, new)
    assert isinstance(found, Memorization) and not found.flagged
    assert memorization(seen[:30], seen, new).flagged
    with pytest.raises(ValueError, match="different shapes"):
        memorization(samples, seen[:, :, :5], new)
    with pytest.raises(ValueError, match="at least 1, 4 and 20"):
        memorization(samples, seen, new[:19])


def test_among_few_pictures_copies_are_told_by_the_pictures_alone() -> None:
    """Without any held out: copies lie nearer to one than the pictures lie to each other, and others do not."""
    generator = torch.Generator().manual_seed(0)
    train = torch.randn(40, 30, generator=generator, dtype=torch.float64)
    fresh = torch.randn(100, 30, generator=generator, dtype=torch.float64)
    copies = train[torch.arange(100) % 40] + 0.05 * fresh
    assert among_few(copies, train).copied.value == 1 and among_few(copies, train).flagged
    found = among_few(fresh, train)
    assert found.copied.value <= 0.05 and not found.flagged and found.odds == 0
    assert torch.equal(among_few(copies, train).nearest, torch.arange(100) % 40)
    twins = train[torch.arange(80) % 40]
    assert not among_few(fresh, twins).flagged
