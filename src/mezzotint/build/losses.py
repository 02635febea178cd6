"""The denoiser and the training loss that a configuration describes."""

from collections.abc import Callable
from typing import assert_never

import torch
from torch import Tensor, nn

from mezzotint.build.processes import make_process, make_schedule
from mezzotint.config import Config
from mezzotint.diffusion import loss, parameterization, schedule
from mezzotint.diffusion.denoiser import Denoiser, sigma_condition, time_condition


def denoiser(
    config: Config, net: nn.Module, *, dtype: torch.dtype = torch.float32, compile: bool = False
) -> Denoiser:
    """A network bound to its process and parameterization, told the level as it was in training."""
    levels = make_schedule(config)
    c_noise = time_condition
    if isinstance(levels, schedule.Table):
        c_noise = levels.index
    elif config.diffusion.parameterization == "edm":
        c_noise = sigma_condition
    return Denoiser(
        net, make_process(config), _parameterization(config), c_noise, dtype=dtype, compile=compile
    )


def _parameterization(config: Config) -> parameterization.Parameterization:
    match config.diffusion.parameterization:
        case "eps":
            return parameterization.eps
        case "x0":
            return parameterization.x0
        case "v":
            return parameterization.v
        case "velocity":
            return parameterization.velocity
        case "edm":
            return lambda alpha, sigma: parameterization.edm(alpha, sigma, config.diffusion.sigma_data)
        case _:
            assert_never(config.diffusion.parameterization)


def objective(config: Config, bound: Denoiser) -> loss.DenoisingLoss:
    """The training loss of a denoiser."""
    levels = make_schedule(config)
    return loss.DenoisingLoss(bound, levels, _weight(config, levels), _distance(config))


def _weight(config: Config, levels: schedule.Schedule) -> loss.Weight | None:
    match config.diffusion.weight:
        case "simple":
            return None
        case "snr":
            return loss.snr
        case "min_snr":
            return loss.min_snr()
        case "p2":
            return loss.p2()
        case "edm":
            return loss.edm(config.diffusion.sigma_data)
        case "vlb":
            return loss.vlb(levels)
        case _:
            assert_never(config.diffusion.weight)


def _distance(config: Config) -> Callable[[Tensor, Tensor], Tensor]:
    match config.diffusion.distance:
        case "l2":
            return loss.l2
        case "l1":
            return loss.l1
        case "huber":
            return loss.huber
        case _:
            assert_never(config.diffusion.distance)
