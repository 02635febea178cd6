"""Attention: between the positions of a picture, to words, and between the frames of a clip."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.parts import group_norm, zero_init


class Words(NamedTuple):
    """A text for attention: vectors (B, L, width), and a mask of the words that exist (B, L) bool."""

    vectors: Tensor
    there: Tensor


MAX_POSITIONS = 64  # for attention as written; more go through the fused kernel


def softmax_attention(q: Tensor, k: Tensor, v: Tensor, there: Tensor | None = None) -> Tensor:
    """softmax(q k^T / sqrt(D)) v (Vaswani et al. 2017, eq. 1). q: (..., N, D); k, v: (..., M, D); there: bool, (..., 1, M), a
    mask of the places attended to, all by default. Returns (..., N, D).

    By PyTorch's fused kernel, which never forms the N x N weights; but on a CPU, where that costs more than it saves as
    long as positions are few (docs/LOG.md), as written.
    """
    if q.device.type == "cpu" and q.shape[-2] <= MAX_POSITIONS:
        scores = q * q.shape[-1] ** -0.5 @ k.mT
        if there is not None:
            scores = scores.masked_fill(~there, -torch.inf)
        return (v.mT @ scores.softmax(-1).mT).mT  # laid out as q is, by channels
    return F.scaled_dot_product_attention(q.contiguous(), k.contiguous(), v.contiguous(), attn_mask=there)


def linear_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention whose cost grows linearly with the number of positions N (Shen et al. 2021, "Efficient attention").

    q, k, v: (..., N, D). softmax over the features of q, softmax over the positions of k: their product has rows
    that sum to 1, as a softmax's would, yet k^T v (D, D) can be formed first. Returns (..., N, D).
    """
    return q.softmax(dim=-1) @ (k.softmax(dim=-2).transpose(-1, -2) @ v)


class Attention(nn.Module):
    """x plus multi-head self-attention over its positions. Starts as x alone.

    text_width: of the vectors of words, whose keys and values are appended to those of the positions, so that each position
    attends to the picture and the text at once; 0 for none.
    """

    def __init__(self, channels: int, head_channels: int, linear: bool, text_width: int = 0) -> None:
        super().__init__()
        self.head_channels = min(head_channels, channels)
        if channels % self.head_channels:
            raise ValueError(
                f"attention on {channels} channels: head_channels={head_channels} must divide them"
            )
        if linear and text_width:
            raise ValueError("linear attention cannot attend to words; leave network.linear_attention out")
        self.linear = linear
        self.norm = group_norm(channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = zero_init(nn.Conv2d(channels, channels, 1))
        self.words = nn.Linear(text_width, 2 * channels) if text_width else None

    def forward(self, x: Tensor, text: Words | None = None) -> Tensor:
        qkv = self.qkv(self.norm(x)).flatten(2).unflatten(1, (3, -1, self.head_channels))
        q, k, v = qkv.mT.unbind(dim=1)  # each (B, heads, positions, head_channels)
        if self.words is not None and text is not None:
            more = self.words(text.vectors).unflatten(-1, (2, -1, self.head_channels))
            more_k, more_v = more.permute(2, 0, 3, 1, 4)  # each (B, heads, words, head_channels)
            k, v = torch.cat([k, more_k], -2), torch.cat([v, more_v], -2)
            seen = text.there.new_ones(x.shape[0], q.shape[-2])
            h = softmax_attention(q, k, v, torch.cat([seen, text.there], 1)[:, None, None])
        else:
            h = linear_attention(q, k, v) if self.linear else softmax_attention(q, k, v)
        return x + self.out(h.mT.reshape(x.shape))


def waves(places: int, channels: int) -> Tensor:
    """Where each of some places in a row lies, as sin and cos, (places, channels): from a quarter of a turn over all of them to
    a quarter of a turn from each to the next, evenly, as large as what norms give. Attention that begins with such places, and not with noise,
    learns motion sooner (docs/LOG.md)."""
    pairs = channels // 2
    angle = (torch.arange(places) + 0.5)[:, None] / places * torch.linspace(0.5, places / 2, pairs) * torch.pi
    return F.pad(torch.cat([angle.sin(), angle.cos()], 1), (0, channels - 2 * pairs))


class TimeAttention(nn.Module):
    """x plus self-attention over the frames of a clip, at each position alone (Ho et al. 2022, "Video diffusion models").
    Starts as x alone, to the bit, so that a network for clips starts as one for pictures.

    frames: T; x is (B T, channels, H, W), the frames of a clip next to each other. Each frame knows its place.
    """

    def __init__(self, channels: int, head_channels: int, frames: int) -> None:
        super().__init__()
        self.frames, self.head_channels = frames, min(head_channels, channels)
        self.norm = group_norm(channels)
        self.places = nn.Parameter(waves(frames, channels))
        self.qkv = nn.Linear(channels, 3 * channels)
        self.out = zero_init(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        h = (
            self.norm(x).unflatten(0, (-1, self.frames)).flatten(3).permute(0, 3, 1, 2)
        )  # (B, H W, T, channels)
        qkv = self.qkv(h + self.places.to(h.dtype)).unflatten(-1, (3, -1, self.head_channels))
        q, k, v = qkv.permute(3, 0, 1, 4, 2, 5)  # each (B, H W, heads, T, head_channels)
        h = self.out(softmax_attention(q, k, v).transpose(2, 3).flatten(3))
        return x + h.permute(0, 2, 3, 1).reshape(x.shape)
