"""Losses against published implementations and closed forms: targets, weights, distances, and the draw of levels."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from helpers_golden import close, golden, mixture
from helpers_oracles import exact_denoiser, random_mixture
from torch import Tensor, nn

from mezzotint.cond import Cond
from mezzotint.diffusion import loss
from mezzotint.diffusion import parameterization as p
from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.loss import DenoisingLoss, Weight, huber, l1, l2, min_snr, p2, snr, stratified, vlb
from mezzotint.diffusion.process import Process, add_noise, flow, logsnr_of, per_row, ve, vp
from mezzotint.diffusion.schedule import (
    Schedule,
    Table,
    cosine,
    from_betas,
    karras,
    linear,
    linear_time,
    lognormal,
    zero_terminal_snr,
)
from mezzotint.randomness import uniform

PARAMETERIZATIONS = [p.eps, p.x0, p.v, p.velocity, p.edm, partial(p.edm, sigma_data=1.2)]
WEIGHTS: dict[str, Weight] = {
    "snr": snr,
    "min_snr": min_snr(),
    "p2": p2(),
    "edm": loss.edm(),
    "jit": loss.jit(),
    "vlb": vlb(linear()),
}
B = 16


def _entry(table: Table, index: int | Tensor) -> Tensor:
    """The u of a timestep: the middle of its stair."""
    return (torch.as_tensor(index, dtype=torch.float64) + 0.5) / len(table)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    """x0, eps (B, 2) and u (B,)."""
    draw = torch.Generator().manual_seed(2)
    x0, eps = (torch.randn(B, 2, dtype=torch.float64, generator=draw) for _ in range(2))
    return x0, eps, stratified(torch.rand(B, dtype=torch.float64, generator=draw))


class _Told(nn.Module):
    """Returns what it was told to, whatever it is asked."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return self.answer


@pytest.mark.parametrize("weight", [None, *WEIGHTS])
@pytest.mark.parametrize("distance", [l2, l1, huber])
@pytest.mark.parametrize("process", [vp, ve, flow])
def test_a_perfect_network_has_no_loss(
    process: Process, distance: loss.Distance, weight: str | None, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    x0, eps, u = batch
    logsnr = linear()(u)
    x = add_noise(process, x0, eps, logsnr)
    for parameterization in PARAMETERIZATIONS:
        c = parameterization(*process(logsnr))
        net = _Told((x0 - per_row(c.c_skip, x) * x) / per_row(c.c_out, x))
        objective = DenoisingLoss(
            Denoiser(net, process, parameterization), linear(), WEIGHTS[weight] if weight else None, distance
        )
        each = objective(x0, eps, u)
        assert each.shape == (B,)
        close(each, torch.zeros_like(each), atol=1e-7 if distance is l1 else 1e-12)


@pytest.mark.parametrize("weight", WEIGHTS)
@pytest.mark.parametrize("process", [vp, ve, flow])
def test_a_belief_has_one_loss_whatever_predicts_it(
    process: Process, weight: str, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    """A weight is stated on |x0_hat - x0|^2; the network's target only says it in other words."""
    x0, eps, u = batch
    exact, logsnr = random_mixture(process, seed=4), linear()(u)
    error = (exact(add_noise(process, x0, eps, logsnr), logsnr) - x0).square().mean(1)
    for parameterization in PARAMETERIZATIONS:
        objective = DenoisingLoss(exact_denoiser(exact, parameterization), linear(), WEIGHTS[weight])
        close(objective(x0, eps, u), WEIGHTS[weight](logsnr, u) * error, rtol=1e-8)


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_simple_is_the_plain_error_of_the_prediction(
    process: Process, batch: tuple[Tensor, Tensor, Tensor]
) -> None:
    x0, eps, u = batch
    alpha, sigma = (z[:, None] for z in process(linear()(u)))
    answer = torch.randn(B, 2, dtype=torch.float64)
    targets = {p.eps: eps, p.x0: x0, p.v: alpha * eps - sigma * x0, p.velocity: eps - x0}
    for parameterization, target in targets.items():
        objective = DenoisingLoss(Denoiser(_Told(answer), process, parameterization), linear())
        close(objective(x0, eps, u), (answer - target).square().mean(1), rtol=1e-8)
        weighted = DenoisingLoss(
            Denoiser(_Told(answer), process, parameterization), linear(), _undo(process, parameterization)
        )
        close(weighted(x0, eps, u), objective(x0, eps, u), rtol=1e-9)


def _undo(process: Process, parameterization: p.Parameterization) -> Weight:
    """The weight on x0 that "simple" stands for."""
    return lambda logsnr, u: parameterization(*process(logsnr)).c_out ** -2


def test_plain_eps_loss_equals_guided_diffusion() -> None:
    numbers, table = golden("ddpm_core"), linear()
    for problem in ("g2", "g16"):
        name = f"linear__{problem}__"
        objective = DenoisingLoss(exact_denoiser(mixture(problem, vp), p.eps), table)
        for row, index in enumerate(numbers["t_index"].long().tolist()):
            x0, noise = numbers[name + "x0"], numbers[name + "noise"][row]
            expected = numbers[name + "loss_mse__fixedlarge"][row]
            close(objective(x0, noise, _entry(table, index).expand(len(x0))), expected, rtol=1e-9)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_bound_weights_equal_the_divergences_of_guided_diffusion(schedule: str) -> None:
    """Each term of the variational bound is KL = (SNR(t - 1) - SNR(t)) / 2 |x0_hat - x0|^2; theirs is in bits per element."""
    numbers, table = golden("ddpm_core"), {"linear": linear, "cosine": cosine}[schedule]()
    for problem in ("g2", "g16"):
        name = f"{schedule}__{problem}__"
        error = (numbers[name + "analytic_x0"] - numbers[name + "x0"]).square().mean(2)
        for row, index in enumerate(numbers["t_index"].long().tolist()):
            if index > 0:
                weight = vlb(table)(table.logsnr[index], _entry(table, index))
                nats = weight / len(table) * error[row]
                close(nats / math.log(2), numbers[name + "vb_bpd__fixedsmall"][row], rtol=1e-8, atol=1e-9)
    # A whole chain of 200 steps, term by term.
    short = from_betas(numbers[f"{schedule}__g2__bpd_loop__betas"])
    steps = torch.arange(199, 0, -1)
    weight = vlb(short)(short.logsnr[steps], _entry(short, steps)) / 200
    error = numbers[f"{schedule}__g2__bpd_loop__fixedsmall__xstart_mse"][:, :-1]
    expected = numbers[f"{schedule}__g2__bpd_loop__fixedsmall__vb"][:, :-1]
    close(weight * error / math.log(2), expected, rtol=1e-8, atol=1e-9)


def test_bound_weights_telescope() -> None:
    """Their mean over all timesteps is SNR(0) - SNR(T - 1) / 2: the terms between cancel; the decoder adds SNR(0) / 2."""
    for table in (linear(), cosine(300), linear(7)):
        u = _entry(table, torch.arange(len(table)))
        ends = table.logsnr[[0, -1]].exp()
        close(vlb(table)(table(u), u).mean(), ends[0] - ends[1] / 2, rtol=1e-12)
        assert (vlb(table)(table(u), u) > 0).all()


@pytest.mark.parametrize("schedule", [linear_time, lognormal(), karras()])
def test_continuous_bound_weights_are_the_slope_of_the_snr(schedule: Schedule) -> None:
    """The limit of many steps is -SNR'(u) / 2 (Kingma et al. 2021, eq. 17), here at the middle of the step taken."""
    u = torch.linspace(0.05, 0.95, 91, dtype=torch.float64)
    middle = (u - 0.5e-4).requires_grad_()
    (slope,) = torch.autograd.grad(schedule(middle).exp().sum(), middle)
    close(vlb(schedule)(schedule(u), u), -slope / 2, rtol=1e-4)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_weights_equal_published_ones(schedule: str) -> None:
    """Theirs multiply the error of the prediction: ours, on x0, times c_out^2."""
    numbers = golden("networks")
    ratio = numbers[f"weights__{schedule}__snr"]
    logsnr = ratio.log()
    u = torch.full_like(ratio, 0.5)
    predictions = {"eps": p.eps, "x0": p.x0, "v": p.v}
    for gamma in (1, 5):
        for name, parameterization in predictions.items():
            out = parameterization(*vp(logsnr)).c_out
            ours = min_snr(gamma)(logsnr, u) * out**2
            close(ours, numbers[f"weights__{schedule}__minsnr{gamma}__{name}"], rtol=1e-11)
    for name, k, gamma in (("k1_g10", 1, 1.0), ("k1_g05", 1, 0.5), ("k2_g05", 2, 0.5)):
        ours = p2(gamma, k)(logsnr, u) * p.eps(*vp(logsnr)).c_out ** 2
        close(ours, numbers[f"weights__{schedule}__p2_{name}"], rtol=1e-11)
    close(snr(logsnr, u), ratio, rtol=1e-11)
    close(snr(logsnr, u) * p.eps(*vp(logsnr)).c_out ** 2, torch.ones_like(ratio), rtol=1e-11)


def test_edm_weights_equal_nvlabs() -> None:
    numbers = golden("networks")
    for name, sigma_data in (("edm", 0.5), ("edm_b", 1.0)):
        sigma = numbers[f"edmloss__{name}__sigma"]
        logsnr = logsnr_of(torch.ones_like(sigma), sigma)
        ours = loss.edm(sigma_data)(logsnr, sigma)
        close(ours, numbers[f"edmloss__{name}__weight"], rtol=1e-12)
        close(ours * p.edm(*ve(logsnr), sigma_data=sigma_data).c_out ** 2, torch.ones_like(sigma), rtol=1e-12)
    for name in ("vp", "ve"):  # the losses of Song et al. 2021 are plain eps losses
        sigma = numbers[f"edmloss__{name}__sigma"]
        logsnr = logsnr_of(torch.ones_like(sigma), sigma)
        close(snr(logsnr, sigma), numbers[f"edmloss__{name}__weight"], rtol=1e-12)


def test_distances() -> None:
    error = torch.linspace(-3, 3, 601, dtype=torch.float64)
    zero = torch.zeros_like(error)
    close(l2(error, zero), error**2)
    close(l1(zero, error), error.abs())
    inside = error.abs() <= 1
    close(huber(error, zero)[inside], error[inside] ** 2, atol=1e-15)
    close(huber(error, zero)[~inside], 2 * error[~inside].abs() - 1, atol=1e-15)
    at = torch.tensor([1 - 1e-9, 1 + 1e-9], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(huber(at, torch.zeros_like(at)).sum(), at)
    close(slope, torch.full_like(slope, 2.0), atol=1e-8)


def test_the_loss_is_that_of_each_picture(batch: tuple[Tensor, Tensor, Tensor]) -> None:
    x0, eps, u = (z[:4] for z in batch)
    net = _Told(torch.zeros(4, 1, 1, 2, dtype=torch.float64))
    each = DenoisingLoss(Denoiser(net, flow, p.velocity), linear_time)(
        x0[:, None, None], eps[:, None, None], u
    )
    close(each, (eps - x0).square().mean(1), rtol=1e-9)

    class Labelled(nn.Module):
        def forward(self, x: Tensor, told: Tensor, label: Tensor) -> Tensor:
            return label[:, None].double() * torch.ones_like(x)

    cond = Cond(label=torch.tensor([0, 1, 2, 3]))
    each = DenoisingLoss(Denoiser(Labelled(), flow, p.x0), linear_time, distance=l1)(x0, eps, u, cond)
    close(each, (x0 - torch.arange(4)[:, None]).abs().mean(1), rtol=1e-9)


@pytest.mark.parametrize("size", [1, 2, 3, 128, 1000])
def test_stratified_draws_are_uniform_and_one_to_a_stratum(size: int) -> None:
    batches = max(3_000 // size, 20)
    u = torch.stack([stratified(uniform(torch.arange(size), step, 0, 1)[:, 0]) for step in range(batches)])
    assert u.dtype == torch.float64
    assert torch.equal((u * size).long(), torch.arange(size).expand(batches, size))
    ordered, n = u.flatten().sort().values, u.numel()
    steps = torch.arange(n + 1, dtype=torch.float64) / n
    distance = torch.maximum((steps[1:] - ordered).max(), (ordered - steps[:-1]).max())
    assert distance * math.sqrt(n) < 1.95


@pytest.mark.parametrize("size", [1, 2, 3, 128, 1000])
def test_stratified_draws_stay_in_the_open_interval(size: int) -> None:
    for extreme in (2.0**-53, 1 - 2.0**-53):
        u = stratified(torch.full((size,), extreme, dtype=torch.float64))
        assert u.min() > 0 and u.max() < 1
        assert linear_time(u).isfinite().all() and lognormal()(u).isfinite().all()


def test_pure_noise_is_no_level_to_learn_eps_at() -> None:
    table = zero_terminal_snr(linear())
    x0, eps = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(0))
    u = _entry(table, torch.tensor([5, 999]))
    answer = torch.zeros(2, 3)
    with pytest.raises(ValueError, match="v, x0 or velocity"):
        DenoisingLoss(Denoiser(_Told(answer), vp, p.eps), table)(x0, eps, u)
    learnable: list[Callable[[Tensor, Tensor], p.Coefficients]] = [p.x0, p.v, p.velocity, p.edm]
    for parameterization in learnable:
        each = DenoisingLoss(Denoiser(_Told(answer), vp, parameterization), table, min_snr())(x0, eps, u)
        assert each.dtype == torch.float32 and each.isfinite().all()


def test_a_training_step_reaches_the_network() -> None:
    """The gradient of the weighted loss is the analytic one."""
    weight = torch.tensor([0.3], dtype=torch.float64, requires_grad=True)

    class Net(nn.Module):
        def forward(self, x: Tensor, told: Tensor) -> Tensor:
            return weight * x

    draw = torch.Generator().manual_seed(1)
    x0, eps = torch.randn(2, B, 4, dtype=torch.float64, generator=draw)
    u = torch.linspace(0.1, 0.9, B, dtype=torch.float64)
    DenoisingLoss(Denoiser(Net(), flow, p.velocity), linear_time, snr)(x0, eps, u).mean().backward()
    alpha, sigma = (z[:, None] for z in flow(linear_time(u)))
    x = alpha * x0 + sigma * eps
    scale = (alpha / sigma) ** 2 * sigma**2  # SNR c_out^2
    close(weight.grad, (scale * 2 * (0.3 * x - (eps - x0)) * x).mean().reshape(1), rtol=1e-10)


def test_jits_weight_is_the_plain_loss_on_the_velocity() -> None:
    """x0-prediction under `jit` is what a network that says the velocity of the same x0 would be given, but where the noise is
    below 0.05, as in the paper's own code."""
    draw = torch.Generator().manual_seed(3)
    x0, eps, answer = (torch.randn(B, 2, dtype=torch.float64, generator=draw) for _ in range(3))
    u = torch.linspace(0.06, 0.98, B, dtype=torch.float64)
    logsnr = linear_time(u)
    x = add_noise(flow, x0, eps, logsnr)
    velocity = (x - answer) / per_row(u, x)  # sigma is the time of the straight flow
    one = DenoisingLoss(Denoiser(_Told(answer), flow, p.x0), linear_time, loss.jit())(x0, eps, u)
    other = DenoisingLoss(Denoiser(_Told(velocity), flow, p.velocity), linear_time)(x0, eps, u)
    close(one, other, atol=1e-5)
    assert float(loss.jit()(linear_time(torch.tensor([0.01]).double()), u)) == 400
