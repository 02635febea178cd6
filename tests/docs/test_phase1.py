"""Phase 1 of the guide: its exercises' answers, and the truths that its text states."""

import math
from pathlib import Path

import pytest
import torch
from helpers_modules import module_of
from torch import Tensor

from mezzotint import Empirical, Gaussian, Mixture
from mezzotint.data import load_pictures, to_model
from mezzotint.diffusion.process import add_noise, flow, ve, vp
from mezzotint.diffusion.schedule import linear

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"


solutions = module_of(GUIDE / "solutions" / "phase1.py")


def level(logsnr: float) -> Tensor:
    return torch.tensor(logsnr, dtype=torch.float64)


def test_1_1_the_spread_of_noised_data() -> None:
    for logsnr, (formula, measured) in solutions.exercise_1_1().items():
        snr = math.exp(logsnr)
        assert formula == pytest.approx(math.sqrt((snr * 0.7518**2 + 1) / (snr + 1)), abs=1e-4)
        assert measured == pytest.approx(formula, abs=0.01)
        assert 0.75 < formula < 1


def test_1_2_one_multiplication_changes_the_process() -> None:
    difference, at_minus_1, at_500 = solutions.exercise_1_2()
    assert difference < 1e-6
    assert at_minus_1 == pytest.approx(1 / (1 + math.exp(-0.5)), abs=1e-12)  # sigma / (alpha + sigma)
    kept = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)[:500]).prod().item()
    assert at_500 == pytest.approx((1 - kept) ** 0.5 / (kept**0.5 + (1 - kept) ** 0.5), abs=1e-12)
    assert round(at_500, 3) == 0.774


def test_1_3_betas_from_levels() -> None:
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)[1:]
    for found in solutions.exercise_1_3():
        torch.testing.assert_close(found, betas, rtol=0, atol=1e-12)


def test_1_4_the_distance_of_the_end_from_noise() -> None:
    found = solutions.exercise_1_4()
    x0 = to_model(load_pictures("digits").batch(torch.arange(1797))[0]).double().flatten(1)
    for steps in (1000, 300):
        alpha, sigma = vp(linear(steps).logsnr[-1])
        end = torch.distributions.Normal(alpha * x0, sigma)
        pure = torch.distributions.Normal(torch.zeros_like(x0), 1.0)
        expected = torch.distributions.kl_divergence(end, pure).sum(1).mean().item()
        assert found[f"linear({steps})"] == pytest.approx(expected, rel=1e-9)
    assert round(found["linear(1000)"], 4) == 0.0009
    assert round(found["linear(300)"], 2) == 1.14
    assert found["zero_terminal_snr(linear(300))"] == 0


def test_1_5_averages_are_cleaner() -> None:
    logsnr, large, small = solutions.exercise_1_5()
    assert logsnr == pytest.approx(-3 + math.log(64), abs=0.05)
    assert large.shape == (1, 1, 64, 64)
    assert small.shape == (1, 1, 8, 8)


def test_1_6_one_bit() -> None:
    bit, half = solutions.exercise_1_6()
    assert bit == pytest.approx(math.log(2), abs=1e-6)
    assert half == pytest.approx(0.05, abs=0.03)


# --- the text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_two_points_are_a_tanh_and_a_gaussian_a_line(process: object) -> None:
    assert callable(process)
    x = torch.linspace(-3, 3, 25, dtype=torch.float64)[:, None]
    ends = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    for logsnr in (3.0, 0.0, -3.0):
        alpha, sigma = process(level(logsnr))
        two = (alpha * x / sigma**2).tanh()
        half = torch.full((2,), 0.5, dtype=torch.float64)
        narrow = Mixture(process, half, ends, torch.full((2, 1), 1e-12, dtype=torch.float64))
        torch.testing.assert_close(narrow(x, level(logsnr)), two, rtol=0, atol=1e-8)
        torch.testing.assert_close(Empirical(process, ends)(x, level(logsnr)), two, rtol=0, atol=1e-12)
        mean, c = torch.tensor([0.3], dtype=torch.float64), torch.tensor([0.5], dtype=torch.float64)
        line = mean + alpha * c / (alpha**2 * c + sigma**2) * (x - alpha * mean)
        torch.testing.assert_close(Gaussian(process, mean, c)(x, level(logsnr)), line, rtol=0, atol=1e-12)


def test_at_one_level_all_processes_are_one() -> None:
    """The exact answer depends on x / alpha and the level alone."""
    data = torch.randn(20, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    eps = torch.randn(20, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    at = level(-0.7)
    first, *others = (Empirical(p, data)(add_noise(p, data, eps, at), at) for p in (vp, ve, flow))
    for other in others:
        torch.testing.assert_close(other, first, rtol=0, atol=1e-12)


def test_the_curve_of_what_is_decided_has_the_area_it_says() -> None:
    """The nats of the figure: together log 1797, and almost all between logsnr 3 and -4."""
    figures = module_of(GUIDE / "figures" / "phase1.py")
    logsnr = torch.arange(-9, 6.01, 1.0, dtype=torch.float64)
    decided = figures.nats(logsnr)
    assert torch.trapezoid(decided, logsnr).item() == pytest.approx(math.log(1797), rel=0.03)
    assert decided[(logsnr > 3.5) | (logsnr < -4.5)].sum() < 0.02 * decided.sum()


def test_linear_wastes_a_third_of_its_time() -> None:
    assert 1 / 3 < (linear(1000).logsnr < -4).double().mean().item() < 0.4
