"""The network that a configuration names."""

from typing import assert_never

from torch import nn

from mezzotint.build.codecs import codec
from mezzotint.conditions.text import FIRST
from mezzotint.config import HOPS, MLP, Config, Own, UNet, UNetSimple
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.nets import mlp, unet, unet_simple


def network(config: Config, facts: Facts) -> nn.Module:
    """The network with random weights."""
    if isinstance(config.network, Own):
        raise ConfigError(
            "network.kind own is a network from Python, which no recipe can make; use mlp, unet_simple or unet"
        )
    options = config.network.model_dump(exclude={"kind"})
    if config.objective in HOPS:
        options["span"] = True
    fitting = {"mlp": ("points",), "unet_simple": ("pictures",), "unet": ("pictures", "clips")}
    if facts.kind not in fitting[config.network.kind]:
        raise ConfigError(
            f"network.kind {config.network.kind} is not for {facts.kind}; use {facts.medium.network}"
        )
    if config.train.recompute and not isinstance(config.network, UNet):
        raise ConfigError("train.recompute is for network.kind unet; leave it out")
    if facts.length and not isinstance(config.network, UNet):
        raise ConfigError(
            f"network.kind {config.network.kind} knows no words; use unet, or data.captions=false"
        )
    coded, classes = codec(config, facts).shape(facts.shape), len(facts.classes)
    channels, frames = coded[0], coded[1] if facts.kind == "clips" else 0
    match config.network:
        case MLP():
            return mlp.MLP(dim=channels, classes=classes, **options)
        case UNetSimple():
            return unet_simple.UNetSimple(channels=channels, classes=classes, **options)
        case UNet():
            words = len(facts.words) + FIRST if facts.length else 0
            return unet.UNet(
                channels=channels,
                classes=classes,
                words=words,
                length=facts.length,
                frames=frames,
                recompute=config.train.recompute,
                **options,
            )
        case _:
            assert_never(config.network)
