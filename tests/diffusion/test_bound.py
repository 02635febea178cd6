"""The discrete variational bound, term by term, against guided-diffusion, direct Gaussians and exact log probabilities."""

import math

import pytest
import torch
from helpers_golden import close, golden, mixture
from helpers_oracles import plain, random_mixture
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from mezzotint.diffusion import bound as module
from mezzotint.diffusion.bound import bound, log_prob_of_bytes, prior_term, term, terms
from mezzotint.diffusion.exact import Mixture
from mezzotint.diffusion.process import Process, add_noise, flow, ve, vp
from mezzotint.diffusion.schedule import Table, cosine, from_betas, linear, zero_terminal_snr

TABLES = {"linear": linear(), "cosine": cosine()}
PROBLEMS = [(schedule, problem) for schedule in TABLES for problem in ("g2", "g16")]
BYTES = torch.arange(256, dtype=torch.float64) / 127.5 - 1
VARIANCES = [("fixedsmall", False), ("fixedlarge", True)]


def _by_tanh(x0: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """The decoder as guided-diffusion has it: Phi(z) = (1 + tanh(sqrt(2 / pi) (z + 0.044715 z^3))) / 2, P >= 1e-12."""

    def cdf(z: Tensor) -> Tensor:
        return 0.5 * (1 + (math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)).tanh())

    left, right = cdf((x0 - mean - 1 / 255) / scale), cdf((x0 - mean + 1 / 255) / scale)
    return (
        torch.where(x0 < -0.999, right, torch.where(x0 > 0.999, 1 - left, right - left))
        .clamp(min=1e-12)
        .log()
    )


def test_decoder_equals_the_reference_by_the_exact_cdf() -> None:
    """Where it is clamped at 1e-12 there, ours goes on."""
    numbers = golden("ddpm_core")
    x0, mean, scale = numbers["dgll__x"], numbers["dgll__means"], numbers["dgll__log_scales"].exp()
    ours = log_prob_of_bytes(x0, mean, scale)
    close(ours.clamp(min=math.log(1e-12)), numbers["dgll__log_prob_exact_cdf"], atol=1e-8)
    assert ours.isfinite().all() and ours.min() < -100
    close(
        _by_tanh(x0, mean, scale), numbers["dgll__log_prob"], atol=1e-8
    )  # the oracle below is guided-diffusion's


@pytest.mark.parametrize(
    ("mean", "scale"), [(0.1, 0.01), (-1.3, 0.2), (0.999, 1e-3), (5.0, 0.05), (0.0, 30.0)]
)
def test_decoder_is_a_distribution_of_256_bytes(mean: float, scale: float) -> None:
    parts = log_prob_of_bytes(BYTES, *(torch.tensor(z, dtype=torch.float64) for z in (mean, scale)))
    assert parts.isfinite().all()
    close(parts.logsumexp(0), torch.tensor(0.0, dtype=torch.float64), atol=1e-11)


def test_decoder_is_right_far_from_the_mean() -> None:
    """Against the sum of the density over 2000 points of each bin, 10 to 500 standard deviations away, on both sides."""
    scale = torch.tensor(0.003, dtype=torch.float64)
    x0 = BYTES[[30, 100, 127, 132, 200, 250]]
    offset = (torch.arange(2000, dtype=torch.float64) + 0.5) / 1000 - 1
    density = Normal(torch.tensor(0.02, dtype=torch.float64), scale).log_prob(x0[:, None] + offset / 255)
    expected = density.logsumexp(1) - math.log(1000 * 255)
    close(log_prob_of_bytes(x0, torch.tensor(0.02).double(), scale), expected, rtol=1e-4)


@pytest.mark.parametrize(("schedule", "problem"), PROBLEMS)
@pytest.mark.parametrize(("variance", "large"), VARIANCES)
def test_terms_equal_guided_diffusion(schedule: str, problem: str, variance: str, large: bool) -> None:
    numbers, table, name = golden("ddpm_core"), TABLES[schedule], f"{schedule}__{problem}__"
    x0, exact = numbers[name + "x0"], mixture(problem, vp)
    for row, index in enumerate(numbers["t_index"].long().tolist()):
        x = numbers[name + "q_sample"][row]
        belief = exact(x, table.logsnr[index])
        for clip in ("", "_clip"):
            seen = belief.clamp(-1, 1) if clip else belief
            expected = numbers[f"{name}vb_bpd__{variance}{clip}"][row]
            if index:
                close(term(vp, table, index, x0, seen, large=large), expected, atol=1e-9)
                continue
            scale = (numbers[f"{name}p_log_variance__{variance}"][row] / 2).exp()
            nats = -log_prob_of_bytes(x0, seen, scale).flatten(1).sum(1)
            ours = term(vp, table, 0, x0, seen, large=large)
            close(ours, nats / (x0[0].numel() * math.log(2)), atol=1e-8)
            tanh = -_by_tanh(x0, seen, scale).flatten(1).mean(1) / math.log(2)
            close(tanh, expected, atol=1e-8)  # same mean and variance; theirs differs by the CDF alone
    close(prior_term(vp, table, x0), numbers[name + "prior_bpd"], atol=1e-9)


@pytest.mark.parametrize(("schedule", "problem"), PROBLEMS)
@pytest.mark.parametrize(("variance", "large"), VARIANCES)
def test_the_whole_bound_equals_guided_diffusion(
    schedule: str, problem: str, variance: str, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A chain of 200 steps with the reference's noise; but for the decoder's CDF, the sum too."""
    numbers, name = golden("ddpm_core"), f"{schedule}__{problem}__bpd_loop__"
    draws, table = numbers[name + "noise"], from_betas(numbers[name + "betas"])
    x0 = numbers[f"{schedule}__{problem}__x0"][: draws.shape[1]]
    monkeypatch.setattr(module, "noise", lambda seeds, step, draw, shape: draws[len(table) - 1 - step])
    found = bound(mixture(problem, vp), vp, table, x0, torch.arange(len(x0)), large=large)
    key = f"{name}{variance}__"
    expected = numbers[key + "vb"].T.flip(0)
    close(found.steps, expected[1:], atol=1e-9)
    close(found.prior, numbers[key + "prior_bpd"], atol=1e-9)
    close(found.total - found.decoder + expected[0], numbers[key + "total_bpd"], atol=1e-9)


@pytest.mark.parametrize("process", [vp, ve, flow])
@pytest.mark.parametrize("large", [False, True])
def test_a_term_is_the_divergence_of_two_gaussians(process: Process, large: bool) -> None:
    """Bayes' posterior of one noising step, written with precisions, for the truth and for the belief."""
    draw = torch.Generator().manual_seed(0)
    x0, belief, x = torch.randn(3, 5, 4, dtype=torch.float64, generator=draw)
    table = Table(torch.tensor([4.0, 1.0, 0.2, -3.0]))
    for index in (1, 2, 3):
        (alpha_s, sigma_s), (alpha_t, sigma_t) = (process(table.logsnr[i]) for i in (index, index - 1))
        k = alpha_s / alpha_t
        r = sigma_s**2 - k**2 * sigma_t**2  # x_s = k x_t + noise of variance r
        precision = 1 / sigma_t**2 + k**2 / r

        def posterior(picture: Tensor, variance: Tensor) -> Normal:
            mean = (alpha_t * picture / sigma_t**2 + k * x / r) / precision  # noqa: B023
            return Normal(mean, variance.sqrt().expand_as(mean))

        model = posterior(belief, r if large else 1 / precision)
        nats = kl_divergence(posterior(x0, 1 / precision), model).sum(1)
        close(term(process, table, index, x0, belief, large=large), nats / (4 * math.log(2)), rtol=1e-11)
    alpha, sigma = process(table.logsnr[-1])
    end = kl_divergence(Normal(alpha * x0, sigma), Normal(0.0, (alpha**2 + sigma**2).sqrt())).sum(1)
    close(prior_term(process, table, x0), end / (4 * math.log(2)), rtol=1e-11)


def test_expected_terms_of_a_gaussian() -> None:
    """E |x0 - belief|^2 is the variance of x0 given x: every term's mean over 4000 pictures within 4 standard errors."""
    n, variance, mean = 4000, torch.tensor([0.5, 0.01]).double(), torch.tensor([[0.2, -0.1]]).double()
    exact = Mixture(flow, torch.ones(1).double(), mean, variance.diag()[None])
    table = Table(torch.linspace(6, -6, 12))
    x0 = mean + variance.sqrt() * torch.randn(
        n, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    found = bound(exact, flow, table, x0, torch.arange(n))
    snr = table.logsnr.exp()[:, None]
    expected = ((snr[:-1] - snr[1:]) / 2 * (variance / (snr[1:] * variance + 1))).sum(1) / (2 * math.log(2))
    off = (found.steps.mean(1) - expected) / (found.steps.std(1) / math.sqrt(n))
    assert off.abs().max() < 4 and found.steps.shape == (11, n)


def _byte(logsnr: Tensor, x: Tensor, log_weights: Tensor) -> Tensor:
    """E[x0 | x] of independent bytes with given log probabilities."""
    alpha, sigma = (c.reshape(-1, 1, 1) for c in vp(logsnr))
    away = (x[..., None] - alpha * BYTES) / sigma
    return (log_weights - away.square() / 2).softmax(-1) @ BYTES


@pytest.mark.parametrize("large", [False, True])
def test_it_bounds_the_probability_of_the_chain(large: bool) -> None:
    """One pixel and 24 steps, where the chain's own P(x0) is 24 integrals on a grid."""
    table = Table(torch.linspace(8.5, -5, 24))
    log_weights = (-((BYTES - 0.3) ** 2) / 0.08).logaddexp(-((BYTES + 0.5) ** 2) / 0.02)
    grid = torch.linspace(-4.5, 4.5, 1126, dtype=torch.float64)
    width = math.log(9 / 1125)
    state = Normal(0.0, 1.0).log_prob(grid)
    for index in range(23, -1, -1):
        belief = _byte(table.logsnr[index].expand(1), grid[None], log_weights)[0]
        if index == 0:
            break
        (alpha_s, sigma_s), (alpha_t, sigma_t) = (vp(table.logsnr[i]) for i in (index, index - 1))
        k = alpha_s / alpha_t
        r = sigma_s**2 - k**2 * sigma_t**2
        mean = (alpha_t * r * belief + k * sigma_t**2 * grid) / sigma_s**2
        std = (r if large else sigma_t**2 * r / sigma_s**2).sqrt()
        step = Normal(mean[:, None], std).log_prob(grid[None, :])
        state = (state[:, None] + step).logsumexp(0) + width
    scale = (vp(table.logsnr[0])[1] ** 2 * -torch.expm1(table.logsnr[1] - table.logsnr[0])).sqrt()
    log_p = (state + log_prob_of_bytes(BYTES[:, None], belief, scale)).logsumexp(1) + width
    close(log_p.logsumexp(0), torch.tensor(0.0).double(), atol=1e-4)  # the integrals are right
    denoise = plain(lambda x, logsnr: _byte(logsnr, x, log_weights))
    n = 1000
    for value in (60, 200):
        x0 = BYTES[value].expand(n, 1)
        cost = bound(denoise, vp, table, x0, torch.arange(n), large=large).total
        gap, error = float(cost.mean() + log_p[value] / math.log(2)), float(cost.std()) / math.sqrt(n)
        assert -4 * error < gap < 2, (value, gap, error)  # bits; steps so long waste some


def test_uniform_noise_costs_eight_bits() -> None:
    """With the exact denoiser of uniform bytes a fine chain wastes next to nothing; it cannot go below 8. It begins far
    below half a grey level (DDPM's linear chain, which does not, pays 8.9)."""
    images = torch.randint(0, 256, (8, 64), generator=torch.Generator().manual_seed(1))
    log_weights = torch.zeros(256, dtype=torch.float64)
    denoise = plain(lambda x, logsnr: _byte(logsnr, x, log_weights))
    total = bound(denoise, vp, Table(torch.linspace(15, -12, 1000)), BYTES[images], torch.arange(8)).total
    error = float(total.std()) / math.sqrt(8)
    assert 8 - 4 * error < float(total.mean()) < 8.2


def test_terms_come_from_the_noisiest_on_and_each_row_by_itself() -> None:
    exact, table = random_mixture(vp, 3, d=4), linear(20, 1e-3, 0.4)
    draw = torch.Generator().manual_seed(2)
    x0, seeds = torch.randn(5, 1, 2, 2, dtype=torch.float64, generator=draw), torch.arange(5) + 3
    levels: list[float] = []

    def denoise(x: Tensor, logsnr: Tensor, cond: object) -> Tensor:
        assert logsnr.shape == (5,) or logsnr.shape == (1,)
        levels.append(float(logsnr[0]))
        return exact(x, logsnr)

    one_by_one = list(terms(denoise, vp, table, x0, seeds))
    assert levels == table.logsnr.flip(0).tolist()
    found = bound(denoise, vp, table, x0, seeds)
    assert torch.equal(torch.stack(one_by_one).flip(0), torch.cat([found.decoder[None], found.steps]))
    close(found.total, found.prior + found.decoder + found.steps.sum(0), rtol=1e-14)
    alone = bound(denoise, vp, table, x0[2:3], seeds[2:3])
    close(alone.total, found.total[2:3], atol=1e-11)
    # Noise of its own at every level, and standard normal on its way through the process.
    first = table.logsnr[7].expand(5)
    noised = add_noise(vp, x0, module.noise(seeds, 7, 0, (1, 2, 2)).double(), first)
    close(term(vp, table, 7, x0, exact(noised, first)), found.steps[6], atol=1e-12)


def test_pictures_in_float32_and_the_ends_of_tables() -> None:
    table = zero_terminal_snr(linear(50, 1e-3, 0.2))
    exact, x0 = random_mixture(vp, 4, d=4), BYTES[torch.randint(0, 256, (6, 4))]
    fine = bound(exact, vp, table, x0, torch.arange(6))
    close(fine.prior, torch.zeros(6).double(), atol=1e-15)  # nothing is left of the picture at the last level
    coarse = bound(
        plain(lambda x, logsnr: exact(x.double(), logsnr).float()), vp, table, x0.float(), torch.arange(6)
    )
    assert {part.dtype for part in coarse} == {torch.float64} and fine.total.isfinite().all()
    close(coarse.total, fine.total, rtol=1e-4)
    with pytest.raises(ValueError, match="at least 2 timesteps"):
        bound(exact, vp, Table(torch.tensor([1.0])), x0, torch.arange(6))
    with pytest.raises(ValueError, match="model's range"):
        bound(exact, vp, table, torch.zeros(6, 4, dtype=torch.uint8), torch.arange(6))
