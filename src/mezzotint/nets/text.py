"""Text for a network: word numbers to vectors that know their places and each other."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.parts import normal

PADDING, START = 0, 1  # numbers that are no words; every text begins with START, the empty one too
WIDTH = 96  # of a word's vector
LAYERS = 2
HEADS = 4


class Block(nn.Module):
    """Causal self-attention and an MLP, each behind a layer norm and beside a skip (Vaswani et al. 2017; pre-norm)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, seen: Tensor) -> Tensor:
        """x (B, L, width), seen (B, L, L) bool, which places each place looks at -> (B, L, width)."""
        q, k, v = self.qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5 @ k.mT).masked_fill(~seen[:, None], -torch.inf)
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        return x + self.mlp(self.norm2(x))


class TextEncoder(nn.Module):
    """words: how many numbers there are, PADDING and START among them. length: of a text, START included.

    Each word looks at itself and those before it (Radford et al. 2018; CLIP's encoder does, too). So of "a left of b" only b
    has seen "left of", and which of the two lies left can be read off at once; where all look at all it is a
    riddle of three parts (the thing, the relation, the order), which is learned late if at all (docs/LOG.md, "Words").
    """

    def __init__(self, words: int, length: int, width: int = WIDTH, layers: int = LAYERS) -> None:
        super().__init__()
        self.words, self.width = words, width
        self.table = nn.Parameter(normal(words, width))
        self.places = nn.Parameter(normal(length, width, scale=0.1))
        self.blocks = nn.ModuleList(Block(width, HEADS) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def nothing(self, n: int) -> Tensor:
        """No text, n times: (n, L) int64."""
        text = torch.zeros(n, len(self.places), dtype=torch.int64, device=self.places.device)
        text[:, 0] = START
        return text

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """text (B, L) int64, START first -> vectors (B, L, width), and whether a word is there (B, L) bool.

        The first vector stands for the whole text: in START's place, which has seen nothing, is that of the last word, which
        has seen all. It is always there, so that no softmax is over nothing.
        """
        there = text != PADDING
        before = torch.ones(text.shape[1], text.shape[1], dtype=torch.bool, device=text.device).tril()
        seen = there[:, None] & before
        # A product with one-hot rows: its gradient repeats bit for bit (see `Conditioning`).
        x = F.one_hot(text, self.words).to(self.table.dtype) @ self.table + self.places
        for block in self.blocks:
            x = block(x, seen)
        x = self.norm(x)
        last = F.one_hot(there.sum(1) - 1, text.shape[1]).to(x.dtype)
        return torch.cat([last[:, None] @ x, x[:, 1:]], 1), there
