"""The network that a configuration names."""

from typing import assert_never

from torch import nn

from mezzotint.build.codecs import code_channels
from mezzotint.conditions.text import BYTES, FIRST
from mezzotint.config import HOPS, MLP, VAE, Config, DiT, Own, UNet, UNet2D, UNetSimple
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.nets import dit, mlp, unet, unet2d, unet_simple, vae

MEDIA_OF = {
    "mlp": ("points",),
    "unet": ("pictures", "clips"),
    "dit": ("pictures", "clips"),
}  # others: pictures


def network(config: Config, facts: Facts) -> nn.Module:
    """The network with random weights."""
    if isinstance(config.network, Own):
        raise ConfigError(
            "network.kind own is a network from Python, which a recipe cannot build; use mlp, unet_simple, unet or dit"
        )
    options = config.network.model_dump(exclude={"kind"})
    if config.objective in HOPS:
        options["span"] = True
        if isinstance(config.network, UNet2D):
            raise ConfigError(
                f"objective {config.objective} passes the length of the step to the network, which network.kind unet2d does not take; use unet"
            )
    if facts.kind not in MEDIA_OF.get(config.network.kind, ("pictures",)):
        raise ConfigError(
            f"network.kind {config.network.kind} is not for {facts.kind}; use {facts.medium.network}"
        )
    if config.train.recompute and not isinstance(config.network, UNet | DiT):
        raise ConfigError("train.recompute is for network.kind unet or dit; leave it out")
    if facts.width and isinstance(config.network, DiT):
        raise ConfigError("network.kind dit takes words, not the vectors of a text encoder; use unet")
    if facts.length and not isinstance(config.network, UNet | DiT | VAE):
        raise ConfigError(
            f"network.kind {config.network.kind} takes no captions; use unet or dit, or data.captions=false"
        )
    channels, classes = code_channels(config, facts), len(facts.classes)
    frames = facts.shape[1] if facts.kind == "clips" else 0
    count = BYTES if facts.reading == "bytes" else len(facts.words)
    words = count + FIRST if facts.length and not facts.width else 0
    enlarged = config.data.enlarge
    if enlarged:
        _check_enlarging(config, facts, enlarged)
    if config.data.known and not (frames and isinstance(config.network, UNet)):
        raise ConfigError(
            f"data.known is for clips and network.kind unet, not for {facts.kind} and {config.network.kind}; leave it out"
        )
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
                context=facts.width,
                shown=channels if enlarged else 0,
                frames=frames,
                known=config.data.known > 0,
                recompute=config.train.recompute,
                **options,
            )
        case UNet2D():
            return unet2d.UNet2D(channels=channels, classes=classes, **options)
        case DiT():
            return dit.DiT(
                channels=channels,
                axes=len(facts.shape) - 1,
                classes=classes,
                words=words,
                length=facts.length,
                recompute=config.train.recompute,
                **options,
            )
        case VAE():
            if any(side % config.network.factor for side in facts.shape[1:]):
                height, width = facts.shape[1:]
                raise ConfigError(
                    f"an autoencoder of factor {config.network.factor} needs sides that are multiples of it, not {height}x{width}; change data.size"
                )
            if config.network.latents > channels * config.network.factor**2:
                raise ConfigError(
                    f"a code of {config.network.latents} channels has more numbers than its picture; take fewer network.latents"
                )
            return vae.VAE(channels=channels, **options)
        case _:
            assert_never(config.network)


def _check_enlarging(config: Config, facts: Facts, factor: int) -> None:
    """Raises ConfigError where pictures cannot be shown a small version of themselves."""
    if not isinstance(config.network, UNet):
        raise ConfigError(
            f"network.kind {config.network.kind} takes no picture as a condition; data.enlarge needs unet"
        )
    if config.codec is not None:
        raise ConfigError("data.enlarge is for models of pixels; leave out data.enlarge or the codec")
    height, width = facts.shape[1:]
    if height % factor or width % factor:
        raise ConfigError(
            f"data.enlarge={factor} does not divide {width}x{height}; set data.size to a multiple"
        )
    if config.data.window > min(height, width):
        raise ConfigError(
            f"data.window={config.data.window} is larger than the pictures, {width}x{height}; lower it"
        )
