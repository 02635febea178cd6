"""The network that a configuration names."""

from typing import assert_never

from torch import nn

from mezzotint.config import MLP, Config, UNet, UNetSimple
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.nets import mlp, unet, unet_simple


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
