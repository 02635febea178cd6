"""Small parts that several networks share."""

import math
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


def normal(*shape: int) -> Tensor:
    """A tensor of standard normal numbers, as of `torch.randn`. On the meta device, where a network has shapes alone, none are
    drawn: PyTorch would load a symbolic algebra for that, which takes longer than loading the network."""
    values = torch.empty(*shape)
    return values if values.is_meta else values.normal_()


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalisation (Wu & He 2018) with as many groups as divide the channels, at most 32.

    A group has at least 4 channels (if there are 4): one alone on a 1x1 picture would be normalised to zero.
    """
    return nn.GroupNorm(math.gcd(32, channels, max(1, channels // 4)), channels, eps=1e-5)


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, int, int]:
    """Pad pictures (B, C, H, W) evenly on all sides until `multiple` divides both sides.

    The border is mirrored, or repeated where the picture is too small to be mirrored.
    Returns the padded pictures and the row and column at which the original starts in them.
    """
    height, width = x.shape[-2:]
    rows, columns = -height % multiple, -width % multiple
    if rows == columns == 0:
        return x, 0, 0
    top, left = rows // 2, columns // 2
    mirrors = rows - top < height and columns - left < width
    padding = (left, columns - left, top, rows - top)
    return F.pad(x, padding, mode="reflect" if mirrors else "replicate"), top, left


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
