"""Stochastic samplers draw from the data: mean and covariance of 20,000 samples of a Gaussian."""

from itertools import pairwise

import pytest
import torch
from helpers_golden import close
from torch import Tensor

from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.exact import Mixture
from mezzotint.diffusion.process import Process, flow, ve, vp
from mezzotint.diffusion.sampler import start
from mezzotint.diffusion.schedule import grid, linear, lognormal
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.randomness import noise

N, D = 20_000, 2
MEAN = torch.tensor([0.7, -0.4], dtype=torch.float64)
COV = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)
EYE = torch.eye(D, dtype=torch.float64)


def _law(process: Process, levels: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and covariance of the chain's end, worked out: every step is affine, and its noise is Gaussian.

    x_t ~ q(x_t | x_s, x0 = A x_s + b), the Bayes posterior of one noising step x_s = k x_t + noise of variance r.
    """
    alpha, sigma = process(levels[0])
    mean, cov = torch.zeros(D, dtype=torch.float64), (alpha**2 + sigma**2) * EYE
    for s, t in pairwise(levels):
        (alpha_s, sigma_s), (alpha_t, sigma_t) = process(s), process(t)
        gain = alpha_s * COV @ torch.linalg.inv(alpha_s**2 * COV + sigma_s**2 * EYE)
        k = alpha_s / alpha_t
        r = sigma_s**2 - k**2 * sigma_t**2
        # Posterior precision 1 / sigma_t^2 + k^2 / r = sigma_s^2 / (sigma_t^2 r).
        on_x0, on_x = alpha_t * r / sigma_s**2, k * sigma_t**2 / sigma_s**2
        matrix = on_x0 * gain + on_x * EYE
        mean = matrix @ mean + on_x0 * (EYE - alpha_s * gain) @ MEAN
        cov = matrix @ cov @ matrix.T + sigma_t**2 * r / sigma_s**2 * EYE
    return mean, cov


@pytest.mark.parametrize(
    ("name", "process", "levels"),
    [
        ("ddpm", vp, grid("trailing", 80, linear())),
        ("ddpm", vp, grid("leading", 50, linear())),
        ("euler_a", ve, grid("karras", 40, lognormal())),
        ("euler_a", flow, grid("logsnr", 40, lognormal())),
    ],
)
def test_samples_follow_the_law_of_their_chain(name: str, process: Process, levels: Tensor) -> None:
    """Within 4 standard errors: sqrt(C_ii / n) of a mean, sqrt((C_ii C_jj + C_ij^2) / n) of a covariance."""
    exact = Mixture(process, torch.ones(1, dtype=torch.float64), MEAN[None], COV[None])
    seeds = torch.arange(N)
    stops = SAMPLERS[name].stops(levels)
    x = start(process, stops[0], noise(seeds, 0, 0, (D,)).double())
    steps = SAMPLERS[name].walk(process, x, stops, lambda i, draw: noise(seeds, i + 1, draw, (D,)).double())
    *_, end = alone(lambda x, logsnr, cond: exact(x, logsnr[0]), steps)
    mean, cov = _law(process, levels)
    assert ((end.x.mean(0) - mean).abs() < 4 * (cov.diag() / N).sqrt()).all()
    error = ((cov.diag().outer(cov.diag()) + cov**2) / N).sqrt()
    assert ((end.x.T.cov() - cov).abs() < 4 * error).all()


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_the_law_of_the_chain_tends_to_the_data(process: Process) -> None:
    """Twice the steps halve what is missing of the covariance; a thousand leave 1 percent."""
    missing = []
    for steps in (125, 250, 500, 1000):
        mean, cov = _law(process, grid("trailing", steps, linear()))
        close(mean, MEAN, atol=1e-3)
        missing.append(float(((COV - cov) / COV).abs().max()))
    assert all(1.8 < a / b < 2.2 for a, b in pairwise(missing)) and missing[-1] < 0.012
