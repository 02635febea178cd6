"""The exact denoiser of a mixture: values, density, and the identities that every exact denoiser obeys."""

import math

import pytest
import torch
from helpers_golden import close, golden, mixture
from torch import Tensor

from mezzotint.diffusion.exact import Empirical, Gaussian, Mixture, exact_flow
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


def _gaussian(process: Process, seed: int = 0) -> Gaussian:
    draw = torch.Generator().manual_seed(seed)
    root = torch.randn(3, 3, dtype=torch.float64, generator=draw)
    return Gaussian(process, torch.randn(3, dtype=torch.float64, generator=draw), root @ root.T)


def _level(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_a_diagonal_is_enough_for_a_diagonal_covariance() -> None:
    draw = torch.Generator().manual_seed(3)
    weights, variances = torch.tensor([0.3, 0.7]).double(), torch.rand(2, 4, generator=draw).double() + 0.1
    means, x = (torch.randn(n, 4, generator=draw).double() for n in (2, 6))
    for process in (vp, ve, flow):
        short = Mixture(process, weights, means, variances)
        full = Mixture(process, weights, means, torch.diag_embed(variances))
        levels = torch.linspace(-4, 6, 6, dtype=torch.float64)
        close(short(x, levels), full(x, levels), atol=1e-13)
        close(short.log_prob(x, levels), full.log_prob(x, levels), rtol=1e-13)
    one = Gaussian(vp, means[0], variances[0])
    close(one(x, _level(0.5)), Gaussian(vp, means[0], torch.diag(variances[0]))(x, _level(0.5)), atol=1e-13)


def test_answers_in_the_dtype_it_is_asked_in() -> None:
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    for exact in (_gaussian(vp), Empirical(vp, torch.randn(5, 3))):
        asked = exact(x, _level(0.0))
        assert asked.dtype == torch.float32
        close(asked, exact(x.double(), _level(0.0)).float(), atol=1e-6)


@pytest.mark.parametrize("process", [vp, ve, flow])
@pytest.mark.parametrize(("s", "t"), [(-6.0, 5.0), (4.0, -4.0)])
def test_the_flow_of_a_gaussian_has_a_closed_form(process: Process, s: float, t: float) -> None:
    exact = _gaussian(process)
    x = process(_level(s))[1] * torch.randn(
        8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    moved = exact.flow(x, _level(s), _level(t))
    close(exact_flow(exact, x, _level(s), _level(t)), moved, rtol=1e-11, atol=1e-11)
    close(exact.flow(moved, _level(t), _level(s)), x, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("process", [vp, flow])
def test_the_flow_of_a_gaussian_from_pure_noise_to_clean(process: Process) -> None:
    exact = _gaussian(process)
    z = torch.randn(8, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    clean = exact.flow(z, _level(-math.inf), _level(math.inf))
    root = (
        exact.axes[0] * exact.variances[0].sqrt() @ exact.axes[0].T
    )  # C^(1/2): the map of optimal transport
    close(clean, exact.means[0] + z @ root, atol=1e-12)
    close(exact_flow(exact, z, _level(-math.inf), _level(math.inf)), clean, atol=1e-11)


@pytest.mark.parametrize(("name", "process"), [("ve", ve), ("vplin", vp), ("vpcos", vp), ("rf", flow)])
@pytest.mark.parametrize("problem", ["g2", "g4", "g16"])
def test_exact_flow_equals_the_reference(problem: str, name: str, process: Process) -> None:
    numbers = golden("exact")
    levels = logsnr_of(*numbers[f"ode__{name}__alpha_sigma"].T)
    expected = numbers[f"ode__{problem}__{name}__x"]
    exact = mixture(problem, process)
    middle = exact_flow(exact, expected[0], levels[0], levels[9])
    close(middle, expected[9], rtol=1e-12, atol=1e-11)
    close(exact_flow(exact, middle, levels[9], levels[-1]), expected[-1], atol=1e-11)
    if problem == "g4":  # and the other way
        noisy = numbers[f"encode__g4__{name}__xT"]
        clean = numbers["encode__g4__x0"]
        close(exact_flow(exact, clean, levels[-1], levels[0]), noisy, rtol=1e-11, atol=5e-11)


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_the_ideal_that_copies_is_bayes_rule_over_a_set(process: Process) -> None:
    draw = torch.Generator().manual_seed(4)
    data, x = (torch.randn(n, 2, 3, dtype=torch.float64, generator=draw) for n in (11, 7))
    levels = torch.linspace(-6, 4, 7, dtype=torch.float64)
    expected = []
    for picture, level in zip(x, levels):
        alpha, sigma = process(level)
        likelihood = (-((picture - alpha * data) ** 2).sum((1, 2)) / (2 * sigma**2)).exp()
        expected.append((likelihood[:, None, None] * data).sum(0) / likelihood.sum())
    for chunk in (3, 4096):
        close(Empirical(process, data, chunk)(x, levels), torch.stack(expected), atol=1e-12)


@pytest.mark.parametrize("process", [vp, flow])
def test_the_ideal_that_copies_at_the_ends(process: Process) -> None:
    """The mean of the data at pure noise; at clean, and close to it, the nearest of them."""
    draw = torch.Generator().manual_seed(5)
    data, x = (torch.randn(n, 1, 4, 4, generator=draw) for n in (9, 5))
    ideal = Empirical(process, data, chunk=4)
    close(ideal(x, _level(-math.inf)), data.mean(0).expand_as(x), atol=1e-6)
    nearest = data[torch.cdist(x.flatten(1), data.flatten(1)).argmin(1)]
    for level in (math.inf, 74.66, 30.0):
        assert torch.equal(ideal(x, _level(level)), nearest)
    twice = Empirical(process, torch.cat([data[:1], data[:1], data[1:]]))
    assert torch.equal(twice(data[:1], _level(math.inf)), data[:1])  # equally near: their mean


def test_the_ideal_that_copies_ends_at_the_data() -> None:
    draw = torch.Generator().manual_seed(6)
    data, z = (torch.randn(n, 2, dtype=torch.float64, generator=draw) for n in (4, 6))
    end = exact_flow(Empirical(vp, data), z, _level(-math.inf), _level(9.0), tolerance=1e-10)
    assert torch.cdist(end, vp(_level(9.0))[0] * data).amin(1).max() < 4 * vp(_level(9.0))[1]


def test_a_flow_that_is_too_sharp_says_so() -> None:
    jump = Empirical(vp, torch.tensor([[-1.0], [1.0]]).double())
    x = torch.tensor([[1e-9]]).double()
    with pytest.raises(ArithmeticError, match="noisier level"):
        exact_flow(jump, x, _level(-2.0), _level(math.inf), tolerance=1e-17)
