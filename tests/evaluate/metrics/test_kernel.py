"""The kernel distance against sums over pairs, a closed form and another implementation."""

import pytest
import torch
from torch import Tensor, nn
from torchmetrics.image.kid import KernelInceptionDistance

from mezzotint.evaluate.metrics import kernel
from mezzotint.evaluate.metrics.kernel import kernel_distance, random_subsets, squared_mmd


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Features(nn.Module):
    """Stands where torchmetrics expects a network."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_torchmetrics() -> None:
    x, y = randn(70, 12), 0.2 + 1.1 * randn(50, 12, seed=1)
    theirs = KernelInceptionDistance(feature=Features(), subsets=7, subset_size=40).set_dtype(torch.float64)
    theirs.update(y.view(50, 3, 2, 2), real=True)
    theirs.update(x.view(70, 3, 2, 2), real=False)
    torch.manual_seed(5)
    mean, std = theirs.compute()
    torch.manual_seed(5)
    order = [tuple(torch.randperm(n)[:40] for n in (50, 70)) for _ in range(7)]  # the real set's first
    ours = kernel_distance(x, y, [(j, i) for i, j in order])
    assert ours.mean == pytest.approx(float(mean), rel=1e-6)
    assert ours.std == pytest.approx(float(std), rel=1e-6)


def test_sums_over_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "ROWS_PER_CHUNK", 4)
    x, y = randn(9, 3), randn(7, 3, seed=1)

    def k(a: Tensor, b: Tensor) -> float:
        return float(a @ b / 3 + 1) ** 3

    within = [
        sum(k(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j) / (len(z) * (len(z) - 1))
        for z in (x, y)
    ]
    between = sum(k(a, b) for a in x for b in y) / 63
    assert squared_mmd(x, y) == pytest.approx(sum(within) - 2 * between, rel=1e-12)


def test_no_bias() -> None:
    """On a line, (x y + 1)^3 = sum over p of binomial(3, p) x^p y^p: the discrepancy is that of the moments. N(m, 1)
    against N(0, 1): 3 m^2 + 3 m^4 + (m^3 + 3 m)^2; and 0 at m = 0, at n = 20 as at any other."""
    for m in (0.0, 0.5):
        found = torch.tensor(
            [squared_mmd(m + randn(20, 1, seed=i), randn(20, 1, seed=5000 + i)) for i in range(2000)]
        )
        error = float(found.std()) / 2000**0.5
        assert float(found.mean()) == pytest.approx(3 * m**2 + 3 * m**4 + (m**3 + 3 * m) ** 2, abs=4 * error)


def test_subsets() -> None:
    x, y = randn(60, 4), randn(60, 4, seed=1)
    for i, j in random_subsets(60, 50, count=3, size=40):
        assert len(i.unique()) == len(j.unique()) == 40
        assert i.max() < 60 and j.max() < 50
    assert kernel_distance(x, y, random_subsets(60, 60, 5, 40)) == kernel_distance(
        x, y, random_subsets(60, 60, 5, 40)
    )
    small = kernel_distance(x, y)  # fewer than a subset: all of them
    assert small.mean == pytest.approx(squared_mmd(x, y), rel=1e-12)
    assert small.std == pytest.approx(0, abs=1e-15)


def test_errors_say_the_remedy() -> None:
    with pytest.raises(ValueError, match=r"not \(4, 2\) and \(4, 3\)"):
        squared_mmd(torch.zeros(4, 2), torch.zeros(4, 3))
    with pytest.raises(ValueError, match="two pictures"):
        squared_mmd(torch.zeros(1, 2), torch.zeros(4, 2))
