"""A trained autoencoder, for codes and reconstructions."""

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from mezzotint import build
from mezzotint.cond import Batch
from mezzotint.disk.model_file import Header, check_network, load_weights, read_header
from mezzotint.disk.names import find, spoken
from mezzotint.errors import ConfigError
from mezzotint.media.codec import Bytes, Latents
from mezzotint.model.device import find_device, place


class Autoencoder:
    """net: `nets.vae.VAE`, in eval mode; what is written of it into a file is `header`."""

    def __init__(self, header: Header, net: nn.Module, device: torch.device, source: str) -> None:
        self.header, self.net, self.device, self.source = header, net, device, source
        self.facts, self.medium = header.facts, header.facts.medium
        self.codec = Latents(net)

    @property
    def rate(self) -> int:
        """Numbers in a code."""
        return math.prod(self.codec.shape(self.facts.shape))

    def reconstruct(self, things: Tensor) -> Tensor:
        """Pictures uint8 (N, C, H, W), encoded and decoded, on the CPU. In float32."""
        parts = things.split(self.medium.batch)
        return torch.cat([self.codec.decode(self.codec.encode(part)).cpu() for part in parts])

    def psnr(self, batches: Sequence[Batch]) -> float:
        """The mean of pictures' PSNR in dB, over batches of pictures in [-1, 1]."""
        things = [Bytes().decode(batch.x0) for batch in batches]
        return float(psnr(torch.cat([self.reconstruct(part) for part in things]), torch.cat(things)).mean())


def psnr(pictures: Tensor, originals: Tensor) -> Tensor:
    """Of uint8 (N, C, H, W) each: (N,) float64, 10 log10(255^2 / mean squared error) dB; 100 where they are equal to the bit."""
    error = (pictures.cpu().double() - originals.cpu().double()).square().flatten(1).mean(1)
    return (10 * (255**2 / error).log10()).clamp(max=100)


def load_autoencoder(name: str | Path, device: str = "auto") -> Autoencoder:
    """The autoencoder of a run or a file. Raises ConfigError where it is a model of pictures, and ModelError as `load` does."""
    path = find(name)
    header = read_header(path)
    if header.config.objective != "autoencode":
        raise ConfigError(f"{name} is not an autoencoder; train one: mezzotint train vae")
    check_network(path, lambda: (build.network(header.config, header.facts), None))
    net = build.network(header.config, header.facts)
    load_weights(net, path)
    where = find_device(device)
    return Autoencoder(header, place(net, where).eval().requires_grad_(False), where, spoken(path))
