"""Phase 4 of the guide, sampling: its solutions, and what the page says in words."""

import math
import re
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from helpers_modules import module_of

import mezzotint
from mezzotint import exact_flow
from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.process import flow, renoise, vp
from mezzotint.diffusion.routes import ancestral
from mezzotint.diffusion.schedule import grid, karras, linear
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.randomness import noise
from mezzotint.tasks.generate import generate

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
PAGES = [(GUIDE / name).read_text(encoding="utf-8") for name in ("4-sampling.md", "fresh-noise.md")]


solutions = module_of(GUIDE / "solutions" / "phase4.py")


# --- the solutions ----------------------------------------------------------------------------------------


def test_hops_compose() -> None:
    assert solutions.exercise_4_1() < 1e-14


def test_ddim_of_a_unit_gaussian_is_a_power_of_a_cosine() -> None:
    found = solutions.exercise_4_2()
    for measured, closed in found.values():
        assert measured == pytest.approx(closed, abs=1e-12)
    assert found[10][0] == pytest.approx(0.884, abs=1e-3)  # as the page says
    assert 40 * (1 - found[40][0]) == pytest.approx(math.pi**2 / 8, rel=0.02)  # order one, and its constant


def test_heun_is_one_hop() -> None:
    assert solutions.exercise_4_3() < 1e-13


def test_the_check_finds_the_bug() -> None:
    right, wrong = solutions.exercise_4_4()
    assert right.passed and right.order == pytest.approx(2, abs=0.1)
    assert not wrong.passed and "WRONG" in wrong.verdict and wrong.order == pytest.approx(1, abs=0.1)


def test_the_larger_variance_is_exact_for_a_gaussian() -> None:
    found = solutions.exercise_4_5()
    assert found["ddpm_large"][1] == pytest.approx(1, abs=1e-12)
    assert found["ddpm"][1] == pytest.approx(0.58, abs=0.01)  # as the page says
    for measured, expected in found.values():
        assert measured == pytest.approx(expected, rel=4 * math.sqrt(2 / 20_000))  # four standard errors


def test_even_shares_make_a_good_grid() -> None:
    found = solutions.exercise_4_6()
    assert found["even shares"] < 0.55 * found["karras"]
    assert found["even shares"] < 0.55 * found["logsnr"]
    assert found["even shares"] < 1.1 * found["time"]


# --- the page ---------------------------------------------------------------------------------------------


def test_the_exact_step_is_a_hop_with_the_average_belief() -> None:
    """The integral by Gauss-Legendre quadrature, with beliefs on the exact flow."""
    exact, s, t = solutions.moons(vp), solutions.level(-1.0), solutions.level(1.5)
    x = solutions.normal(20)
    k = torch.arange(1, 8, dtype=torch.float64)
    places, weights = torch.linalg.eigh(torch.diag(k / (4 * k**2 - 1).sqrt(), -1))  # Golub & Welsch 1969
    here, at, total, norm = x, s, torch.zeros_like(x), torch.zeros((), dtype=torch.float64)
    for place, weight in zip(s + (places + 1) / 2 * (t - s), weights[0] ** 2):
        here, at = exact_flow(exact, here, at, place, tolerance=1e-9), place
        kept = weight * (-(t - place) / 2).exp()
        total, norm = total + kept * exact(here, place), norm + kept
    step = solutions.quiet(vp)(x, total / norm, s, t)
    assert (step - exact_flow(exact, here, at, t, tolerance=1e-9)).abs().max() < 1e-5
    assert (
        solutions.quiet(vp)(x, exact(x, s), s, t) - step
    ).abs().max() > 1e-2  # the belief at the start is not it


@pytest.mark.parametrize("eta", [0.5, 1.0])
def test_down_and_up_is_a_hop_with_a_share_of_fresh_noise(eta: float) -> None:
    """As distributions: the same factor of eps, and the same variance in all."""
    s, down, t = ancestral(torch.tensor([-1.0, 0.7], dtype=torch.float64), eta)
    share = eta * (1 - (s - t).exp()).sqrt()
    x, x0, nothing = solutions.normal(3), solutions.normal(3, seed=10), torch.zeros(3, 2).double()
    still = Hop(vp, solutions.level(0.0), lambda draw: nothing)
    for z in (nothing, torch.ones(3, 2).double()):
        lively = solutions.drawing(z)
        assert torch.allclose(
            renoise(vp, still(x, x0, s, down), down, t, z), lively(x, x0, s, t, share), atol=1e-13
        )


def test_few_steps_of_a_high_order_are_no_bargain() -> None:
    errors = [mezzotint.check(name, steps=(5, 10)).errors[0] for name in ("unipc_3", "dpmpp_2m")]
    assert 4 < errors[0] / errors[1] < 6  # "five times worse"


def test_a_network_is_further_from_the_truth_than_twenty_steps_from_its_flow() -> None:
    model, exact, seeds = mezzotint.load("moons", device="cpu"), solutions.moons(flow, 64), torch.arange(200)

    def network(x: torch.Tensor, level: torch.Tensor, cond: Cond) -> torch.Tensor:
        return model.denoiser(x, level, Cond(label=torch.full((len(x),), 2)))

    def end(denoise: mezzotint.diffusion.denoiser.Denoise, sampler: str, steps: int) -> torch.Tensor:
        run = generate(flow, karras(), (2,), seeds, sampler=sampler, steps=steps, spacing="time")
        *_, last = alone(denoise, run)
        return last.x

    truth, its_own = end(exact, "unipc", 40), end(network, "unipc", 40)
    assert (its_own - truth).norm(dim=1).median() == pytest.approx(0.012, abs=0.003)
    assert (end(network, "dpmpp_2m", 20) - its_own).norm(dim=1).median() == pytest.approx(0.010, abs=0.003)


@pytest.mark.parametrize(
    ("name", "steps", "spread"), [("ddpm", 10, 1.08), ("ddpm", 20, 1.17), ("dpmpp_2m", 10, 1.23)]
)
def test_ancestral_sampling_is_narrow_in_few_steps(name: str, steps: int, spread: float) -> None:
    exact, seeds = solutions.moons(vp), torch.arange(2000)
    run = generate(vp, karras(), (2,), seeds, sampler=name, steps=steps, spacing="time")
    *_, last = alone(exact, run)
    assert float(last.x[:, 0].std()) == pytest.approx(spread, abs=0.01)


def test_noise_forgets_a_wrong_start() -> None:
    exact, seeds, upper = solutions.moons(vp), torch.arange(400), {}
    for name in ("ddim", "ddpm"):
        row, wrong = SAMPLERS[name], noise(seeds, 0, 0, (2,)).double() + torch.tensor([0.0, 0.5])
        stops = row.stops(grid("trailing", 100, linear(1000)))
        run = row.walk(vp, wrong, stops, lambda i, draw: noise(seeds, i + 1, draw, (2,)).double())
        *_, last = alone(exact, run)
        upper[name] = float((torch.cdist(last.x, exact.means).argmin(1) < 32).double().mean())
    assert upper["ddim"] > 0.6
    assert upper["ddpm"] == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(len(seeds)))


def test_the_belief_is_made_between_minus_five_and_five() -> None:
    """ "Almost all is decided" there: nine tenths of the way that beliefs go."""
    exact, levels = solutions.moons(vp), torch.linspace(-10, 10, 81, dtype=torch.float64)
    x, beliefs = solutions.normal(100), []
    for s, t in pairwise(levels):
        beliefs.append(exact(x, s, NO_COND))
        x = solutions.quiet(vp)(x, beliefs[-1], s, t)
    moved = torch.stack(beliefs).diff(dim=0).norm(dim=2).mean(1)
    inside = (levels[1:-1] > -5) & (levels[1:-1] < 5)
    assert float(moved[inside].sum() / moved.sum()) > 0.9


def test_pictures_are_there_and_light() -> None:
    shown = [name for page in PAGES for name in re.findall(r"!\[[^\]]+\]\((figures/4-[^)]+\.png)\)", page)]
    assert len(shown) == 5
    for name in shown:
        assert (GUIDE / name).stat().st_size < 150_000
