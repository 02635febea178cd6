"""An autoencoder of pictures: small codes from which pictures can be decoded, for latent diffusion (Kingma & Welling 2014;
Rombach et al. 2022).

Residual blocks at a half, a quarter, an eighth of the size, no attention. Where the size changes, the new pixels are the old
ones, sorted otherwise, plus what a convolution adds to that: shortcuts without parameters, with which large factors train as
easily as small ones (DC-AE, Chen et al. 2024).
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.parts import group_norm, zero_init

LIMIT = 3.0  # of a code, at which the decoder's tanh saturates
LOG_VARIANCES = (-30.0, 20.0)  # between which they are kept
MULTIPLIERS = (1, 2, 2, 2)  # of the width, at 1/2, 1/4, 1/8, 1/16 of the size


class Block(nn.Module):
    """x + f(x) with two convolutions; f starts at zero."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = group_norm(channels), group_norm(channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = zero_init(nn.Conv2d(channels, channels, 3, padding=1))

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


def squeeze(x: Tensor, channels: int) -> Tensor:
    """(B, C, H, W) -> (B, channels, H, W), channels a divisor of C: means of neighbouring channels."""
    return x.unflatten(1, (channels, -1)).mean(2)


def spread(x: Tensor, channels: int) -> Tensor:
    """(B, C, H, W) -> (B, channels, H, W), channels a multiple of C: every channel repeated."""
    return x.repeat_interleave(channels // x.shape[1], dim=1)


class Down(nn.Module):
    """Half the size, (B, C, H, W) -> (B, channels, H / 2, W / 2), C up to channels, a divisor of 4 C."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = nn.Conv2d(channels_in, channels // 4, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_unshuffle(self.conv(x), 2) + squeeze(F.pixel_unshuffle(x, 2), self.channels)


class Up(nn.Module):
    """Twice the size, (B, C, H, W) -> (B, channels, 2 H, 2 W), C a divisor of 4 channels."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = nn.Conv2d(channels_in, 4 * channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.pixel_shuffle(self.conv(x) + spread(x, 4 * self.channels), 2)


class VAE(nn.Module):
    """Pictures (B, channels, H, W) in [-1, 1] to codes (B, latents, H / factor, W / factor), and back.

    factor: 4 or 8 (any power of two from 2 to 16), a divisor of both sides. latents: channels of a code. width: channels at half the size, a multiple of 4;
    deeper ones have twice as many. blocks: residual blocks at each size, and one more at the deepest.
    """

    def __init__(
        self, channels: int, factor: int = 4, latents: int = 4, width: int = 64, blocks: int = 1
    ) -> None:
        super().__init__()
        if factor not in (2, 4, 8, 16) or width % 4:
            raise ValueError(
                f"factor {factor} must be 2, 4, 8 or 16, and width {width} a multiple of 4; change them"
            )
        self.options: dict[str, Any] = {
            "factor": factor,
            "latents": latents,
            "width": width,
            "blocks": blocks,
        }
        self.factor, self.latents, self.channels = factor, latents, channels
        widths = [width * multiplier for multiplier in MULTIPLIERS[: factor.bit_length() - 1]]
        deepest = widths[-1]

        down: list[nn.Module] = [
            nn.PixelUnshuffle(2),
            nn.Conv2d(4 * channels, width, 3, padding=1),
            *(Block(width) for _ in range(blocks)),
        ]
        for before, here in pairwise(widths):
            down += [Down(before, here), *(Block(here) for _ in range(blocks))]
        last = nn.Conv2d(deepest, 2 * latents, 3, padding=1)
        self.encoder = nn.Sequential(*down, Block(deepest), group_norm(deepest), nn.SiLU(), last)

        up: list[nn.Module] = [nn.Conv2d(latents, deepest, 3, padding=1), Block(deepest)]
        for here, after in zip(widths[::-1], widths[-2::-1]):
            up += [*(Block(here) for _ in range(blocks)), Up(here, after)]
        up += [Block(width) for _ in range(blocks)]
        leave = nn.Conv2d(width, 4 * channels, 3, padding=1)
        self.decoder = nn.Sequential(*up, group_norm(width), nn.SiLU(), leave, nn.PixelShuffle(2))

    def moments(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The means and the log variances of the codes, (B, latents, H / factor, W / factor) each."""
        mean, log_variance = self.encoder(x).float().chunk(2, 1)
        return mean, log_variance.clamp(*LOG_VARIANCES)

    def encode(self, x: Tensor) -> Tensor:
        """The means, which are used as the code."""
        return self.moments(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        """(B, latents, h, w) of any range -> (B, channels, factor h, factor w), of about [-1, 1].

        Codes pass through 3 tanh(z / 3), so that none is so large that a diffusion model would have to be exact about it.
        """
        return self.decoder(LIMIT * (z / LIMIT).tanh()).float()

    def forward(
        self, x: Tensor, eps: Tensor, change: Callable[[Tensor], Tensor] = lambda z: z
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For training: decode(change(z)) of a drawn code z = mean + eps exp(log variance / 2), the means, and the log
        variances. eps: standard normal, shaped like a code."""
        mean, log_variance = self.moments(x)
        z = mean + eps * (log_variance / 2).exp()
        return self.decode(change(z)), mean, log_variance
