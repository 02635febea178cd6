"""Autoencoders that others have trained, by the names that their files have for weights.

`AutoencoderKL` is that of Stable Diffusion (Rombach et al. 2022), `Taesd` its tiny imitation (Bohan 2023), both as diffusers
lays them out. What such files do not say is written here: norms have 32 groups and eps 1e-6, pictures are padded at the right and below
before their size is halved, TAESD's pictures are in [0, 1].
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

GROUPS, EPS = 32, 1e-6


def norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(GROUPS, channels, eps=EPS)


class Resnet(nn.Module):
    """Two convolutions beside a skip, through a 1x1 convolution where the channels change."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = norm(channels_in), norm(channels)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        if channels_in != channels:
            self.conv_shortcut = nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        h = self.conv2(F.silu(self.norm2(h)))
        return h + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Attention(nn.Module):
    """Every position looks at every other, by one head."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.group_norm = norm(channels)
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([nn.Linear(channels, channels)])

    def forward(self, x: Tensor) -> Tensor:
        h = self.group_norm(x).flatten(2).mT[:, None]  # (B, 1, positions, channels)
        h = F.scaled_dot_product_attention(self.to_q(h), self.to_k(h), self.to_v(h))
        return x + self.to_out[0](h)[:, 0].mT.reshape(x.shape)


class Middle(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(Resnet(channels, channels) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(channels)])

    def forward(self, x: Tensor) -> Tensor:
        return self.resnets[1](self.attentions[0](self.resnets[0](x)))


class Halving(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class Doubling(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))


class DownLevel(nn.Module):
    def __init__(self, channels_in: int, channels: int, blocks: int, last: bool) -> None:
        super().__init__()
        widths = [channels_in] + [channels] * blocks
        self.resnets = nn.ModuleList(Resnet(before, after) for before, after in pairwise(widths))
        self.downsamplers = nn.ModuleList([] if last else [Halving(channels)])

    def forward(self, x: Tensor) -> Tensor:
        for part in (*self.resnets, *self.downsamplers):
            x = part(x)
        return x


class UpLevel(nn.Module):
    def __init__(self, channels_in: int, channels: int, blocks: int, last: bool) -> None:
        super().__init__()
        widths = [channels_in] + [channels] * blocks
        self.resnets = nn.ModuleList(Resnet(before, after) for before, after in pairwise(widths))
        self.upsamplers = nn.ModuleList([] if last else [Doubling(channels)])

    def forward(self, x: Tensor) -> Tensor:
        for part in (*self.resnets, *self.upsamplers):
            x = part(x)
        return x


class Encoder(nn.Module):
    def __init__(self, latents: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        pairs = list(pairwise([widths[0], *widths]))
        self.down_blocks = nn.ModuleList(
            DownLevel(before, after, blocks, i == len(pairs) - 1) for i, (before, after) in enumerate(pairs)
        )
        self.mid_block = Middle(widths[-1])
        self.conv_norm_out = norm(widths[-1])
        self.conv_out = nn.Conv2d(widths[-1], 2 * latents, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for level in self.down_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class Decoder(nn.Module):
    def __init__(self, latents: int, widths: Sequence[int], blocks: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(latents, widths[-1], 3, padding=1)
        self.mid_block = Middle(widths[-1])
        pairs = list(pairwise([widths[-1], *reversed(widths)]))
        self.up_blocks = nn.ModuleList(
            UpLevel(before, after, blocks + 1, i == len(pairs) - 1) for i, (before, after) in enumerate(pairs)
        )
        self.conv_norm_out = norm(widths[0])
        self.conv_out = nn.Conv2d(widths[0], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(x))
        for level in self.up_blocks:
            x = level(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class AutoencoderKL(nn.Module):
    """Pictures (B, 3, H, W) in [-1, 1] to codes (B, latents, H / factor, W / factor) and back, factor = 2^(levels - 1)."""

    def __init__(
        self,
        latents: int = 4,
        widths: Sequence[int] = (128, 256, 512, 512),
        blocks: int = 2,
        quant: bool = True,
    ) -> None:
        super().__init__()
        self.channels, self.latents, self.factor = 3, latents, 2 ** (len(widths) - 1)
        self.encoder, self.decoder = Encoder(latents, widths, blocks), Decoder(latents, widths, blocks)
        if quant:
            self.quant_conv = nn.Conv2d(2 * latents, 2 * latents, 1)
            self.post_quant_conv = nn.Conv2d(latents, latents, 1)

    def encode(self, x: Tensor) -> Tensor:
        """The means."""
        moments = self.encoder(x)
        return (self.quant_conv(moments) if hasattr(self, "quant_conv") else moments).chunk(2, 1)[0]

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(self.post_quant_conv(z) if hasattr(self, "post_quant_conv") else z)


class TinyBlock(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        three = [nn.Conv2d(width, width, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(three[0], nn.ReLU(), three[1], nn.ReLU(), three[2])

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv(x) + x)


class Layers(nn.Module):
    """Layers one after the other, of which those without weights have a number, too."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


class Taesd(nn.Module):
    """The same codes by two small networks of convolutions and ReLUs, with no norm. counts: blocks of `width` channels at each size."""

    def __init__(self, latents: int = 4, width: int = 64, counts: Sequence[int] = (1, 3, 3, 3)) -> None:
        super().__init__()
        self.channels, self.latents, self.factor = 3, latents, 2 ** (len(counts) - 1)
        down: list[nn.Module] = []
        for i, count in enumerate(counts):
            half = nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False)
            down += [
                half if i else nn.Conv2d(3, width, 3, padding=1),
                *(TinyBlock(width) for _ in range(count)),
            ]
        self.encoder = Layers([*down, nn.Conv2d(width, latents, 3, padding=1)])
        up: list[nn.Module] = [nn.Conv2d(latents, width, 3, padding=1), nn.ReLU()]
        for count in reversed(counts[1:]):
            conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
            up += [*(TinyBlock(width) for _ in range(count)), nn.Upsample(scale_factor=2), conv]
        up += [*(TinyBlock(width) for _ in range(counts[0])), nn.Conv2d(width, 3, 3, padding=1)]
        self.decoder = Layers(up)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder((x + 1) / 2)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(3 * torch.tanh(z / 3)) * 2 - 1
