"""The exact denoiser of a mixture: values, density, and the identities that every exact denoiser obeys."""

import math

import pytest
import torch
from golden import close, golden, mixture
from torch import Tensor

from mezzotint.diffusion.exact import Mixture
from mezzotint.diffusion.process import Process, flow, logsnr_of, ve, vp

PROBLEMS = ["g2", "g4", "g16"]


def _levels(problem: str) -> list[tuple[Tensor, Tensor, Tensor]]:
    pairs = golden("mixtures")[f"{problem}__eval__alpha_sigma"]
    return [(alpha, sigma, logsnr_of(alpha, sigma)) for alpha, sigma in pairs]


def _process(alpha: Tensor, sigma: Tensor) -> Process:
    """The reference levels belong to no one process: take their coefficients as they are."""
    return lambda logsnr: (alpha.expand(logsnr.shape), sigma.expand(logsnr.shape))


@pytest.mark.parametrize("problem", PROBLEMS)
def test_values_equal_the_reference(problem: str) -> None:
    numbers = golden("mixtures")
    x = numbers[f"{problem}__eval__x"]
    for row, (alpha, sigma, logsnr) in enumerate(_levels(problem)):
        exact = mixture(problem, _process(alpha, sigma))
        x0 = exact(x, logsnr)
        close(x0, numbers[f"{problem}__eval__denoised"][row], atol=1e-12)
        close(exact(x, logsnr.expand(len(x))), x0, atol=1e-13)
        close(exact.log_prob(x, logsnr), numbers[f"{problem}__eval__logp"][row], rtol=1e-12, atol=1e-12)
        eps = numbers[f"{problem}__eval__eps"][row]
        close(alpha * eps - sigma * x0, numbers[f"{problem}__eval__v"][row], atol=1e-12)
        close(eps - x0, numbers[f"{problem}__eval__rf_velocity"][row], atol=1e-12)
        for k in range(3):
            one = mixture(problem, _process(alpha, sigma), k)
            close(one(x, logsnr), numbers[f"{problem}__eval__denoised_cond"][k, row], atol=1e-12)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_tweedie(problem: str) -> None:
    """x0 = (x + sigma^2 score) / alpha, with the score by differentiating the density (Robbins 1956; Efron 2011)."""
    numbers = golden("mixtures")
    for row, (alpha, sigma, logsnr) in enumerate(_levels(problem)):
        x = numbers[f"{problem}__eval__x"].clone().requires_grad_()
        exact = mixture(problem, _process(alpha, sigma))
        (score,) = torch.autograd.grad(exact.log_prob(x, logsnr).sum(), x)
        close(score, numbers[f"{problem}__eval__score"][row], rtol=1e-11, atol=1e-12)
        if alpha > 0:
            close((x + sigma**2 * score) / alpha, exact(x, logsnr), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("problem", PROBLEMS)
def test_jacobian(problem: str) -> None:
    numbers = golden("mixtures")
    expected = numbers[f"{problem}__eval__denoiser_jac"]
    x = numbers[f"{problem}__eval__x"][: expected.shape[1]]
    for row, (alpha, sigma, logsnr) in enumerate(_levels(problem)):
        exact = mixture(problem, _process(alpha, sigma))
        jacobian = torch.autograd.functional.jacobian(lambda x: exact(x, logsnr).sum(0), x).transpose(0, 1)  # noqa: B023
        close(jacobian, expected[row], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("process", [vp, flow])
def test_the_ends(process: Process) -> None:
    numbers = golden("mixtures")
    exact, x = mixture("g4", process), numbers["g4__eval__x"]
    at = {end: exact(x, torch.tensor(end, dtype=torch.float64)) for end in (-math.inf, math.inf)}
    close(at[-math.inf], numbers["g4__data_mean"].expand_as(x), atol=1e-13)  # pure noise says nothing
    close(at[math.inf], x, atol=1e-10)  # a clean picture is its own best guess


def test_pictures_keep_their_shape() -> None:
    x = torch.randn(5, 1, 4, 4, dtype=torch.float64)
    exact, level = mixture("g16", vp), torch.tensor(0.3, dtype=torch.float64)
    assert torch.equal(exact(x, level), exact(x.flatten(1), level).reshape(x.shape))


def test_one_gaussian_has_the_wiener_filter() -> None:
    """For one Gaussian the posterior mean is linear: m + alpha C (alpha^2 C + sigma^2)^-1 (x - alpha m)."""
    torch.manual_seed(0)
    root = torch.randn(3, 3, dtype=torch.float64)
    mean, cov = torch.randn(3, dtype=torch.float64), root @ root.T
    for process in (vp, ve, flow):
        exact = Mixture(process, torch.ones(1, dtype=torch.float64), mean[None], cov[None])
        level, x = torch.tensor(-0.7, dtype=torch.float64), torch.randn(6, 3, dtype=torch.float64)
        alpha, sigma = process(level)
        total = alpha**2 * cov + sigma**2 * torch.eye(3, dtype=torch.float64)
        close(
            exact(x, level), mean + (x - alpha * mean) @ torch.linalg.inv(total) @ (alpha * cov), atol=1e-12
        )
        normal = torch.distributions.MultivariateNormal(alpha * mean, total)
        close(exact.log_prob(x, level), normal.log_prob(x), atol=1e-12)
