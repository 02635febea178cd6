"""Small parts that several networks share."""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def zero_init(layer: Layer) -> Layer:
    """The same layer with weight and bias 0, so that the branch it ends starts as silence."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def normal(*shape: int, scale: float = 1.0) -> Tensor:
    """A tensor of normal numbers of standard deviation `scale`, as of `scale * torch.randn`. On the meta device, where a network has shapes
    alone, none are drawn: PyTorch would load its compiler and a symbolic algebra for that, which takes longer than loading the network."""
    values = torch.empty(*shape)
    return values if values.is_meta else scale * values.normal_()


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu & He 2018) with as many groups as divide the channels, at most 32.

    A group has at least 4 channels (if there are 4): one alone on a 1x1 picture would be normalised to zero.
    """
    return nn.GroupNorm(math.gcd(32, channels, max(1, channels // 4)), channels, eps=1e-5)


def pad_axes(x: Tensor, multiples: Sequence[int]) -> tuple[Tensor, list[int]]:
    """Pad things (B, C, *axes), of three axes at most, evenly on all sides until every axis is a multiple of its number.

    The border is mirrored, or repeated where a thing is too small to be mirrored.
    Returns the padded things and where along each axis the original starts in them.
    """
    more = [-side % multiple for side, multiple in zip(x.shape[2:], multiples)]
    if not any(more):
        return x, [0] * len(more)
    starts = [count // 2 for count in more]
    mirrors = all(count - count // 2 < side for count, side in zip(more, x.shape[2:]))
    padding = [side for start, count in zip(starts[::-1], more[::-1]) for side in (start, count - start)]
    return F.pad(x, padding, mode="reflect" if mirrors else "replicate"), starts


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, int, int]:
    """`pad_axes` for pictures (B, C, H, W) with one number for both sides: also returns the row and column at which the original starts."""
    x, (top, left) = pad_axes(x, (multiple, multiple))
    return x, top, left


class Coordinates(nn.Module):
    """x (B, channels, H, W) plus a projection of where each position lies: sin and cos of k pi / 2 times its row and column,
    which run from -1 to 1 whatever the size (Liu et al. 2018, "CoordConv", with waves). Without it a network of convolutions
    knows left from right by its padding alone."""

    WAVES = 4

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(4 * self.WAVES, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        return x + self.project(self.features(height, width, x.device).to(x.dtype))

    @classmethod
    def features(cls, height: int, width: int, device: torch.device) -> Tensor:
        """(1, 4 WAVES, height, width) float32."""
        sides = (torch.arange(side, device=device) for side in (height, width))
        rows, columns = (2 * at / max(len(at) - 1, 1) - 1 if len(at) > 1 else 0.0 * at for at in sides)
        waves = torch.arange(1, cls.WAVES + 1, device=device)[:, None] * (math.pi / 2)
        found = [f(waves * at) for at in (rows, columns) for f in (torch.sin, torch.cos)]
        down, across = torch.cat(found[:2])[:, :, None], torch.cat(found[2:])[:, None]
        return torch.cat([down.expand(-1, height, width), across.expand(-1, height, width)])[None]
