"""A transformer over patches: tokens that attend to each other, modulated by the noise level.

Peebles & Xie 2023 ("Scalable diffusion models with transformers") gave its block, adaLN-zero. The rest is of later work:
one modulation for all blocks (Chen et al. 2024, "PixArt-alpha"), patches through a bottleneck (Li & He 2025, "JiT"),
SwiGLU (Shazeer 2020), queries and keys of unit size (Henry et al. 2020), rotary positions (Su et al. 2021) along each axis
(Crowson et al. 2024, "HDiT"). Patches overlap, on the way in and on the way out, as in lapped transforms (Malvar 1992), so that none is seen.

Pictures (B, C, H, W), clips (B, C, T, H, W) and rows of numbers (B, C, W) are one case, x (B, C, *axes).
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mezzotint.nets.attention import softmax_attention
from mezzotint.nets.embed import Conditioning
from mezzotint.nets.parts import normal, pad_axes, zero_init
from mezzotint.nets.sketch import Sketch
from mezzotint.nets.text import WIDTH, TextEncoder

CONVOLUTIONS = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}  # by the number of axes
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


class Enter(nn.Module):
    """Things (B, channels, *axes) to vectors of patches (B, patches, width), in the order of the axes. A patch is seen with half a
    patch of its neighbours on every side, which is mirrored at the borders.

    Natural patches lie near few directions of their space; noise fills all of it, and need not pass a bottleneck (JiT).
    """

    def __init__(self, channels: int, width: int, patch: Sequence[int]) -> None:
        super().__init__()
        bottleneck = min(channels * math.prod(patch), width // 2)
        self.laps = [p // 2 for p in patch]
        sides = [p + 2 * lap for p, lap in zip(patch, self.laps)]
        self.narrow = CONVOLUTIONS[len(patch)](channels, bottleneck, sides, patch, bias=False)  # type: ignore[arg-type]
        self.widen = nn.Linear(bottleneck, width)
        nn.init.xavier_uniform_(self.widen.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, [lap for lap in reversed(self.laps) for _ in range(2)], mode="reflect")
        return self.widen(self.narrow(x).flatten(2).mT)


class Leave(nn.Module):
    """The way back. What a patch says reaches half a patch into its neighbours, where it fades as theirs rises, and is added to it:
    the windows are sin^2, whose sum is 1 (Princen & Bradley 1986). So there is no border that could be seen. Starts at zero.
    """

    def __init__(self, width: int, channels: int, patch: Sequence[int]) -> None:
        super().__init__()
        self.patch = tuple(patch)
        self.laps = tuple(p // 2 for p in patch)
        sides = [p + 2 * lap for p, lap in zip(patch, self.laps)]
        self.weight = nn.Parameter(torch.zeros(width, channels, *sides))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, h: Tensor, grid: Sequence[int]) -> Tensor:
        """(B, patches, width), grid: how many patches lie along each axis -> (B, channels, *axes)."""
        windows, total = torch.ones((), device=h.device), torch.ones((), device=h.device)
        for p, lap, n in zip(self.patch, self.laps, grid):
            share = (torch.arange(2 * lap, device=h.device) + 0.5) / max(2 * lap, 1)
            rise = (share * math.pi / 2).sin().square()
            along = torch.ones(
                n * p, device=h.device
            )  # what the windows add up to; at the ends one neighbour lacks
            along[:lap], along[n * p - lap :] = rise[lap:], rise[lap:].flip(0)
            windows = windows[..., None] * torch.cat([rise, rise.new_ones(p - 2 * lap), rise.flip(0)])
            total = total[..., None] * along
        weight = self.weight * windows.to(self.weight.dtype)
        x = TRANSPOSED[len(grid)](h.mT.unflatten(2, tuple(grid)), weight, None, self.patch, self.laps)
        return x / total.to(x.dtype) + self.bias.view(-1, *[1] * len(grid)).to(x.dtype)


def angles(grid: Sequence[int], heads: int, size: int, device: torch.device) -> Tensor:
    """By how much each position turns each pair of a head's numbers, in radians: (heads, patches, size // 2) float32.

    A head of `size` numbers is size // 2 pairs, shared out evenly among the axes; pairs left over do not turn. Along every
    axis the middles of patches have coordinates from -1 to 1 whatever their number, so that a model trained at one size
    works at another. Frequencies lie between pi / 2 and 4 pi, evenly in their logarithm, and each head has its own: half a
    turn to four turns along an axis, the most that 8 patches can tell apart. (HDiT has pi to 10 pi, for more patches.)
    """
    each = size // 2 // len(grid)
    frequencies = torch.linspace(math.log(math.pi / 2), math.log(4 * math.pi), heads * each, device=device)
    frequencies = frequencies.exp().view(each, heads).T  # (heads, each)
    places = [torch.arange(0.5, n, device=device) * 2 / n - 1 for n in grid]
    coordinates = torch.cartesian_prod(*places).view(-1, len(grid))  # (patches, axes)
    turned = coordinates[None, :, :, None] * frequencies[:, None, None, :]  # (heads, patches, axes, each)
    return F.pad(turned.flatten(2), (0, size // 2 - len(grid) * each))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turns the pairs (x_i, x_{i + D / 2}) of (B, heads, N, D) by angles of given cosines and sines (heads, N, D / 2), so that
    products of two turned vectors depend on the difference of their places alone (RoFormer, eq. 16)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Places(NamedTuple):
    """Of N tokens, what attention is told beside their vectors. cos, sin: of the angles (heads, N, head / 2) that they are
    turned by; there: (B, N) bool, which of them are looked at, or None for all."""

    cos: Tensor
    sin: Tensor
    there: Tensor | None = None


class Attention(nn.Module):
    """Multi-head self-attention over tokens, of queries and keys of root mean square 1 times a gain, turned by their places."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm_q, self.norm_k = (nn.RMSNorm(width // heads, eps=1e-6) for _ in range(2))

    def forward(self, x: Tensor, places: Places) -> Tensor:
        """x (B, N, width) -> (B, N, width)."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = (  # in float32, since angles need more digits than half precision has
            rotate(norm(_whole(each)), places.cos, places.sin)
            for norm, each in ((self.norm_q, q), (self.norm_k, k))
        )
        there = None if places.there is None else places.there[:, None, None]
        if (
            x.device.type == "cpu"
        ):  # whose fused kernel is several times slower backwards in half precision (docs/LOG.md)
            with torch.autocast("cpu", enabled=False):
                h = softmax_attention(q, k, _whole(v), there)
        else:
            h = softmax_attention(q.to(v.dtype), k.to(v.dtype), v, there)
        return self.out(h.transpose(1, 2).flatten(2))


def _whole(x: Tensor) -> Tensor:
    """In float32 at least."""
    return x if x.dtype == torch.float64 else x.float()


class SwiGLU(nn.Module):
    """W3 (silu(W1 x) * W2 x) (Shazeer 2020), with as many weights as an MLP four times as wide as x has."""

    def __init__(self, width: int) -> None:
        super().__init__()
        hidden = -(-8 * width // 3 // 8) * 8  # 2/3 of 4 width, since there are three matrices and not two
        self.inner = nn.Linear(width, 2 * hidden)
        self.outer = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        gate, value = self.inner(x).chunk(2, dim=-1)
        return self.outer(F.silu(gate) * value)


class Block(nn.Module):
    """adaLN-zero: attention, then SwiGLU, each behind a modulated norm and beside a skip that its gate opens.

        x + gate f((1 + scale) norm(x) + shift)

    shift, scale and gate are the sum of what all blocks are told and of a table of this one; both start at zero, and the
    block as the skip alone. recompute: activation checkpointing, see `unet.Stage`.
    """

    def __init__(self, width: int, heads: int, recompute: bool = False) -> None:
        super().__init__()
        self.table = nn.Parameter(torch.zeros(6, width))
        self.norm1 = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        self.attention = Attention(width, heads)
        self.norm2 = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        self.mlp = SwiGLU(width)
        self.recompute = recompute

    def forward(self, x: Tensor, told: Tensor, places: Places) -> Tensor:
        """x (B, N, width), told (B, 6, width) -> (B, N, width)."""
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self._inside, x, told, places, use_reentrant=False)
        return self._inside(x, told, places)

    def _inside(self, x: Tensor, told: Tensor, places: Places) -> Tensor:
        shift1, scale1, gate1, shift2, scale2, gate2 = (told + self.table)[:, :, None].unbind(1)
        x = x + gate1 * self.attention(self.norm1(x) * (1 + scale1) + shift1, places)
        return x + gate2 * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class DiT(nn.Module):
    """Things (B, channels, *axes) of any size in, the same shape out. The output starts at zero.

    width, depth: numbers of a token, and blocks. head_channels: numbers of an attention head; 32 leave 8 pairs to turn for
    each of two axes, fewer than 16 leave too few to tell places apart. patch: side of the patches, one number or one for each axis; a step costs as the number of patches, and
    a little more. axes: how many a thing has beside its channels, 2 for pictures.
    tokens: how many learned vectors stand before the patches, a set of them for each class where there are classes. They have no
    place, and so what a patch says to them tells where it lies; without them only differences of places are known.
    classes: number of classes K, 0 for none; span: whether it is told a step's length; see `Conditioning`.
    words, length: numbers of words and places of a text, see `TextEncoder`; 0 for none. Its vectors are tokens before the
    patches, too, and the whole text joins the noise level.
    """

    def __init__(
        self,
        channels: int,
        width: int = 256,
        depth: int = 6,
        head_channels: int = 32,
        patch: int | Sequence[int] = 4,
        tokens: int = 4,
        axes: int = 2,
        classes: int = 0,
        recompute: bool = False,
        span: bool = False,
        words: int = 0,
        length: int = 0,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "width": width,
            "depth": depth,
            "head_channels": head_channels,
            "patch": patch,
            "tokens": tokens,
        }
        self.patch = (patch,) * axes if isinstance(patch, int) else tuple(patch)
        if len(self.patch) != axes or axes not in CONVOLUTIONS:
            raise ValueError(f"patch {patch} does not fit {axes} axes; give one side, or one for each axis")
        if width % head_channels or head_channels % 2:
            raise ValueError(f"head_channels={head_channels} must be even and divide the width {width}")
        self.multiple = max(self.patch)
        self.heads = width // head_channels
        self.conditioning = Conditioning(width, classes, span)
        self.encoder = TextEncoder(words, length) if words else None
        self.pooled = nn.Linear(WIDTH, width) if words else None
        self.word = nn.Linear(WIDTH, width) if words else None
        self.sketch = Sketch(channels, WIDTH, width) if words else None
        self.tokens = nn.Parameter(normal(classes + 1, tokens, width, scale=0.02))
        self.enter = Enter(channels, width, self.patch)
        self.blocks = nn.ModuleList(Block(width, self.heads, recompute) for _ in range(depth))
        self.norm = nn.RMSNorm(width, eps=1e-6, elementwise_affine=False)
        for layer in self.blocks.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight)
        self.modulate = zero_init(nn.Linear(width, 8 * width))  # 6 for the blocks, 2 for the last norm
        self.leave = Leave(width, channels, self.patch)

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        label: Tensor | None = None,
        span: Tensor | None = None,
        text: Tensor | None = None,
    ) -> Tensor:
        """x (B, channels, *axes), c_noise (B,), label (B,) int64 in 0..K or None, span (B,) or None, text (B, L) int64 or
        None, which is no text -> (B, channels, *axes)."""
        sides = x.shape[2:]
        x, starts = pad_axes(x, self.patch)
        grid = [side // p for side, p in zip(x.shape[2:], self.patch)]
        emb = self.conditioning(c_noise, label, span)
        h = self.enter(x)
        prefix, there = self._learnt(x.shape[0], label), None
        if self.encoder is not None:
            assert self.pooled is not None and self.word is not None and self.sketch is not None
            vectors, words = self.encoder(self.encoder.nothing(x.shape[0]) if text is None else text)
            sketch = self.sketch.joined(vectors, words, (grid[-2], grid[-1])).flatten(2).mT
            h = h + sketch.repeat(1, math.prod(grid[:-2]), 1)  # the same in every frame
            emb = emb + self.pooled(vectors[:, 0])
            there = F.pad(words, (prefix.shape[1], math.prod(grid)), value=True)  # all others are
            prefix = torch.cat([prefix, self.word(vectors)], 1)
        elif text is not None:
            raise ValueError(
                "this network takes no words: leave the text out, or build it with words=V, length=L"
            )
        told = self.modulate(F.silu(emb)).unflatten(1, (8, -1))
        count = prefix.shape[1]
        h = torch.cat([prefix.to(h.dtype), h], 1)
        turn = angles(grid, self.heads, h.shape[-1] // self.heads, x.device).to(x.dtype)
        turn = F.pad(turn, (0, 0, count, 0))  # what has no place does not turn
        places = Places(turn.cos(), turn.sin(), there)
        for block in self.blocks:
            h = block(h, told[:, :6], places)
        shift, scale = told[:, 6:, None].unbind(1)
        out = self.leave(self.norm(h[:, count:]) * (1 + scale) + shift, grid)
        return out[(..., *(slice(start, start + side) for start, side in zip(starts, sides)))]

    def sketched(self, x0: Tensor, text: Tensor | None = None, **_: Tensor) -> Tensor:
        """How far the sketches of texts are from things x0 (B, channels, *axes): (B,), see `Sketch`; of a network that knows words."""
        assert self.encoder is not None and self.sketch is not None
        return self.sketch.loss(x0, *self.encoder(self.encoder.nothing(len(x0)) if text is None else text))

    def elementwise(self) -> list[Tensor]:
        """Weights for an optimiser of numbers where another one takes matrices (`train.muon`): what starts at zero, and
        tables of vectors."""
        tables = [
            weight for name, weight in self.named_parameters() if name.endswith(("table", "tokens", "places"))
        ]
        return [self.modulate.weight, self.leave.weight, *tables]

    def _learnt(self, n: int, label: Tensor | None) -> Tensor:
        """The learned tokens of n rows, (n, tokens, width). No label means K."""
        if label is None:
            return self.tokens[-1:].expand(n, -1, -1)
        # A product with one-hot rows: its gradient repeats bit for bit (see `Conditioning`).
        chosen = F.one_hot(label, len(self.tokens)).to(self.tokens.dtype)
        return torch.einsum("bk,ktw->btw", chosen, self.tokens)
