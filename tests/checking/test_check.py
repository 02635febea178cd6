"""`check` finds the declared order of right samplers, ours and others', and exposes wrong ones."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor

import mezzotint
from mezzotint.checking.check import Check, Denoised, check, even_grid, ours
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.exact import Gaussian
from mezzotint.diffusion.process import flow, ve, vp
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.plots import read_settings
from mezzotint.randomness import noise

PROCESSES = [vp, ve, flow]
DETERMINISTIC = [name for name, row in SAMPLERS.items() if not row.stochastic]
STOCHASTIC = [name for name, row in SAMPLERS.items() if row.stochastic and name != "consistency"]


@pytest.mark.parametrize("index", range(len(DETERMINISTIC)))
def test_every_row_has_its_declared_order(index: int) -> None:
    """In one process at all numbers of steps; in the two others the errors are the same at two of them."""
    name = DETERMINISTIC[index]
    found = check(name, process=PROCESSES[index % 3])
    assert abs(found.order - SAMPLERS[name].order) < 0.15, found
    assert not found.ever_worse, found
    assert found.passed
    assert found.calls == tuple(n * SAMPLERS[name].calls for n in found.steps)
    for process in (PROCESSES[index % 3 - 1], PROCESSES[index % 3 - 2]):
        again = check(name, process=process, steps=(20, 40))
        assert again.errors == pytest.approx(found.errors[1:3], rel=1e-6), (process, again, found)
        assert again.calls == found.calls[1:3]


@pytest.mark.parametrize(("name", "seed"), [("dpmpp_3m", 11), ("unipc_3", 12), ("lms", 13)])
def test_orders_hold_for_other_mixtures(name: str, seed: int) -> None:
    assert check(name, process=ve, seed=seed).passed


@pytest.mark.parametrize("index", range(len(STOCHASTIC)))
def test_every_stochastic_row_draws_from_the_data(index: int) -> None:
    name = STOCHASTIC[index]
    found = check(name, process=PROCESSES[index % 3], steps=(320 // SAMPLERS[name].calls,))
    assert found.passed, found
    assert math.isnan(found.order)


def heun(denoise: Denoised, x: Tensor, sigmas: Tensor, weight: float = 0.5) -> Tensor:
    """As k-diffusion writes it: the level is told for every row."""
    rows = x.new_ones(len(x))
    for s, t in pairwise(sigmas):
        slope = (x - denoise(x, s * rows)) / s
        guess = x + (t - s) * slope
        ahead = (guess - denoise(guess, t * rows)) / t
        x = x + (t - s) * ((1 - weight) * slope + weight * ahead)
    return x


def two_m(denoise: Denoised, x: Tensor, sigmas: Tensor, sign: float = 1.0) -> Tensor:
    old, last = None, 0.0
    for s, t in pairwise(sigmas):
        x0 = denoise(x, float(s))
        h = float((s / t).log())
        belief = x0 if old is None else x0 + sign * h / last / 2 * (x0 - old)
        x = t / s * x + (1 - t / s) * belief
        old, last = x0, h
    return x


def test_right_samplers_of_others() -> None:
    for sampler in (heun, two_m):
        found = mezzotint.check(sampler, order=2)
        assert found.passed and found.name == sampler.__name__
        assert str(found).startswith(f"{sampler.__name__}: right: measured order 2.0")
    few = (20, 40)
    assert check(heun, steps=few).errors == pytest.approx(
        check(ours("heun", flow), steps=few).errors, rel=1e-6
    )


def test_wrong_samplers_are_exposed() -> None:
    slightly = check(lambda d, x, s: heun(d, x, s, weight=0.52), order=2)
    assert not slightly.passed and slightly.order < 1.5
    flipped = check(lambda d, x, s: two_m(d, x, s, sign=-1.0), order=2)
    assert not flipped.passed and 0.8 < flipped.order < 1.2
    assert "WRONG: measured order" in flipped.verdict and "declared 2" in flipped.verdict


def test_a_sampler_that_gets_worse_with_more_steps() -> None:
    def worse(denoise: Denoised, x: Tensor, sigmas: Tensor) -> Tensor:
        return heun(denoise, x, sigmas) + 1e-5 * len(sigmas)

    found = check(worse)
    assert found.ever_worse and not found.passed
    assert found.verdict.endswith("more steps raised the error")


def test_a_sampler_that_ends_in_nan_is_wrong() -> None:
    found = check(lambda d, x, s: x * math.nan)
    assert not found.passed and found.ever_worse and "WRONG" in found.verdict


def test_a_stochastic_sampler_with_too_little_noise() -> None:
    def langevin(denoise: Denoised, x: Tensor, sigmas: Tensor, size: float = 1.0) -> Tensor:
        for s, t in pairwise(sigmas):
            down = t**2 / s
            x = x + (x - denoise(x, s)) / s * (down - s)
            x = x + size * (t**2 - down**2).sqrt() * torch.randn_like(x)
        return x

    state = torch.get_rng_state()
    assert check(langevin, stochastic=True, steps=(320,)).passed
    shy = check(lambda d, x, s: langevin(d, x, s, 0.95), stochastic=True, steps=(320,))
    assert not shy.passed and "standard errors" in shy.verdict
    assert torch.equal(torch.get_rng_state(), state)  # the caller's generator is left alone


def test_the_grid_is_even_behind_its_start_up() -> None:
    for steps in (10, 320):
        levels = -2 * even_grid(steps).log()
        assert levels[0] == -5 and levels[-1] == 5
        gaps = levels.diff()
        assert torch.allclose(gaps[-steps + 1 :], torch.tensor(10 / steps).double(), atol=1e-12)
        assert 0 < gaps[0] < 2e-5 * gaps[-1] and (gaps[:15].diff() > 0).all()


def test_names_that_cannot_be_checked() -> None:
    with pytest.raises(ValueError, match="there is no sampler 'hoin'; there are ddpm"):
        check("hoin")
    with pytest.raises(ValueError, match="consistency models"):
        check("consistency")


def test_consistency_sampling_with_the_ideal_consistency_function() -> None:
    """Which carries every state to the end of its flow: then any number of steps draws from the data."""
    mean, covariance = torch.tensor([0.7, -0.4]).double(), torch.tensor([[0.5, 0.3], [0.3, 0.4]]).double()
    exact, clean = Gaussian(flow, mean, covariance), torch.tensor(torch.inf, dtype=torch.float64)
    row, seeds = SAMPLERS["consistency"], torch.arange(20_000)
    for steps in (1, 3):
        levels = torch.linspace(-9, 0, steps, dtype=torch.float64)
        stops = row.stops(torch.cat([levels, clean[None]]))
        alpha, sigma = flow(stops[0])
        z = noise(seeds, 0, 0, (2,)).double()
        x = alpha * mean + z @ torch.linalg.cholesky(alpha**2 * covariance + sigma**2 * torch.eye(2)).T
        walk = row.walk(flow, x, stops, lambda i, draw: noise(seeds, i + 1, draw, (2,)).double())
        *_, end = alone(lambda x, level, cond: exact.flow(x, level[0], clean), walk)
        variance = covariance.diag()
        assert ((end.x.mean(0) - mean).abs() < 4 * (variance / 20_000).sqrt()).all()
        error = ((variance.outer(variance) + covariance**2) / 20_000).sqrt()
        assert ((end.x.T.cov() - covariance).abs() < 4 * error).all()


def test_plot_and_file(tmp_path: object) -> None:
    found = Check("mine", (10, 20), (10, 20), (1e-2, 2.5e-3), 2, False)
    path = f"{tmp_path}/mine.png"
    found.save(path)
    stored = read_settings(path)
    assert stored is not None and stored["errors"] == [1e-2, 2.5e-3] and stored["name"] == "mine"
    shown = found._repr_png_()
    assert shown is not None and shown.startswith(b"\x89PNG")
    assert found.plot().width > found.plot().height > 300
