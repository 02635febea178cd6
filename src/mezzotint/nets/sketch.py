"""A sketch of a text's picture on 4x4 positions, which a network predicts from the text alone."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.parts import Coordinates, zero_init

SIDE = 4  # positions each way
WIDTH = 96  # of a position's vector
HEADS = 3
GAIN = 4.0  # of a sketch as it enters a network: means of pictures have a deviation of about a quarter


class Look(nn.Module):
    """Positions look at the words, then an MLP whose norm the whole text scales and shifts; both beside a skip."""

    def __init__(self, words: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH, elementwise_affine=False)
        self.query, self.words = nn.Linear(WIDTH, WIDTH), nn.Linear(words, 2 * WIDTH)
        self.out = zero_init(nn.Linear(WIDTH, WIDTH))
        self.modulate = nn.Linear(words, 2 * WIDTH)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 2 * WIDTH), nn.SiLU(), nn.Linear(2 * WIDTH, WIDTH))

    def forward(self, x: Tensor, vectors: Tensor, there: Tensor) -> Tensor:
        """x (B, N, WIDTH), vectors (B, L, words) the first of which is the whole text's, there (B, L) bool -> x's shape."""
        q = self.query(self.norm1(x)).unflatten(-1, (HEADS, -1)).transpose(1, 2)
        k, v = self.words(vectors).unflatten(-1, (2, HEADS, -1)).permute(2, 0, 3, 1, 4)
        scores = (q * q.shape[-1] ** -0.5 @ k.mT).masked_fill(~there[:, None, None], -torch.inf)
        x = x + self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
        scale, shift = self.modulate(vectors[:, :1]).chunk(2, -1)
        return x + self.mlp(self.norm2(x) * (1 + scale) + shift)


class Sketch(nn.Module):
    """The mean of all things that a text may mean, in SIDE x SIDE parts: E[x0 | text], which is what there is to know at pure noise.

    channels: of a thing. words: width of the vectors of words. inside: channels at a network's entrance, where the sketch joins.

    Which of two things lies left is decided while a picture is nearly pure noise, and few rows of training are. From
    them alone the encoder of a text does not learn to tell "left of" from "right of"; the loss of the sketch asks it in every row
    (docs/LOG.md, "Words"). What the network is given is no part of that loss: its own gradient stops before the sketch.
    """

    def __init__(self, channels: int, words: int, inside: int) -> None:
        super().__init__()
        self.enter = nn.Linear(4 * Coordinates.WAVES, WIDTH)
        self.looks = nn.ModuleList(Look(words) for _ in range(2))
        self.leave = zero_init(nn.Linear(WIDTH, channels))
        self.join = nn.Conv2d(channels, inside, 1)

    def forward(self, vectors: Tensor, there: Tensor) -> Tensor:
        """vectors (B, L, words) and whether they are there (B, L) bool -> (B, channels, SIDE, SIDE)."""
        places = Coordinates.features(SIDE, SIDE, vectors.device).to(vectors.dtype).flatten(2).mT
        x = self.enter(places).expand(vectors.shape[0], -1, -1)
        for look in self.looks:
            x = look(x, vectors, there)
        return self.leave(x).mT.unflatten(-1, (SIDE, SIDE))

    def joined(self, vectors: Tensor, there: Tensor, size: tuple[int, int]) -> Tensor:
        """What is added at the entrance, of a picture of `size` there: (B, inside, *size)."""
        with torch.no_grad():
            drawn = GAIN * self(vectors, there)
        drawn = drawn.to(torch.promote_types(drawn.dtype, torch.float32))
        return self.join(F.interpolate(drawn, size, mode="bilinear"))

    def loss(self, x0: Tensor, vectors: Tensor, there: Tensor) -> Tensor:
        """(B,) float32, the squared error of the sketch of x0 (B, channels, H, W), or (B, channels, T, H, W) whose frames are averaged."""
        means = F.adaptive_avg_pool2d(x0 if x0.ndim == 4 else x0.mean(2), SIDE)
        return (self(vectors, there).float() - means).square().flatten(1).mean(1)
