"""The inverse of this folder: the configuration of parts that were put together in Python.

A file holds words, no functions. What has none is refused in one line.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, get_args

import torch
from torch import Tensor, nn

from mezzotint import config as configuration
from mezzotint.build.losses import Told, usual_told
from mezzotint.build.networks import network
from mezzotint.build.processes import make_schedule
from mezzotint.config import UNNAMED, Config, Discrete
from mezzotint.diffusion import parameterization, process, schedule
from mezzotint.diffusion.denoiser import Denoiser, sigma_condition, time_condition
from mezzotint.diffusion.flowmap import FlowMap
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.nets import MLP, DiT, UNet, UNet2D, UNetSimple

PROCESSES = {process.vp: "vp", process.ve: "ve", process.flow: "flow"}
PARAMETERIZATIONS = {
    parameterization.eps: "eps",
    parameterization.x0: "x0",
    parameterization.v: "v",
    parameterization.velocity: "velocity",
    parameterization.edm: "edm",
}
KINDS = {MLP: "mlp", UNetSimple: "unet_simple", UNet: "unet", UNet2D: "unet2d", DiT: "dit"}
PRECISIONS = {torch.float32: "fp32", torch.bfloat16: "bf16"}


def described(denoiser: Denoiser, levels: schedule.Schedule, facts: Facts) -> Config:
    """The configuration that `denoiser`, `make_schedule` and `network` make these parts from again; a network that is none
    of ours is of kind own. Raises ConfigError for a part that has no name."""
    if isinstance(denoiser, FlowMap):
        raise ConfigError(
            "a flow map from Python cannot be written to a model file; use a Denoiser, or mezzotint distil"
        )
    if denoiser.process not in PROCESSES:
        raise ConfigError("a process of your own cannot be written to a model file; use vp, ve or flow")
    if denoiser.dtype not in PRECISIONS:
        raise ConfigError(f"a model computes in float32 or bfloat16, not {denoiser.dtype}")
    tree: dict[str, Any] = {
        "data": {"name": UNNAMED},
        "diffusion": {
            "process": PROCESSES[denoiser.process],
            "schedule": _schedule(levels),
            **_parameterization(denoiser.parameterization),
        },
        "train": {"precision": PRECISIONS[denoiser.dtype]},
    }
    net, told = denoiser.net, _told(denoiser.c_noise, levels)
    kind = KINDS.get(type(net))
    if kind and told == usual_told(configuration.parse(tree).diffusion):
        assert isinstance(net, MLP | UNetSimple | UNet | UNet2D | DiT)
        tree["network"] = {"kind": kind, **net.options}
        config = configuration.parse(tree)
        _check_shapes(net, config, facts)
        return config
    tree["network"] = {"kind": "own", "name": type(net).__name__[:100], "told": told}
    return configuration.parse(tree)


def _schedule(levels: schedule.Schedule) -> dict[str, Any]:
    match levels:
        case schedule.Lognormal(mean, std):
            return {"kind": "lognormal", "mean": mean, "std": std}
        case schedule.Karras(sigma_min, sigma_max, rho):
            return {"kind": "karras", "sigma_min": sigma_min, "sigma_max": sigma_max, "rho": rho}
        case schedule.Table():
            for kind in get_args(Discrete.model_fields["kind"].annotation):
                for zero in (False, True):
                    choice = {"kind": kind, "timesteps": len(levels), "zero_terminal_snr": zero}
                    diffusion = {"parameterization": "v", "schedule": choice}
                    table = make_schedule(configuration.parse({"diffusion": diffusion}))
                    if isinstance(table, schedule.Table) and torch.equal(table.logsnr, levels.logsnr):
                        return choice
    if levels is schedule.linear_time:
        return {"kind": "linear_time"}
    raise ConfigError(
        "a schedule of your own cannot be written to a model file; use one of diffusion.schedule, a table with its usual ends"
    )


def _parameterization(choice: parameterization.Parameterization) -> dict[str, Any]:
    if isinstance(choice, partial) and choice.func is parameterization.edm and not choice.args:
        return {"parameterization": "edm", **choice.keywords}
    if choice not in PARAMETERIZATIONS:
        raise ConfigError(
            "a parameterization of your own cannot be written to a model file; use eps, x0, v, velocity, edm or "
            "functools.partial(edm, sigma_data=...)"
        )
    return {"parameterization": PARAMETERIZATIONS[choice]}


def _told(c_noise: Callable[[Tensor], Tensor], levels: schedule.Schedule) -> Told:
    if c_noise is time_condition:
        return "time"
    if c_noise is sigma_condition:
        return "sigma"
    table = getattr(c_noise, "__self__", None)
    if (
        isinstance(table, schedule.Table)
        and isinstance(levels, schedule.Table)
        and torch.equal(table.logsnr, levels.logsnr)
    ):
        return "timestep"
    raise ConfigError(
        "this noise condition of the network cannot be written to a model file; use time_condition, sigma_condition or the "
        "schedule's index, and let the network compute the rest"
    )


def _check_shapes(net: nn.Module, config: Config, facts: Facts) -> None:
    """Raises ConfigError where the network is not the one that its words make for such things and classes."""
    with torch.device("meta"):
        expected = {name: tensor.shape for name, tensor in network(config, facts).state_dict().items()}
    here = {name: tensor.shape for name, tensor in net.state_dict().items()}
    if wrong := [name for name in sorted({*expected, *here}) if expected.get(name) != here.get(name)]:
        raise ConfigError(
            f"the network does not fit {facts} and {len(facts.classes)} classes ({wrong[0]} is "
            f"{list(here.get(wrong[0], ()))}, not {list(expected.get(wrong[0], ()))}); give its shape and classes"
        )
