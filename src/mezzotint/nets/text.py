"""Text for a network: word numbers to vectors that know their places and each other."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING, START = 0, 1  # numbers that are no words; every text begins with START, the empty one too
WIDTH = 96  # of a word's vector
LAYERS = 2
HEADS = 4


class Block(nn.Module):
    """Self-attention and an MLP, each behind a layer norm and beside a skip (Vaswani et al. 2017; pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, there: Tensor) -> Tensor:
        """x (B, L, width), there (B, L) bool -> (B, L, width). Places that are not there are not looked at."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5 @ k.mT).masked_fill(~there[:, None, None], -torch.inf)
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class TextEncoder(nn.Module):
    """words: how many numbers there are, PADDING and START among them. length: of a text, START included.

    Words have places: without them "a left of b" would be "b left of a".
    """

    def __init__(self, words: int, length: int, width: int = WIDTH, layers: int = LAYERS) -> None:
        super().__init__()
        self.words, self.width = words, width
        self.table = nn.Parameter(torch.randn(words, width))
        self.places = nn.Parameter(0.1 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, HEADS) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def nothing(self, n: int) -> Tensor:
        """No text, n times: (n, L) int64."""
        text = torch.zeros(n, len(self.places), dtype=torch.int64, device=self.places.device)
        text[:, 0] = START
        return text

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """text (B, L) int64, START first -> vectors (B, L, width), and whether a word is there (B, L) bool.

        The first vector, START's, stands for the whole text. It is always there, so that no softmax is over nothing.
        """
        there = text != PADDING
        # A product with one-hot rows: its gradient repeats bit for bit (see `Conditioning`).
        x = F.one_hot(text, self.words).to(self.table.dtype) @ self.table + self.places
        for block in self.blocks:
            x = block(x, there)
        return self.norm(x), there
