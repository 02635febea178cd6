"""Measured orders of convergence, against the exact flow of freshly drawn mixtures, and the moves of one interval."""

import itertools
import math
from functools import cache

import pytest
import torch
from helpers_golden import close
from helpers_oracles import plain, random_mixture
from torch import Tensor

from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.process import Process, flow, ve, vp
from mezzotint.diffusion.sampler import sample
from mezzotint.diffusion.solvers import Ask, Solver, dpmpp_2m, first_order, heun
from mezzotint.diffusion.table import SAMPLERS

NOISIEST, CLEANEST = -5.0, 5.0
COUNTS = [20, 40, 80, 160]
LOW_ORDER_START = {
    "dpmpp_3m",
    "unipc_3",
    "lms",
    "deis",
}  # multistep: of their order after an exact start, see `check`


@cache
def _exact_flow(seed: int) -> tuple[Tensor, Tensor]:
    """A noisy and a clean end of one trajectory of the probability-flow ODE, in y = x / alpha, whatever the process.

    dy / dlogsnr = (x0 - y) / 2, by the classical Runge-Kutta method with 400 steps (error about 1e-8).
    """
    exact = random_mixture(ve, seed)
    y = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * math.exp(
        -NOISIEST / 2
    )
    levels = torch.linspace(NOISIEST, CLEANEST, 401, dtype=torch.float64)
    h, first = levels[1] - levels[0], y

    def slope(y: Tensor, level: Tensor) -> Tensor:
        return (exact(y, level) - y) / 2

    for level in levels[:-1]:
        k1 = slope(y, level)
        k2 = slope(y + h / 2 * k1, level + h / 2)
        k3 = slope(y + h / 2 * k2, level + h / 2)
        k4 = slope(y + h * k3, level + h)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return first, y


def _error(sampler: str, process: Process, seed: int, steps: int) -> float:
    first, last = _exact_flow(seed)
    levels = torch.linspace(NOISIEST, CLEANEST, steps + 1, dtype=torch.float64)
    x = process(levels[0])[0] * first
    *_, state = alone(
        plain(random_mixture(process, seed)), sample(SAMPLERS[sampler].solver, process, x, levels, _silent)
    )
    return float((state.x / process(levels[-1])[0] - last).square().mean().sqrt())


def _silent(interval: int, draw: int) -> Tensor:
    raise AssertionError("a deterministic sampler asked for noise")


@pytest.mark.parametrize(("process", "seed"), [(vp, 7), (ve, 8), (flow, 7)])
@pytest.mark.parametrize(
    "sampler", [n for n, row in SAMPLERS.items() if not row.stochastic and n not in LOW_ORDER_START]
)
def test_order_of_convergence(sampler: str, process: Process, seed: int) -> None:
    errors = [_error(sampler, process, seed, steps) for steps in COUNTS]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert min(orders) > 0, f"twice the steps raised the error: {errors}"
    assert abs(orders[-1] - SAMPLERS[sampler].order) < 0.15, orders


def _step(
    solver: Solver, hop: Hop, x: Tensor, s: Tensor, t: Tensor, answers: list[Tensor], history: object
) -> list[Tensor]:
    """One interval with the answers given: the x of every question, then the new x."""
    seen = []
    interval = solver(hop, x, s, t, history)
    try:
        ask = next(interval)
        for x0 in answers:
            assert isinstance(ask, Ask)
            seen.append(ask.x)
            ask = interval.send(x0)
    except StopIteration as end:
        return [*seen, end.value[0]]
    raise AssertionError("the solver asked once more")


@pytest.fixture
def draws() -> list[Tensor]:
    draw = torch.Generator().manual_seed(5)
    return [torch.randn(4, 3, dtype=torch.float64, generator=draw) for _ in range(4)]


def _hop(process: Process, eta: float = 0.0, noise: Tensor | None = None) -> Hop:
    def draw(number: int) -> Tensor:
        assert noise is not None, "no noise was asked for"
        return (number + 1) * noise

    return Hop(process, torch.tensor(eta, dtype=torch.float64), draw)


S, T = (torch.tensor(level, dtype=torch.float64) for level in (-1.3, 0.4))


def test_heun_is_algorithm_2_of_edm(draws: list[Tensor]) -> None:
    x, first, second, _ = draws
    sigma, after = ve(S)[1], ve(T)[1]
    slope = (x - first) / sigma
    guess = x + (after - sigma) * slope
    expected = x + (after - sigma) * (slope + (guess - second) / after) / 2
    seen = _step(heun, _hop(ve), x, S, T, [first, second], None)
    for actual, wanted in zip(seen, [x, guess, expected]):
        close(actual, wanted, atol=1e-14)


def test_2m_is_algorithm_2_of_dpm_solver_plus_plus(draws: list[Tensor]) -> None:
    x, last, now, _ = draws
    before = torch.tensor(-2.0, dtype=torch.float64)
    (_, sigma_s), (alpha_t, sigma_t) = vp(S), vp(T)
    h, r = (T - S) / 2, (S - before) / (T - S)  # in lambda = log(alpha / sigma)
    belief = (1 + 1 / (2 * r)) * now - 1 / (2 * r) * last
    expected = sigma_t / sigma_s * x - alpha_t * torch.expm1(-h) * belief
    close(_step(dpmpp_2m, _hop(vp), x, S, T, [now], (last, before))[-1], expected, atol=1e-14)
    started = _step(dpmpp_2m, _hop(vp), x, S, T, [now], None)[-1]
    assert torch.equal(started, _step(first_order, _hop(vp), x, S, T, [now], None)[-1])


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_one_known_picture_is_reached_in_any_number_of_steps(process: Process, draws: list[Tensor]) -> None:
    """With x0 certain the flow is solved exactly by one step of any solver."""
    x0, eps, *_ = draws
    (alpha, sigma), (alpha_t, sigma_t) = process(S), process(T)
    x = alpha * x0 + sigma * eps
    for solver, answers, history in ((first_order, 1, None), (heun, 2, None), (dpmpp_2m, 1, (x0, S - 0.7))):
        close(
            _step(solver, _hop(process), x, S, T, [x0] * answers, history)[-1],
            alpha_t * x0 + sigma_t * eps,
            atol=1e-13,
        )
    hop = _hop(process)
    close(hop.eps(x, x0, S), eps, atol=1e-14)
    close(hop.x0(x, eps, S), x0, atol=1e-14)
    clean = torch.tensor(math.inf, dtype=torch.float64)
    assert torch.equal(hop(x, x0, S, clean), x0)


@pytest.mark.parametrize("process", [vp, ve, flow])
@pytest.mark.parametrize("eta", [0.3, 1.0])
def test_a_hop_with_noise_stays_on_the_marginals(process: Process, eta: float, draws: list[Tensor]) -> None:
    """The noise it keeps and the noise it adds have together the variance sigma_t^2; the kept share is exp(-eta (t - s) / 2)."""
    x0, eps, z, _ = draws
    (alpha, sigma), (alpha_t, sigma_t) = process(S), process(T)
    hop = _hop(process, eta, z)
    kept, fresh = math.exp(-eta * float(T - S) / 2), math.sqrt(1 - math.exp(-eta * float(T - S)))
    expected = alpha_t * x0 + sigma_t * (kept * eps + fresh * z)
    close(hop(alpha * x0 + sigma * eps, x0, S, T), expected, atol=1e-13)
    close(
        hop(alpha * x0 + sigma * eps, x0, S, T), expected + sigma_t * fresh * z, atol=1e-13
    )  # the next draw is 2 z
    assert hop.draws == 2
    close(hop.h(S, T), (1 + eta) * (T - S) / 2, atol=1e-15)
    # SDE-DPM-Solver++ (Lu et al. 2022, eq. 18 with eta = 1): what is left of x itself is exp(-h).
    moved = _hop(process, eta, 0 * z)(x0, 0 * x0, S, T)
    close(moved, x0 * sigma_t / sigma * math.exp(-float(hop.h(S, T)) + float(T - S) / 2), atol=1e-13)
    given = torch.tensor(0.6, dtype=torch.float64)
    close(
        _hop(process, 0.0, z)(alpha * x0 + sigma * eps, x0, S, T, given),
        alpha_t * x0 + sigma_t * (0.8 * eps + 0.6 * z),
        atol=1e-13,
    )
