"""The 2-D sets: seeded, scaled, and drawn from the densities that are claimed for them."""

import math

import numpy as np
import pytest
import torch

from mezzotint.data import TOYS, class_names, log_prob, points, toy

GRID = 0.025  # a quarter of the noise: sums over this grid are quadratures far better than 1e-4


def grid(step: float = GRID, edge: float = 3.0) -> torch.Tensor:
    """Centres of square cells that tile [-edge, edge]^2, row by row."""
    axis = torch.arange(-edge + step / 2, edge, step, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis)


@pytest.mark.parametrize("name", TOYS)
def test_points_are_a_pure_function_of_name_number_and_seed(name: str) -> None:
    x, label = points(name, 100, seed=(7, 3))
    points(name, 50, seed=1)  # nothing is carried over from another call
    torch.random.manual_seed(0)
    y, again = points(name, 100, seed=(7, 3))
    assert torch.equal(x, y) and torch.equal(label, again)
    assert x.shape == (100, 2) and x.dtype == torch.float32
    assert label.shape == (100,) and label.dtype == torch.int64
    for other in ((7, 4), (8, 3), 7, (3, 7)):
        assert not torch.equal(x, points(name, 100, seed=other)[0])


@pytest.mark.parametrize("name", TOYS)
def test_mean_is_zero_and_overall_deviation_one(name: str) -> None:
    x, label = points(name, 200_000)
    assert x.mean(0).abs().max() < 0.01
    assert x.double().var(0).mean().sqrt().item() == pytest.approx(1, abs=0.005)
    counts = label.bincount().double() / len(label)
    assert len(counts) == max(len(class_names(name)), 1)
    assert (counts - 1 / len(counts)).abs().max() < 0.005


@pytest.mark.parametrize("name", TOYS)
def test_density_integrates_to_one_with_the_claimed_moments(name: str) -> None:
    step = toy.HALF_WIDTH / 64 if name == "checkerboard" else GRID  # a grid that respects the squares' edges
    edge = 2 * toy.HALF_WIDTH if name == "checkerboard" else 3.0
    x = grid(step, edge)
    mass = log_prob(name, x).exp() * step**2
    assert mass.sum().item() == pytest.approx(1, abs=1e-4)
    assert (mass @ x).abs().max() < 1e-4
    assert (mass @ x.square()).mean().item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("name", TOYS)
def test_points_follow_the_density(name: str) -> None:
    """Pearson's chi-squared of a histogram against the density integrated over its cells."""
    n, cells = 200_000, 24
    fine = 10
    edge = 2 * toy.HALF_WIDTH if name == "checkerboard" else 3.0
    if name == "checkerboard":
        cells, fine = 16, 4
    density = log_prob(name, grid(2 * edge / cells / fine, edge)).exp() * (2 * edge / cells / fine) ** 2
    expected = n * density.reshape(cells, fine, cells, fine).sum((1, 3)).numpy()
    x = points(name, n, seed=11)[0].numpy()
    observed, _, _ = np.histogram2d(x[:, 0], x[:, 1], bins=cells, range=[[-edge, edge]] * 2)
    full = expected > 20
    assert observed[~full].sum() < expected[~full].sum() + 5 * math.sqrt(expected[~full].sum() + 1)
    freedom = full.sum() - 1
    squared = ((observed - expected) ** 2 / np.where(full, expected, 1))[full].sum()
    assert abs(squared - freedom) < 5 * math.sqrt(2 * freedom)


def test_mixture_equals_torch() -> None:
    angle = torch.arange(8, dtype=torch.float64) * (math.pi / 4)
    radius = math.sqrt(2 * (1 - 0.2**2))
    centres = radius * torch.stack((angle.cos(), angle.sin()), -1)
    parts = torch.distributions.Independent(torch.distributions.Normal(centres, 0.2), 1)
    weights = torch.distributions.Categorical(torch.ones(8, dtype=torch.float64))
    x = torch.randn(1000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    want = torch.distributions.MixtureSameFamily(weights, parts).log_prob(x)
    assert (log_prob("mixture", x) - want).abs().max() < 1e-10


def test_rings_equal_their_closed_form() -> None:
    """A circle of radius R blurred by s: exp(-(r - R)^2 / 2 s^2) I0e(r R / s^2) / (2 pi s^2)."""
    s = toy.NOISE["rings"]
    radii = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64) * math.sqrt((1 - s * s) / (7 / 3))
    x = grid(0.1, 2.8)
    r = x.norm(dim=1, keepdim=True)
    logs = -((r - radii) ** 2) / (2 * s * s) + torch.special.i0e(r * radii / s**2).log()
    want = torch.logsumexp(logs, 1) - math.log(3 * 2 * math.pi * s * s)
    assert (log_prob("rings", x) - want).abs().max() < 1e-8


@pytest.mark.parametrize("name", ["moons", "swiss_roll"])
def test_quadrature_has_converged_where_it_says(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x = grid(0.2, 4 / math.sqrt(2))
    coarse = log_prob(name, x)
    monkeypatch.setattr(toy, "NODES", 1500)
    toy._nodes.cache_clear()
    fine = log_prob(name, x)
    toy._nodes.cache_clear()
    assert 0 < (coarse - fine).abs().max() < 1e-6


def test_moons_are_the_textbook_half_circles() -> None:
    """Without noise and scale: (cos t, sin t) and (1 - cos t, 1/2 - sin t), about their mean (1/2, 1/4)."""
    t = np.linspace(0, math.pi, 50)
    upper = toy._curve("moons", t / math.pi, np.zeros(50, int))
    lower = toy._curve("moons", t / math.pi, np.ones(50, int))
    scale = np.ptp(upper[:, 0]) / 2
    assert np.allclose(upper / scale + [0.5, 0.25], np.stack((np.cos(t), np.sin(t)), -1))
    assert np.allclose(lower / scale + [0.5, 0.25], np.stack((1 - np.cos(t), 0.5 - np.sin(t)), -1))


@pytest.mark.parametrize("name", ["moons", "mixture", "rings"])
def test_labels_name_the_part_a_point_is_from(name: str) -> None:
    """The most probable part under the exact density is nearly always the label."""
    x, label = points(name, 2000, seed=5)
    centres, log_weights = toy._nodes(name)
    squared = torch.cdist(x.double(), centres).square()
    logs = (log_weights - squared / (2 * toy.NOISE[name] ** 2)).reshape(len(x), len(class_names(name)), -1)
    assert (logs.logsumexp(-1).argmax(1) == label).double().mean() > 0.98


def test_checkerboard_is_empty_outside_its_squares() -> None:
    x, _ = points("checkerboard", 1_000_000, seed=2)
    assert torch.equal(log_prob("checkerboard", x), torch.full((len(x),), -math.log(6)).double())
    corner = toy.HALF_WIDTH - 0.1
    outside = torch.tensor([[corner, -corner], [-corner, corner], [9.0, 9.0], [-1.8, -1.8]])
    assert (log_prob("checkerboard", outside) == -math.inf).all()


def test_gradients_flow_through_the_density() -> None:
    """The score of one component far from the others points to its centre: (c - x) / s^2."""
    x = torch.tensor([[1.5, 0.1]], dtype=torch.float64, requires_grad=True)
    (score,) = torch.autograd.grad(log_prob("mixture", x).sum(), x)
    centre = torch.tensor([[math.sqrt(2 * 0.96), 0.0]], dtype=torch.float64)
    assert torch.allclose(score, (centre - x.detach()) / 0.04, atol=1e-4)


def test_unknown_name_is_one_line() -> None:
    for call in (lambda: points("spiral", 3), lambda: class_names("spiral")):
        with pytest.raises(ValueError, match="there is no 2-D set 'spiral'; choose from moons"):
            call()
