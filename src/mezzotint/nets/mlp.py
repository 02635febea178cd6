"""A residual multilayer perceptron for points."""

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.embed import Conditioning
from mezzotint.nets.parts import zero_init


class Block(nn.Module):
    """x + W2 silu((1 + scale) * W1 x + shift), scale and shift from the conditioning (FiLM, Perez et al. 2018)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.modulate = nn.Linear(width, 2 * width)
        self.inner = nn.Linear(width, width)
        self.outer = zero_init(nn.Linear(width, width))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.modulate(emb).chunk(2, dim=1)
        return x + self.outer(F.silu(self.inner(x) * (1 + scale) + shift))


class MLP(nn.Module):
    """Points (B, dim) in, (B, dim) out: `depth` residual blocks of `width` units. The output starts at zero.

    classes: number of classes K, 0 for none; span: whether it is told a step's length; see `Conditioning`.
    """

    def __init__(
        self, dim: int = 2, width: int = 128, depth: int = 4, classes: int = 0, span: bool = False
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {"width": width, "depth": depth}  # by a configuration's keys
        self.conditioning = Conditioning(width, classes, span)
        self.enter = nn.Linear(dim, width)
        self.blocks = nn.ModuleList(Block(width) for _ in range(depth))
        self.leave = zero_init(nn.Linear(width, dim))

    def forward(
        self, x: Tensor, c_noise: Tensor, label: Tensor | None = None, span: Tensor | None = None
    ) -> Tensor:
        """x (B, dim), c_noise (B,), label (B,) int64 in 0..K or None, span (B,) or None -> (B, dim)."""
        emb = F.silu(self.conditioning(c_noise, label, span))
        h = self.enter(x)
        for block in self.blocks:
            h = block(h, emb)
        return self.leave(F.silu(h))
