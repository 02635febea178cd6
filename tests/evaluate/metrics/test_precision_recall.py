"""Neighbours, and precision and recall, against all distances written out."""

import pytest
import torch
from torch import Tensor

from mezzotint.evaluate.metrics import neighbours
from mezzotint.evaluate.metrics import precision_recall as module
from mezzotint.evaluate.metrics.neighbours import nearest
from mezzotint.evaluate.metrics.precision_recall import precision_recall


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("columns", [5, 100000])
def test_neighbours(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setattr(neighbours, "ROWS_PER_BLOCK", 7)
    monkeypatch.setattr(neighbours, "COLUMNS_PER_BLOCK", columns)
    x, data = 100 + randn(20, 2, 3), 100 + randn(33, 2, 3, seed=1)
    distances, which = nearest(x, data, 9)
    full = (x.flatten(1)[:, None] - data.flatten(1)).square().sum(-1).sqrt()
    expected = full.sort(1)
    torch.testing.assert_close(distances, expected.values[:, :9], rtol=1e-9, atol=0)
    assert torch.equal(which, expected.indices[:, :9])


def test_neighbours_of_bytes() -> None:
    data = torch.randint(256, (50, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    distances, which = nearest(data[:20], data, 2)
    assert torch.equal(which[:, 0], torch.arange(20))
    full = torch.cdist(data[:20].double().flatten(1), data.double().flatten(1)).sort(1).values
    torch.testing.assert_close(distances[:, 1].double(), full[:, 1], rtol=1e-5, atol=0)


def test_against_all_distances(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DISTANCES", 300)
    samples, real, k = 0.5 + 0.8 * randn(60, 3), randn(90, 3, seed=1), 3

    def away(a: Tensor, b: Tensor) -> Tensor:
        return (a[:, None] - b).square().sum(-1).sqrt()

    edge_real, edge_samples = (away(z, z).sort(1).values[:, k] for z in (real, samples))
    in_real = away(samples, real) <= edge_real
    found = precision_recall(samples, real, k)
    assert found.precision == pytest.approx(float(in_real.any(1).double().mean()))
    assert found.recall == pytest.approx(float((away(real, samples) <= edge_samples).any(1).double().mean()))
    assert found.density == pytest.approx(float(in_real.double().sum(1).mean()) / k)
    assert found.coverage == pytest.approx(float(in_real.any(0).double().mean()))
    assert 0.3 < found.recall < 0.95 and 0.3 < found.coverage < 0.95


def test_what_they_are_for() -> None:
    real, again = randn(400, 4), randn(400, 4, seed=1)
    same, far = precision_recall(again, real), precision_recall(again + 20, real)
    assert same.precision > 0.7 and same.recall > 0.7
    assert same.density == pytest.approx(1, abs=0.15)
    assert far == (0, 0, 0, 0)
    few = precision_recall(0.1 * again, real)  # all in the middle
    assert few.precision > 0.98 and few.recall < 0.1
    assert precision_recall(3 * again, real).precision < 0.4
    assert precision_recall(3 * again, real).recall > 0.9


def test_errors_say_the_remedy() -> None:
    with pytest.raises(ValueError, match="need 4 pictures"):
        precision_recall(torch.zeros(3, 2), torch.zeros(9, 2))
