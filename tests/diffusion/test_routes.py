"""Grids that go up."""

import math
from itertools import pairwise

import pytest
import torch
from helpers_golden import close
from helpers_oracles import plain, random_mixture

from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.process import vp
from mezzotint.diffusion.routes import ancestral, churn, fixed_large, inner, repaint, restart, through_clean
from mezzotint.diffusion.sampler import sample
from mezzotint.diffusion.schedule import grid, linear, lognormal
from mezzotint.diffusion.table import SAMPLERS

KARRAS = grid("karras", 12, lognormal())
TRAILING = grid("trailing", 10, linear())


def sigma(levels: torch.Tensor) -> torch.Tensor:
    return (-levels / 2).exp()


def test_churn_goes_up_by_gamma_where_it_is_asked_to() -> None:
    gamma = min(5.0 / 12, math.sqrt(2) - 1)
    levels = churn(KARRAS, 5.0, 0.05, 20.0)
    ups = [(float(s), float(t)) for s, t in pairwise(sigma(levels)) if t > s]
    within = [float(s) for s in sigma(KARRAS[:-1]) if 0.05 <= s <= 20]
    assert [s for s, _ in ups] == pytest.approx(within)
    assert all(t / s == pytest.approx(1 + gamma, rel=1e-12) for s, t in ups)
    assert levels[-1] == math.inf and torch.isin(KARRAS, levels).all()


def test_through_clean_visits_clean_between_all_stops() -> None:
    levels = through_clean(KARRAS)
    assert torch.equal(levels[::2], KARRAS[:-1]) and levels[1::2].isinf().all() and len(levels) == 2 * 12


def test_restart_walks_the_inner_stretch_again() -> None:
    levels = restart(KARRAS, 0.1, 2.0, times=3)
    ups = [(float(s), float(t)) for s, t in pairwise(sigma(levels)) if t > s]
    assert len(ups) == 3 and all(s <= 0.1 and t == pytest.approx(2.0) for s, t in ups)
    stretch = int(((sigma(KARRAS) < 2) & (sigma(KARRAS) >= ups[0][0] - 1e-12)).sum())
    assert len(levels) == len(KARRAS) + 3 * (1 + stretch)
    with pytest.raises(ValueError, match="restart needs"):
        restart(KARRAS, 3.0, 2.0, times=1)


def test_repaint_walks_every_stretch_as_often_as_asked() -> None:
    levels = repaint(TRAILING, jump=5, times=3)
    calls = sum(t > s for s, t in pairwise(levels.tolist()))
    assert calls == 3 * 10 and levels[-1] == math.inf and levels[0] == TRAILING[0]
    assert torch.equal(repaint(TRAILING, jump=5, times=1), TRAILING)
    assert torch.equal(repaint(TRAILING, jump=4, times=1), TRAILING)  # a length that jump does not divide


def test_inner_is_the_rest_of_the_grid_from_a_level() -> None:
    rest = inner(TRAILING, -1.0)
    assert rest[0] == -1 and torch.equal(rest[1:], TRAILING[TRAILING > -1])
    with pytest.raises(ValueError, match="outside"):
        inner(TRAILING, -50.0)


def test_fixed_large_turns_the_posterior_variance_into_beta() -> None:
    """DDPM: posterior variance (1 - abar_(t-1)) / (1 - abar_t) beta_t; the gain squared makes it beta_t."""
    table = linear(50)
    kept = 1 / (1 + (-table.logsnr).exp())  # abar
    levels = ancestral(grid("trailing", 50, table))
    gains = [float(g) for g, (s, t) in zip(fixed_large(levels), pairwise(levels)) if t < s]
    expected = ((1 - kept[1:]) / (1 - kept[:-1])).sqrt().flip(0)
    close(torch.tensor(gains, dtype=torch.float64), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["ddim", "heun", "dpmpp_2m", "unipc", "lms", "deis", "dpmpp_3m"])
@pytest.mark.parametrize("route", ["restart", "repaint"])
def test_every_solver_survives_the_way_up(name: str, route: str) -> None:
    """The past belongs to a path that was left; solvers must not divide by the distance between equal levels."""
    levels = restart(KARRAS, 0.1, 2.0, 2) if route == "restart" else repaint(TRAILING, 5, 2)
    exact = random_mixture(vp, seed=3)
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(len(levels) + 1, 32, 2, dtype=torch.float64, generator=generator)
    steps = sample(SAMPLERS[name].solver, vp, z[-1], levels, lambda i, draw: z[i])
    *_, end = alone(plain(exact), steps)
    assert end.x.isfinite().all() and end.x.abs().max() < 10
