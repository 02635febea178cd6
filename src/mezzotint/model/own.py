"""Networks from Python: how they become models, and how a file of their weights is opened again."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import nn

from mezzotint import build
from mezzotint.cond import NO_COND, Cond
from mezzotint.config import Own
from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.schedule import Schedule
from mezzotint.disk.model_file import Header, check_network
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts


def described(
    denoiser: Denoiser, schedule: Schedule, shape: Sequence[int], classes: Sequence[str], step: int
) -> tuple[Header, Denoiser]:
    """What `Model.of` makes a model from: its header, and a denoiser with a copy of the network in eval mode. Raises
    ConfigError, also where the network does not take such things."""
    if not isinstance(denoiser.net, nn.Module):
        raise ConfigError("the network of a model must be a torch.nn.Module; wrap it in one")
    try:
        facts = Facts(tuple(int(side) for side in shape), tuple(map(str, classes)))
    except ValueError as error:
        raise ConfigError(f"shape: {error}") from None
    config = build.described(denoiser, schedule, facts)
    net = copy.deepcopy(denoiser.net).eval().requires_grad_(False)
    bound = build.denoiser(config, net, dtype=denoiser.dtype)
    _rehearse(bound, facts, schedule)
    return Header(config, facts, step, "given"), bound


@torch.no_grad()
def _rehearse(denoiser: Denoiser, facts: Facts, schedule: Schedule) -> None:
    """Raises ConfigError where the network does not take two things of these facts, one of the last class, one of none."""
    labels = torch.tensor([len(facts.classes) - 1, len(facts.classes)], device=device_of(denoiser))
    x = torch.zeros(2, *facts.shape, device=labels.device)
    level = schedule(torch.tensor([0.5, 0.5], dtype=torch.float64))
    try:
        answer = denoiser.predict(x, level, Cond(label=labels) if facts.classes else NO_COND)
    except Exception as error:  # of whatever kind a network raises
        null = (
            f" with labels from 0 to {len(facts.classes)}, of which the last is none" if facts.classes else ""
        )
        raise ConfigError(f"the network does not take {facts}{null}: {_line(error)}") from error
    if answer.shape != x.shape:
        raise ConfigError(
            f"the network makes {list(answer.shape[1:])} of {list(x.shape[1:])}; it must keep the shape"
        )


def device_of(denoiser: Denoiser) -> torch.device:
    """The device of its network."""
    assert isinstance(denoiser.net, nn.Module)
    return next((weight.device for weight in denoiser.net.parameters()), torch.device("cpu"))


def network_of(header: Header, path: Path, make: Callable[[], nn.Module] | None) -> nn.Module:
    """The network of a model file, with random weights: by its words, or where it has none by what the caller makes.

    Raises ModelError where a file needs `make` and there is none, ConfigError where it makes no network.
    """
    if not isinstance(header.config.network, Own):
        if make is not None:
            raise ConfigError(
                f"{path} describes its network itself, {header.config.network.kind}; leave network out"
            )
        config, facts = header.config, header.facts
        check_network(path, lambda: (build.network(config, facts), build.codec(config, facts).weights))
        return build.network(header.config, header.facts)
    name = header.config.network.name or "its class"
    if make is None:
        raise ModelError(
            f"{path} holds the weights of {name}, a network from Python, and no code; name its class: mezzotint sample {path} --network MODULE:{name}, or in Python load(..., network={name})"
        )
    try:
        net = make()
    except TypeError as error:
        raise ConfigError(
            f"network must make a network without arguments ({_line(error)}); give a function that does"
        ) from error
    if not isinstance(net, nn.Module):
        raise ConfigError(f"network must make a torch.nn.Module, not {type(net).__name__}; give its class")
    return net


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
