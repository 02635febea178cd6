"""The forward process: coefficients, q(x | x0), and moves towards noise."""

import math

import pytest
import torch
from helpers_golden import close, golden, mixture

from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.process import Process, add_noise, flow, logsnr_of, per_row, renoise, ve, vp
from mezzotint.diffusion.routes import ancestral
from mezzotint.diffusion.sampler import start
from mezzotint.diffusion.schedule import Table, cosine, linear

LEVELS = torch.linspace(-30, 30, 61, dtype=torch.float64)
TABLES = {"linear": linear(), "cosine": cosine()}
PROBLEMS = [(schedule, problem) for schedule in TABLES for problem in ("g2", "g16")]


def quiet(process: Process) -> Hop:
    """A hop without noise of its own."""
    return Hop(
        process, torch.tensor(0.0, dtype=torch.float64), lambda draw: pytest.fail("no noise was asked for")
    )


def level(table: Table, index: int) -> torch.Tensor:
    """The level of an entry; -1 is clean."""
    return table.logsnr[index] if index >= 0 else torch.tensor(math.inf, dtype=torch.float64)


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_coefficients_have_the_signal_to_noise_ratio_they_are_named_by(process: Process) -> None:
    alpha, sigma = process(LEVELS)
    close(logsnr_of(alpha, sigma), LEVELS, atol=1e-13)
    close((alpha / sigma) ** 2, LEVELS.exp(), rtol=1e-13)


def test_conservation_of_variance_and_of_the_sum() -> None:
    alpha, sigma = vp(LEVELS)
    close(alpha**2 + sigma**2, torch.ones_like(alpha), atol=4e-16)
    alpha, sigma = flow(LEVELS)
    close(alpha + sigma, torch.ones_like(alpha), atol=4e-16)
    assert torch.equal(ve(LEVELS)[0], torch.ones_like(alpha))


def test_both_ends_are_finite() -> None:
    ends = torch.tensor([-math.inf, math.inf], dtype=torch.float64)
    for process in (vp, flow):
        alpha, sigma = process(ends)
        assert alpha.tolist() == [0, 1] and sigma.tolist() == [1, 0]
    assert ve(ends[1:])[1].tolist() == [0]
    assert logsnr_of(torch.tensor([0.0, 1.0]), torch.tensor([1.0, 0.0])).tolist() == [-math.inf, math.inf]


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_a_level_has_the_same_coefficients_alone_and_in_any_batch(process: Process) -> None:
    levels = torch.linspace(-25, 25, 1003, dtype=torch.float64)
    alpha, sigma = process(levels)
    for i in range(0, 1003, 5):
        for part in (levels[i], levels[i : i + 1], levels[i : i + 5]):
            a, s = process(part)
            assert torch.equal(a.reshape(-1), alpha[i : i + a.numel()])
            assert torch.equal(s.reshape(-1), sigma[i : i + s.numel()])


def test_flow_paths_equal_flow_matching() -> None:
    numbers = golden("schedules")
    time = numbers["continuous__t"]
    alpha, sigma = flow(logsnr_of(numbers["fm_condot__alpha_t"], numbers["fm_condot__sigma_t"]))
    close(alpha, time, rtol=1e-12, atol=1e-15)
    close(sigma, 1 - time, rtol=1e-12, atol=1e-15)
    for name in ("vp", "cosine"):
        expected = numbers[f"fm_{name}__alpha_t"], numbers[f"fm_{name}__sigma_t"]
        for actual, wanted in zip(vp(logsnr_of(*expected)), expected):
            close(actual, wanted, rtol=1e-9, atol=1e-12)


def test_rows_puts_a_coefficient_on_every_picture() -> None:
    x = torch.randn(3, 2, 4, 5)
    coefficients = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    assert (
        per_row(coefficients, x).shape == (3, 1, 1, 1)
        and (per_row(coefficients, x) * x).dtype == torch.float32
    )
    one = torch.tensor(2.0, dtype=torch.float64)
    assert (per_row(one, x) * x).dtype == torch.float32 and torch.equal(per_row(one, x) * x, 2 * x)


@pytest.mark.parametrize(("schedule", "problem"), PROBLEMS)
def test_noising_equals_guided_diffusion(schedule: str, problem: str) -> None:
    numbers, table, name = golden("ddpm_core"), TABLES[schedule], f"{schedule}__{problem}__"
    x0 = numbers[name + "x0"]
    for row, index in enumerate(numbers["t_index"].long().tolist()):
        noise, expected = numbers[name + "noise"][row], numbers[name + "q_sample"][row]
        close(add_noise(vp, x0, noise, level(table, index)), expected, atol=1e-12)
        close(add_noise(vp, x0, noise, level(table, index).expand(len(x0))), expected, atol=1e-12)
        close(renoise(vp, x0, level(table, -1), level(table, index), noise), expected, atol=1e-12)
        alpha, sigma = vp(level(table, index))
        close(alpha * x0, numbers[name + "q_mean"][row], rtol=1e-11)
        close((sigma**2).expand_as(x0), numbers[name + "q_variance"][row], rtol=1e-11)


@pytest.mark.parametrize(("schedule", "problem"), PROBLEMS)
def test_beliefs_convert_as_in_guided_diffusion(schedule: str, problem: str) -> None:
    numbers, table, name = golden("ddpm_core"), TABLES[schedule], f"{schedule}__{problem}__"
    for row, index in enumerate(numbers["t_index"].long().tolist()):
        x, other = numbers[name + "q_sample"][row], numbers[name + "other"][row]
        here, hop = level(table, index), quiet(vp)
        close(hop.x0(x, other, here), numbers[name + "x0_from_eps"][row], rtol=1e-10, atol=1e-12)
        close(hop.eps(x, other, here), numbers[name + "eps_from_x0"][row], rtol=1e-10, atol=1e-12)
        exact = mixture(problem, vp)(x, here)
        close(exact, numbers[name + "analytic_x0"][row], atol=1e-12)
        close(hop.eps(x, exact, here), numbers[name + "analytic_eps"][row], atol=1e-10)


@pytest.mark.parametrize(("schedule", "problem"), PROBLEMS)
def test_down_then_up_is_the_posterior_of_ddpm(schedule: str, problem: str) -> None:
    """q(x_{t-1} | x_t, x0): a hop to the level of `ancestral`, then fresh noise, has its mean and its variance."""
    numbers, table, name = golden("ddpm_core"), TABLES[schedule], f"{schedule}__{problem}__"
    x0 = numbers[name + "x0"]
    for row, index in enumerate(numbers["t_index"].long().tolist()):
        x = numbers[name + "q_sample"][row]
        s, t = level(table, index), level(table, index - 1)
        stops = ancestral(torch.stack([s, t]))
        down = quiet(vp)(x, x0, s, stops[1])
        if index == 0:
            assert len(stops) == 2 and torch.equal(down, x0)  # the last step ends clean, without fresh noise
            continue
        mean = renoise(vp, down, stops[1], t, torch.zeros_like(x))
        close(mean, numbers[name + "posterior_mean"][row], rtol=1e-10, atol=1e-12)
        noise = renoise(vp, torch.zeros_like(x), stops[1], t, torch.ones_like(x))
        close(noise**2, numbers[name + "posterior_variance"][row], rtol=1e-9)
        # "Fixed large" variance, beta_t, is a gain of sigma_s / sigma_t on the same noise.
        gain = float(vp(s)[1] / vp(t)[1])
        other, belief = numbers[name + "other"][row], mixture(problem, vp)(x, s)
        for variance, loud in (("fixedsmall", 1.0), ("fixedlarge", gain)):
            y = renoise(vp, quiet(vp)(x, belief, s, stops[1]), stops[1], t, other, loud)
            close(y, numbers[name + f"p_sample__{variance}"][row], rtol=1e-10, atol=1e-11)


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_noising_in_two_moves_is_noising_in_one(process: Process) -> None:
    """Chapman-Kolmogorov: the mean factors multiply, the variances add."""
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for a, b, c in [(9.0, 2.0, -3.0), (1.0, 0.999, -8.0), (math.inf, 4.0, 3.0), (0.5, 0.4999999, 0.4999998)]:
        s, m, t = (torch.tensor(z, dtype=torch.float64) for z in (a, b, c))
        close(
            renoise(process, renoise(process, one, s, m, zero), m, t, zero),
            renoise(process, one, s, t, zero),
            rtol=1e-13,
        )
        first = renoise(process, renoise(process, zero, s, m, one), m, t, zero)
        variance = first**2 + renoise(process, zero, m, t, one) ** 2
        close(variance, renoise(process, zero, s, t, one) ** 2, rtol=1e-7)
    assert torch.equal(renoise(process, zero, s, t, one, gain=3.0), 3 * renoise(process, zero, s, t, one))


def test_the_start_has_the_variance_of_noised_data() -> None:
    noise, here = torch.randn(5, 3), torch.tensor(-4.0, dtype=torch.float64)
    close(start(vp, here, noise), noise, rtol=1e-6)
    close(start(ve, here, noise), noise * math.sqrt(1 + math.exp(4)), rtol=1e-6)
    assert torch.equal(start(flow, torch.tensor(-math.inf, dtype=torch.float64), noise), noise)
