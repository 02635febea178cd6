"""Parameterizations against their definitions and against EDM's published coefficients."""

import math
from functools import partial

import pytest
import torch
from helpers_golden import close, golden
from torch import Tensor

from mezzotint.diffusion import parameterization as p
from mezzotint.diffusion.denoiser import sigma_condition, time_condition
from mezzotint.diffusion.process import Process, flow, logsnr_of, ve, vp
from mezzotint.diffusion.schedule import cosine, linear

LEVELS = torch.linspace(-9, 12, 43, dtype=torch.float64)
ALL = [p.eps, p.x0, p.v, p.velocity, p.edm, partial(p.edm, sigma_data=1.3)]


def _target(parameterization: p.Parameterization, process: Process, x0: Tensor, eps: Tensor) -> Tensor:
    a, b = p.target_mix(parameterization, process, LEVELS)
    return a[:, None] * x0 + b[:, None] * eps


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(3)
    shape = len(LEVELS), 5
    return tuple(torch.randn(shape, dtype=torch.float64, generator=draw) for _ in range(2))  # type: ignore[return-value]


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_the_derived_targets_are_the_defined_ones(process: Process, pair: tuple[Tensor, Tensor]) -> None:
    x0, eps = pair
    alpha, sigma = (z[:, None] for z in process(LEVELS))
    x = alpha * x0 + sigma * eps
    defined = {p.eps: eps, p.x0: x0, p.v: alpha * eps - sigma * x0, p.velocity: eps - x0}
    for parameterization, target in defined.items():
        close(_target(parameterization, process, x0, eps), target, rtol=1e-9, atol=1e-9)
    for sigma_data in (
        0.5,
        1.3,
    ):  # EDM, table 1, in its own coordinates: y = x / alpha of noise level sigma / alpha
        y, level = x / alpha, sigma / alpha
        skip = sigma_data**2 / (level**2 + sigma_data**2)
        out = level * sigma_data / (level**2 + sigma_data**2).sqrt()
        edm = partial(p.edm, sigma_data=sigma_data)
        close(_target(edm, process, x0, eps), (x0 - skip * y) / out, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("process", [vp, ve, flow])
@pytest.mark.parametrize("parameterization", ALL)
def test_the_target_gives_back_the_picture(
    parameterization: p.Parameterization, process: Process, pair: tuple[Tensor, Tensor]
) -> None:
    x0, eps = pair
    alpha, sigma = (z[:, None] for z in process(LEVELS))
    c = p.Coefficients(*(z[:, None] for z in parameterization(*process(LEVELS))))
    x = alpha * x0 + sigma * eps
    close(c.c_skip * x + c.c_out * _target(parameterization, process, x0, eps), x0, rtol=1e-10, atol=1e-10)


def test_edm_inputs_and_targets_have_unit_variance() -> None:
    """The purpose of EDM's coefficients (Karras et al. 2022, appendix B.6), for x in any process."""
    for process, sigma_data in ((vp, 0.5), (ve, 0.5), (flow, 1.3)):
        alpha, sigma = process(LEVELS)
        edm = partial(p.edm, sigma_data=sigma_data)
        c = edm(alpha, sigma)
        a, b = p.target_mix(edm, process, LEVELS)
        close(c.c_in**2 * ((alpha * sigma_data) ** 2 + sigma**2), torch.ones_like(alpha), atol=1e-12)
        close(a**2 * sigma_data**2 + b**2, torch.ones_like(alpha), atol=1e-9)


@pytest.mark.parametrize("process", [vp, ve, flow])
def test_a_unit_variance_picture_gives_a_unit_variance_input(process: Process) -> None:
    alpha, sigma = process(LEVELS)
    for parameterization in (p.eps, p.x0, p.v):
        close(
            parameterization(alpha, sigma).c_in ** 2 * (alpha**2 + sigma**2),
            torch.ones_like(alpha),
            atol=1e-14,
        )


@pytest.mark.parametrize("process", [vp, flow])
def test_finite_at_both_ends(process: Process) -> None:
    ends = process(torch.tensor([-math.inf, math.inf], dtype=torch.float64))
    for parameterization in (p.x0, p.v, p.velocity, p.edm):
        assert all(c.isfinite().all() for c in parameterization(*ends))
    assert p.eps(*ends).c_skip.isinf().tolist() == [True, False]


def test_edm_preconditioning_equals_nvlabs() -> None:
    numbers = golden("networks")
    sigma = numbers["precond__sigma"]
    logsnr = logsnr_of(torch.ones_like(sigma), sigma)
    ours = {
        "edm_sd05": p.edm(*ve(logsnr)),
        "edm_sd1": p.edm(*ve(logsnr), sigma_data=1.0),
        "vp": p.eps(*ve(logsnr)),  # eps-prediction seen from the exploding process
    }
    for name, c in ours.items():
        for actual, part in zip(c, ("c_skip", "c_out", "c_in")):
            close(actual, numbers[f"precond__{name}__{part}"], rtol=1e-12)
        D = (
            c.c_skip.reshape(-1, 1, 1, 1) * numbers["precond__x"]
            + c.c_out.reshape(-1, 1, 1, 1) * numbers["precond__F"]
        )
        close(D, numbers[f"precond__{name}__D"], rtol=1e-12, atol=1e-12)
    close(sigma_condition(logsnr), numbers["precond__edm_sd05__c_noise"], rtol=1e-12, atol=1e-14)


def test_predictions_convert_as_in_diffusers() -> None:
    numbers = golden("ddpm_core")
    for schedule, table in (("linear", linear()), ("cosine", cosine())):
        name = f"{schedule}__g16__"
        for row, index in enumerate(numbers["t_index"].long().tolist()):
            c = p.v(*vp(table.logsnr[index]))
            x0, noise, x = numbers[name + "x0"], numbers[name + "noise"][row], numbers[name + "q_sample"][row]
            close(
                c.c_skip * x + c.c_out * numbers[name + "other"][row],
                numbers[name + "x0_from_v"][row],
                atol=1e-12,
            )
            a, b = p.target_mix(p.v, vp, table.logsnr[index])
            close(a * x0 + b * noise, numbers[name + "v_target"][row], atol=1e-11)


def test_conversions_equal_flow_matching() -> None:
    """There time runs from noise (0) to data (1), so its velocity is x0 - eps; its "target" is x0."""
    numbers = golden("samplers_flow")
    x, other, time = (numbers[f"conv__{name}"] for name in ("condot__g16__x_t", "g16__other", "t"))
    weight = time.reshape(-1, 1)
    c = p.velocity(weight, 1 - weight)
    close(
        c.c_skip * x - c.c_out * other, numbers["conv__condot__g16__velocity_to_target"], rtol=1e-9, atol=1e-9
    )
    c = p.eps(weight, 1 - weight)
    close(
        c.c_skip * x + c.c_out * other, numbers["conv__condot__g16__epsilon_to_target"], rtol=1e-9, atol=1e-9
    )


def test_what_the_network_is_told() -> None:
    levels = torch.tensor([-math.inf, 0.0, math.inf], dtype=torch.float64)
    assert time_condition(levels).tolist() == [1000, 500, 0]
    close(time_condition(LEVELS), 1000 * flow(LEVELS)[1], rtol=1e-14)
    close(sigma_condition(LEVELS), (ve(LEVELS)[1]).log() / 4, atol=1e-14)
    table = linear(300)
    assert torch.equal(table.index(table.logsnr), torch.arange(300).double())
