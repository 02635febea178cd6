"""Small parts that several networks share."""

import math
from collections.abc import Sequence
from typing import TypeVar

import torch.nn.functional as F
from torch import Tensor, nn

Layer = TypeVar("Layer", nn.Linear, nn.Conv2d)


def zero_init(layer: Layer) -> Layer:
    """The same layer with weight and bias 0, so that the branch it ends starts as silence."""
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


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
