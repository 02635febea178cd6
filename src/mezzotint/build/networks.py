"""The network that a configuration names."""

from typing import assert_never

from torch import nn

from mezzotint.build.codecs import code_channels
from mezzotint.conditions.text import BYTES, FIRST
from mezzotint.config import HOPS, MLP, VAE, Config, Own, UNet, UNetSimple
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.nets import mlp, unet, unet_simple, vae


def network(config: Config, facts: Facts) -> nn.Module:
    """The network with random weights."""
    if isinstance(config.network, Own):
        raise ConfigError(
            "network.kind own is a network from Python, which no recipe can make; use mlp, unet_simple or unet"
        )
    options = config.network.model_dump(exclude={"kind"})
    if config.objective in HOPS:
        options["span"] = True
    if facts.kind != ("points" if isinstance(config.network, MLP) else "pictures"):
        raise ConfigError(
            f"network.kind {config.network.kind} is not for {facts.kind}; use {facts.medium.network}"
        )
    if config.train.recompute and not isinstance(config.network, UNet):
        raise ConfigError("train.recompute is for network.kind unet; leave it out")
    if facts.length and not isinstance(config.network, UNet | VAE):
        raise ConfigError(
            f"network.kind {config.network.kind} knows no words; use unet, or data.captions=false"
        )
    channels, classes = code_channels(config, facts), len(facts.classes)
    match config.network:
        case MLP():
            return mlp.MLP(dim=channels, classes=classes, **options)
        case UNetSimple():
            return unet_simple.UNetSimple(channels=channels, classes=classes, **options)
        case UNet():
            count = BYTES if facts.reading == "bytes" else len(facts.words)
            words = count + FIRST if facts.length and not facts.width else 0
            return unet.UNet(
                channels=channels,
                classes=classes,
                words=words,
                length=facts.length,
                context=facts.width,
                recompute=config.train.recompute,
                **options,
            )
        case VAE():
            if any(side % config.network.factor for side in facts.shape[1:]):
                height, width = facts.shape[1:]
                raise ConfigError(
                    f"an autoencoder of factor {config.network.factor} needs sides that are multiples of it, not {height}x{width}; set "
                    "data.size"
                )
            if config.network.latents > channels * config.network.factor**2:
                raise ConfigError(
                    f"a code of {config.network.latents} channels has more numbers than its picture; take fewer network.latents"
                )
            return vae.VAE(channels=channels, **options)
        case _:
            assert_never(config.network)
