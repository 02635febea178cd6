"""From a configuration to objects: the only factory. One `match` for every choice."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, assert_never

import torch
from torch import Tensor, nn

from mezzotint.config import MLP, Config, Discrete, Karras, LinearTime, Lognormal, UNet, UNetSimple
from mezzotint.diffusion import loss, parameterization, process, schedule
from mezzotint.diffusion.denoiser import Denoiser, sigma_condition, time_condition
from mezzotint.errors import ConfigError
from mezzotint.nets import mlp, unet, unet_simple
from mezzotint.train.muon import muon
from mezzotint.train.optim import adamw


@dataclass(frozen=True)
class Facts:
    """What the data decided: the shape of one thing, (C, H, W) or (2,), and the names of its classes."""

    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()

    @property
    def pictures(self) -> bool:
        return len(self.shape) == 3

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(content: dict[str, Any]) -> "Facts":
        return Facts(tuple(content["shape"]), tuple(content["classes"]))


def network(config: Config, facts: Facts) -> nn.Module:
    """The network with random weights."""
    options = config.network.model_dump(exclude={"kind"})
    if isinstance(config.network, MLP) == facts.pictures:
        kind, thing = config.network.kind, "pictures" if facts.pictures else "points"
        raise ConfigError(
            f"network.kind {kind} is not for {thing}; use {'unet' if facts.pictures else 'mlp'}"
        )
    if config.train.recompute and not isinstance(config.network, UNet):
        raise ConfigError("train.recompute is for network.kind unet; leave it out")
    classes = len(facts.classes)
    match config.network:
        case MLP():
            return mlp.MLP(dim=facts.shape[0], classes=classes, **options)
        case UNetSimple():
            return unet_simple.UNetSimple(channels=facts.shape[0], classes=classes, **options)
        case UNet():
            return unet.UNet(
                channels=facts.shape[0], classes=classes, recompute=config.train.recompute, **options
            )
        case _:
            assert_never(config.network)


def optimizer(config: Config, net: nn.Module) -> torch.optim.Optimizer:
    """What moves the weights of a network that lies on its device."""
    match config.train.optimizer:
        case "adamw":
            return adamw(net, config.train.lr, config.train.weight_decay)
        case "muon":
            return muon(net, config.train.lr, config.train.weight_decay)
        case _:
            assert_never(config.train.optimizer)


def make_process(config: Config) -> process.Process:
    match config.diffusion.process:
        case "vp":
            return process.vp
        case "ve":
            return process.ve
        case "flow":
            return process.flow
        case _:
            assert_never(config.diffusion.process)


def make_schedule(config: Config) -> schedule.Schedule:
    match choice := config.diffusion.schedule:
        case Discrete():
            table = _table(choice)
            return schedule.zero_terminal_snr(table) if choice.zero_terminal_snr else table
        case Karras():
            return schedule.karras(choice.sigma_min, choice.sigma_max, choice.rho)
        case Lognormal():
            return schedule.lognormal(choice.mean, choice.std)
        case LinearTime():
            return schedule.linear_time
        case _:
            assert_never(choice)


def _table(choice: Discrete) -> schedule.Table:
    match choice.kind:
        case "linear":
            return schedule.linear(choice.timesteps)
        case "scaled_linear":
            return schedule.scaled_linear(choice.timesteps)
        case "quadratic":
            return schedule.quadratic(choice.timesteps)
        case "sigmoid_beta":
            return schedule.sigmoid_beta(choice.timesteps)
        case "cosine":
            return schedule.cosine(choice.timesteps)
        case "sigmoid":
            return schedule.sigmoid(choice.timesteps)
        case _:
            assert_never(choice.kind)


def spacing(config: Config) -> str:
    """The default spacing of a sampler's stops: trailing over discrete timesteps, uniform time on the flow, else Karras'."""
    if isinstance(config.diffusion.schedule, Discrete):
        return "trailing"
    return "time" if config.diffusion.process == "flow" else "karras"


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


def objective(config: Config, bound: Denoiser) -> loss.Objective:
    """The training loss of a denoiser."""
    levels = make_schedule(config)
    return loss.Objective(bound, levels, _weight(config, levels), _distance(config))


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
