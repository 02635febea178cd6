"""The simple U-Net: convolutions and skips, no attention (Ronneberger et al. 2015), conditioned on the noise level."""

from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.embed import Conditioning
from mezzotint.nets.parts import group_norm, pad_to_multiple, zero_init

Norm = Literal["group", "batch"]
Down = Literal["pool", "stride"]


class DoubleConv(nn.Module):
    """Twice: 3x3 convolution, norm, SiLU. The conditioning is added between, as a bias of each channel."""

    def __init__(self, channels_in: int, channels_out: int, emb: int, norm: Norm) -> None:
        super().__init__()
        make_norm = group_norm if norm == "group" else nn.BatchNorm2d
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.norm1 = make_norm(channels_out)
        self.bias = nn.Linear(emb, channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1)
        self.norm2 = make_norm(channels_out)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = F.silu(self.norm1(self.conv1(x))) + self.bias(emb)[:, :, None, None]
        return F.silu(self.norm2(self.conv2(h)))


class UNetSimple(nn.Module):
    """Pictures (B, channels, H, W) of any size in, the same shape out. The output starts at zero.

    Level i has width * 2**i channels at 1 / 2**i of the size.
    levels: 2 to 5. norm: "group", or "batch" (which mixes the pictures of a batch while training).
    down: "pool" (2x2 maximum) or "stride" (a convolution of stride 2); the way up is a transposed convolution.
    classes: number of classes K, 0 for none; span: whether it is told a step's length; see `Conditioning`.
    """

    def __init__(
        self,
        channels: int,
        width: int = 32,
        levels: int = 3,
        norm: Norm = "group",
        down: Down = "pool",
        classes: int = 0,
        span: bool = False,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"width": width, "levels": levels, "norm": norm, "down": down}
        if not 2 <= levels <= 5:
            raise ValueError(f"levels must be 2 to 5, not {levels}")
        widths = [width * 2**i for i in range(levels)]
        pairs = list(pairwise(widths))  # (finer, coarser)
        emb = 4 * width
        self.multiple = 2 ** (levels - 1)
        self.conditioning = Conditioning(emb, classes, span)
        self.enter = DoubleConv(channels, width, emb, norm)
        self.shrink = nn.ModuleList(
            nn.MaxPool2d(2) if down == "pool" else nn.Conv2d(fine, fine, 3, stride=2, padding=1)
            for fine, _ in pairs
        )
        self.encoder = nn.ModuleList(DoubleConv(fine, coarse, emb, norm) for fine, coarse in pairs)
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in reversed(pairs)
        )
        self.decoder = nn.ModuleList(DoubleConv(2 * fine, fine, emb, norm) for fine, _ in reversed(pairs))
        self.leave = zero_init(nn.Conv2d(width, channels, 1))

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, span: Tensor | None = None
    ) -> Tensor:
        """x (B, channels, H, W), c_noise (B,), label (B,) int64 in 0..K or None, span (B,) or None -> (B, channels, H, W)."""
        height, width = x.shape[-2:]
        h, top, left = pad_to_multiple(x, self.multiple)
        emb = F.silu(self.conditioning(c_noise, label, span))
        h = self.enter(h, emb)
        skips = []
        for shrink, block in zip(self.shrink, self.encoder):
            skips.append(h)
            h = block(shrink(h), emb)
        for grow, block in zip(self.grow, self.decoder):
            h = block(torch.cat([grow(h), skips.pop()], dim=1), emb)
        return self.leave(h)[..., top : top + height, left : left + width]
