"""Where a training begins: with random weights, a teacher's, or those of any model of the same network."""

import hashlib
from pathlib import Path

import torch
from torch import nn

from mezzotint import build
from mezzotint.config import Config
from mezzotint.disk.names import find
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts
from mezzotint.model.model import Model, load


def digest(path: Path) -> str:
    """Of a file's bytes: the first 16 digits of their SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def origin(name: str | Path) -> dict[str, str]:
    """What a configuration keeps of the run or model file that it begins with. Raises ModelError where there is none."""
    path = find(name)
    return {"file": str(path.absolute()), "digest": digest(path)}


def open_same(path: Path, key: str, device: torch.device, what: str, whose: str) -> Model:
    """The model of a file that must be the one of a digest. Raises ModelError where it is gone or another one."""
    if not path.is_file():
        raise ModelError(f"the {what} {path} is gone; put it back, or say where it lies: {what}.file=FILE")
    if digest(path) != key:
        raise ModelError(f"{path} is not the {what} that {whose}; put that one back, or --overwrite")
    return load(path, device=str(device))


def open_origin(config: Config, facts: Facts, device: torch.device) -> Model | None:
    """The model whose weights a training begins with; None where they are random. Raises ConfigError where its weights mean
    something else than this configuration would have them mean, ModelError where it is gone or another one."""
    if config.origin is None:
        return None
    model = open_same(config.origin.file, config.origin.digest, device, "origin", "this run began with")
    for key, here, there in (
        ("channels", facts.shape[0], model.facts.shape[0]),  # sizes are free: networks take any
        ("classes", facts.classes, model.facts.classes),
        ("words", facts.words, model.facts.words),
        ("diffusion.process", config.diffusion.process, model.config.diffusion.process),
        ("diffusion.parameterization", *(c.diffusion.parameterization for c in (config, model.config))),
        ("words for the noise level", build.telling(config), build.telling(model.config)),
    ):
        if here != there:
            raise ConfigError(
                f"{model.source} cannot begin this run: its {key} are {_short(there)}, and those here {_short(here)}"
            )
    return model


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def take_over(net: nn.Module, model: Model) -> bool:
    """Fills a network with a model's weights, but for what it has beside; False where it is another network."""
    mine, theirs = net.state_dict(), model.net.state_dict()
    if any(name not in mine or mine[name].shape != tensor.shape for name, tensor in theirs.items()):
        return False
    net.load_state_dict(theirs, strict=False)
    return True
