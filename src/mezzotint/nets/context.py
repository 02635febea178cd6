"""Vectors of a frozen text encoder, for attention: one projection, and a vector for the whole."""

import torch
from torch import Tensor, nn

from mezzotint.nets.parts import normal


class Context(nn.Module):
    """width: numbers of a vector as the encoder gives them; out: as attention takes them. length: of a text, for no text.

    A learned vector stands before all others for the whole text, with the mean of what is there added. It is always there, so that
    no softmax is over nothing; alone it is no text, and what lies where nothing is there has no effect.
    """

    def __init__(self, width: int, length: int, out: int) -> None:
        super().__init__()
        self.width, self.length = width, length
        self.whole = nn.Parameter(normal(out, scale=0.1))
        self.scale, self.project, self.norm = nn.LayerNorm(width), nn.Linear(width, out), nn.LayerNorm(out)

    def forward(self, context: Tensor | None, mask: Tensor | None, n: int) -> tuple[Tensor, Tensor]:
        """context (n, L, width), mask (n, L) bool, both None for no text -> vectors (n, 1 + L, out), and whether they are
        there (n, 1 + L) bool."""
        if context is None or mask is None:
            context = self.whole.new_zeros(n, self.length, self.width)
            mask = torch.zeros(n, self.length, dtype=torch.bool, device=context.device)
        vectors = self.project(self.scale(context)) * mask[..., None]
        whole = self.whole + vectors.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        there = torch.cat([mask.new_ones(n, 1), mask], 1)
        return self.norm(torch.cat([whole[:, None], vectors], 1)), there
