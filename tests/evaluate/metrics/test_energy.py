"""The energy distance is that of the paper, exactly where it has a closed form."""

import math

import pytest
import torch
from torch import Tensor

from mezzotint.data.toy import TOYS, points
from mezzotint.evaluate.metrics.energy import energy_distance, true_log_likelihood


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_two_points() -> None:
    a, b = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]])
    assert energy_distance(a, b) == 10.0
    assert energy_distance(torch.cat([a, b]), b) == pytest.approx(2 * 2.5 - 2 * 5 / 4)


def test_on_a_line_it_is_twice_the_area_between_the_squared_distribution_functions() -> None:
    """Székely & Rizzo 2013, section 2: 2 times the integral of (F - G)^2, exact for steps too."""
    x, y = randn(300, 1), 0.5 + 2 * randn(170, 1, seed=1)
    edges = torch.cat([x, y])[:, 0].sort().values
    f, g = (torch.searchsorted(z[:, 0].sort().values, edges[:-1], right=True) / len(z) for z in (x, y))
    area = ((f.double() - g.double()).square() * edges.diff()).sum()
    assert energy_distance(x, y) == pytest.approx(2 * float(area), rel=1e-6)


def test_between_two_gaussians() -> None:
    """X - Y ~ N(m, 2): E|X - Y| = 2 / sqrt(pi) exp(-m^2 / 4) + m erf(m / 2)."""
    m = 1.5
    apart = 2 / math.sqrt(math.pi) * math.exp(-(m**2) / 4) + m * math.erf(m / 2)
    expected = 2 * apart - 2 * 2 / math.sqrt(math.pi)
    assert energy_distance(randn(4000, 1), m + randn(4000, 1, seed=1)) == pytest.approx(expected, rel=0.1)


def test_fresh_samples_of_one_distribution() -> None:
    """The V-statistic's floor: E|X - X'| (1 / n + 1 / m), here 2 / sqrt(pi) (1 / 200 + 1 / 100)."""
    found = [energy_distance(randn(200, 1, seed=i), randn(100, 1, seed=100 + i)) for i in range(100)]
    assert min(found) > 0
    assert sum(found) / 100 == pytest.approx(2 / math.sqrt(math.pi) * 0.015, rel=0.15)


def test_what_distances_obey() -> None:
    x, y = randn(1500, 3), 1 + randn(40, 3, seed=1)
    assert energy_distance(x, x) == pytest.approx(0, abs=1e-12)
    assert energy_distance(x, y) == pytest.approx(energy_distance(y, x), rel=1e-12)
    turn, _ = torch.linalg.qr(randn(3, 3, seed=2))
    assert energy_distance(5 + x @ turn, 5 + y @ turn) == pytest.approx(energy_distance(x, y), rel=1e-9)
    assert energy_distance(3 * x, 3 * y) == pytest.approx(3 * energy_distance(x, y), rel=1e-9)


def test_near_points_far_from_the_origin_keep_their_digits() -> None:
    x = torch.tensor([[1e6, 1e6]], dtype=torch.float64).repeat(30, 1)
    assert energy_distance(x, x + 1e-6) == pytest.approx(2 * math.sqrt(2) * 1e-6, rel=1e-3)


@pytest.mark.parametrize("name", TOYS)
def test_likelihood_under_the_true_density(name: str) -> None:
    """The set's own points get minus its entropy: log of the area of the checkerboard, for one; worse points less."""
    x, _ = points(name, 4000, seed=1)
    found, worse = true_log_likelihood(name, x), true_log_likelihood(name, x + 0.3 * randn(4000, 2).float())
    assert found.outside == 0
    if name == "checkerboard":
        assert found.mean == pytest.approx(-math.log(6), rel=1e-7)
        assert 0.1 < worse.outside < 0.5 and worse.mean == pytest.approx(found.mean)
        assert true_log_likelihood(name, x + 100) == (-math.inf, 1)
    else:
        assert worse.outside == 0 and worse.mean < found.mean - 0.2
    if name == "mixture":  # 8 circles of 0.2 far enough apart
        assert found.mean == pytest.approx(-math.log(8 * 2 * math.pi * math.e * 0.2**2), abs=0.1)
