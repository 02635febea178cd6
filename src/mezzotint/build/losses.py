"""The denoiser and the training loss that a configuration describes."""

from collections.abc import Callable
from functools import partial
from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from mezzotint.build.processes import make_process, make_schedule
from mezzotint.config import Config, Diffusion, Discrete, Own
from mezzotint.diffusion import loss, parameterization, schedule
from mezzotint.diffusion.denoiser import Denoiser, sigma_condition, time_condition
from mezzotint.errors import ConfigError

Told = Literal["timestep", "time", "sigma"]


def denoiser(
    config: Config, net: nn.Module, *, dtype: torch.dtype = torch.float32, compile: bool = False
) -> Denoiser:
    """A network bound to its process and parameterization, told the level as it was in training."""
    return Denoiser(
        net,
        make_process(config),
        _parameterization(config),
        _condition(config),
        dtype=dtype,
        compile=compile,
    )


def _condition(config: Config) -> Callable[[Tensor], Tensor]:
    levels = make_schedule(config)
    match usual_told(config.diffusion) if not isinstance(config.network, Own) else config.network.told:
        case "timestep" if isinstance(levels, schedule.Table):
            return levels.index
        case "timestep":
            raise ConfigError("network.told timestep needs a discrete diffusion.schedule; take time or sigma")
        case "time":
            return time_condition
        case "sigma":
            return sigma_condition


def usual_told(diffusion: Diffusion) -> Told:
    """What networks of a configuration are told of the level (decisions/0003)."""
    if isinstance(diffusion.schedule, Discrete):
        return "timestep"
    return "sigma" if diffusion.parameterization == "edm" else "time"


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
            return partial(parameterization.edm, sigma_data=config.diffusion.sigma_data)
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
