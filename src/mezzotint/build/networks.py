"""The network that a configuration names."""

from typing import assert_never

from torch import nn

from mezzotint.build.codecs import codec
from mezzotint.conditions.text import FIRST
from mezzotint.config import HOPS, MLP, Config, DiT, Own, UNet, UNetSimple
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.nets import dit, mlp, unet, unet_simple


def network(config: Config, facts: Facts) -> nn.Module:
    """The network with random weights."""
    if isinstance(config.network, Own):
        raise ConfigError(
            "network.kind own is a network from Python, which no recipe can make; use mlp, unet_simple, unet or dit"
        )
    options = config.network.model_dump(exclude={"kind"})
    if config.objective in HOPS:
        options["span"] = True
    if facts.kind != ("points" if isinstance(config.network, MLP) else "pictures"):
        raise ConfigError(
            f"network.kind {config.network.kind} is not for {facts.kind}; use {facts.medium.network}"
        )
    if config.train.recompute and not isinstance(config.network, UNet | DiT):
        raise ConfigError("train.recompute is for network.kind unet or dit; leave it out")
    if facts.length and not isinstance(config.network, UNet | DiT):
        raise ConfigError(
            f"network.kind {config.network.kind} knows no words; use unet or dit, or data.captions=false"
        )
    shape, classes = codec(config, facts).shape(facts.shape), len(facts.classes)
    channels, words = shape[0], len(facts.words) + FIRST if facts.length else 0
    enlarged = config.data.enlarge
    if enlarged:
        _check_enlarging(config, facts, shape, enlarged)
    match config.network:
        case MLP():
            return mlp.MLP(dim=channels, classes=classes, **options)
        case UNetSimple():
            return unet_simple.UNetSimple(channels=channels, classes=classes, **options)
        case UNet():
            return unet.UNet(
                channels=channels,
                classes=classes,
                words=words,
                length=facts.length,
                shown=channels if enlarged else 0,
                recompute=config.train.recompute,
                **options,
            )
        case DiT():
            return dit.DiT(
                channels=channels,
                axes=len(shape) - 1,
                classes=classes,
                words=words,
                length=facts.length,
                recompute=config.train.recompute,
                **options,
            )
        case _:
            assert_never(config.network)


def _check_enlarging(config: Config, facts: Facts, shape: tuple[int, ...], factor: int) -> None:
    """Raises ConfigError where pictures cannot be shown a small version of themselves."""
    if not isinstance(config.network, UNet):
        raise ConfigError(f"network.kind {config.network.kind} is shown no pictures; data.enlarge needs unet")
    if shape != facts.shape:
        raise ConfigError("data.enlarge is for models of pixels; leave it or the codec out")
    height, width = facts.shape[1:]
    if height % factor or width % factor:
        raise ConfigError(
            f"data.enlarge={factor} does not divide {width}x{height}; set data.size to a multiple"
        )
    if config.data.window > min(height, width):
        raise ConfigError(
            f"data.window={config.data.window} is more than the pictures have, {width}x{height}"
        )
