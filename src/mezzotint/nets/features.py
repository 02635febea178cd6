"""A small classifier whose features tell how different two pictures look: the distance of LPIPS (Zhang et al. 2018), by a network
of the run's own in place of a published one.

One convolution at each of four sizes, as the layers of AlexNet follow each other, which that paper found to serve as well as
deeper networks.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.parts import group_norm

WIDTHS = (16, 48, 96, 128)  # channels at the full size, a half, a quarter, an eighth of it
SHORTEST = 0.1  # length of a position's channels below which they are not made longer: where nothing is seen, nothing differs


class FeatureNet(nn.Module):
    """Pictures (B, channels, H, W) in [-1, 1], of any size, to logits (B, classes)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, here, 3, padding=1), group_norm(here), nn.ReLU())
            for before, here in pairwise((channels, *WIDTHS))
        )
        self.head = nn.Linear(WIDTHS[-1], classes)

    def depths(self, x: Tensor) -> list[Tensor]:
        """Features at each depth k: (B, WIDTHS[k], H / 2^k, W / 2^k), sides rounded up."""
        found: list[Tensor] = []
        for stage in self.stages:
            x = stage(F.avg_pool2d(x, 2, ceil_mode=True) if found else x)
            found.append(x)
        return found

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.depths(x)[-1].mean((2, 3)))
        return logits

    def distance(self, x: Tensor, target: Tensor) -> Tensor:
        """(B,) in [0, 8], 0 for equal pictures, with a gradient for x alone: at every depth the squared distance of the
        channels, made unit vectors at every position, as a mean over positions; summed over depths. Eq. 1 of Zhang et al.
        (2018) with all learned weights 1."""
        with torch.no_grad():
            there = self.depths(target)
        total = torch.zeros(len(x), device=x.device)
        for one, other in zip(self.depths(x), there):
            difference = F.normalize(one, dim=1, eps=SHORTEST) - F.normalize(other, dim=1, eps=SHORTEST)
            total = total + difference.square().sum(1).mean((1, 2))
        return total
