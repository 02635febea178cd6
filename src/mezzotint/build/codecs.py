"""The codec between things and what the network sees."""

from typing import assert_never

from torch import nn

from mezzotint.config import KL, VAE, Coder, Config, Taesd
from mezzotint.errors import ConfigError
from mezzotint.media.codec import Codec, Latents
from mezzotint.media.facts import Facts
from mezzotint.nets import published, vae


def codec(config: Config, facts: Facts) -> Codec:
    """The usual codec of the medium, or an autoencoder, whose `weights` are random and have to be filled. Raises ConfigError
    where it cannot code such things."""
    if config.codec is None:
        return facts.medium.codec
    if facts.medium.rank < 3:
        raise ConfigError(f"a codec is for pictures, not for {facts.kind}; leave it out")
    if config.codec.network is None:
        raise ConfigError("a latent model needs an autoencoder: add --codec RUN")
    latents = Latents(coder(config.codec.network, facts.shape[0]))
    try:
        latents.shape(facts.shape)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    return latents


def code_channels(config: Config, facts: Facts) -> int:
    """Channels of a code, for which no autoencoder has to be built."""
    if config.codec is not None and config.codec.network is not None:
        return config.codec.network.latents
    return codec(config, facts).shape(facts.shape)[0]


def coder(words: Coder, channels: int) -> nn.Module:
    """The autoencoder with random weights. channels: of pictures; published ones are of RGB."""
    options = words.model_dump(exclude={"kind"})
    match words:
        case VAE():
            return vae.VAE(channels=channels, **options)
        case KL():
            return published.AutoencoderKL(**options)
        case Taesd():
            return published.Taesd(**options)
        case _:
            assert_never(words)
