"""The full U-Net: residual blocks with adaptive group norm, and attention at chosen resolutions.

Ho et al. 2020 (DDPM) gave its shape, Dhariwal & Nichol 2021 (ADM) its norm and its attention.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from mezzotint.nets.attention import Attention, TimeAttention, Words
from mezzotint.nets.context import Context
from mezzotint.nets.embed import Conditioning
from mezzotint.nets.parts import Coordinates, group_norm, pad_to_multiple, zero_init
from mezzotint.nets.sketch import Sketch
from mezzotint.nets.text import WIDTH, TextEncoder


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolution, twice, beside a skip; the second norm's scale and shift come from the conditioning.

    "Adaptive group norm", Dhariwal & Nichol 2021, section 3.1. Starts as the skip alone.
    """

    def __init__(self, channels_in: int, channels_out: int, emb: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = group_norm(channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, padding=1)
        self.modulate = nn.Linear(emb, 2 * channels_out)
        self.norm2 = group_norm(channels_out)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero_init(nn.Conv2d(channels_out, channels_out, 3, padding=1))
        self.skip = nn.Identity() if channels_in == channels_out else nn.Conv2d(channels_in, channels_out, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulate(emb)[:, :, None, None].chunk(2, dim=1)
        h = self.norm2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv2(self.dropout(F.silu(h)))


class Stage(nn.Module):
    """A residual block, then attention if asked, then attention over frames if there are any.

    recompute: keep only the input for the backward pass, and compute what is inside once more then: less memory for
    about a third more time ("activation checkpointing", Chen et al. 2016).
    """

    def __init__(
        self,
        block: ResidualBlock,
        attention: Attention | None,
        recompute: bool,
        time: TimeAttention | None = None,
    ) -> None:
        super().__init__()
        self.block = block
        self.attention = nn.Identity() if attention is None else attention
        self.time = time
        self.recompute = recompute

    def forward(self, x: Tensor, emb: Tensor, text: Words | None = None) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return checkpoint(self._inside, x, emb, text, use_reentrant=False)
        return self._inside(x, emb, text)

    def _inside(self, x: Tensor, emb: Tensor, text: Words | None) -> Tensor:
        x = self.block(x, emb)
        x = self.attention(x, text) if isinstance(self.attention, Attention) else x
        return x if self.time is None else self.time(x)


class Down(nn.Module):
    """A level on the way down: its entrance, then stages. Every output is a skip for one stage on the way up."""

    def __init__(self, enter: nn.Module, stages: Iterable[Stage]) -> None:
        super().__init__()
        self.enter = enter
        self.stages = nn.ModuleList(stages)

    def forward(
        self, x: Tensor, emb: Tensor, text: Words | None = None, beside: Tensor | None = None
    ) -> list[Tensor]:
        """beside: what joins at the entrance, (B, channels there, H, W)."""
        entered = self.enter(x)
        outputs = [entered if beside is None else entered + beside]
        for stage in self.stages:
            outputs.append(stage(outputs[-1], emb, text))
        return outputs


class Up(nn.Module):
    """A level on the way up: stages, each of which takes the last of the skips, then the exit."""

    def __init__(self, stages: Iterable[Stage], leave: nn.Module) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.leave = leave

    def forward(self, x: Tensor, emb: Tensor, skips: list[Tensor], text: Words | None = None) -> Tensor:
        for stage in self.stages:
            x = stage(torch.cat([x, skips.pop()], dim=1), emb, text)
        return self.leave(x)


class UNet(nn.Module):
    """Pictures (B, channels, H, W) of any size in, the same shape out. The output starts at zero.

    width, multipliers: level i has width * multipliers[i] channels at 1 / (patch * 2**i) of the picture's size.
    blocks: residual blocks of each level on the way down; one more on the way up.
    attention: the downsampling factors, against the picture, at which blocks are followed by self-attention: with
    patch 1 the levels have factors 1, 2, 4, ..., with patch 2 they have 2, 4, 8, ...
    linear_attention: the function of that name instead of softmax attention, whose cost grows as positions squared.
    head_channels: channels of an attention head (one head where a level has fewer).
    dropout: probability, before the last convolution of a block.
    patch: side of the squares of pixels that are folded into channels at the entrance and unfolded at the exit;
    2 makes a step almost four times as fast.
    classes: number of classes K, 0 for none; span: whether it is told a step's length; see `Conditioning`.
    words, length: numbers of words and places of a text, see `TextEncoder`; 0 for none. Positions look at the words where they
    look at each other, and the whole text joins the noise level.
    context: numbers of a vector of an encoder that was trained elsewhere, which are looked at in place of words, see `Context`.
    shown: channels of a picture that it is shown beside x, of x's size, under noise that it is told; 0 for none.
    recompute: activation checkpointing, see `Stage`.
    known: whether it is shown the first frames of a clip, see `conditions.frames`; what that adds starts at zero.
    frames: T of clips (B, channels, T, H, W), 0 for pictures. The frames go through the network for pictures as if they were as
    many pictures, and after each stage look at each other, see `TimeAttention`.
    """

    def __init__(
        self,
        channels: int,
        width: int = 64,
        multipliers: Sequence[int] = (1, 2, 2),
        blocks: int = 2,
        attention: Sequence[int] = (),
        linear_attention: bool = False,
        head_channels: int = 32,
        dropout: float = 0.0,
        patch: int = 1,
        classes: int = 0,
        recompute: bool = False,
        span: bool = False,
        words: int = 0,
        length: int = 0,
        context: int = 0,
        shown: int = 0,
        frames: int = 0,
        known: bool = False,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "width": width,
            "multipliers": list(multipliers),
            "blocks": blocks,
            "attention": list(attention),
            "linear_attention": linear_attention,
            "head_channels": head_channels,
            "dropout": dropout,
            "patch": patch,
        }
        factors = [patch * 2**i for i in range(len(multipliers))]
        if unknown := sorted(set(attention) - set(factors)):
            raise ValueError(f"attention at {unknown}, but the levels of this network have factors {factors}")
        emb = 4 * width
        widths = [width * multiplier for multiplier in multipliers]

        def stage(channels_in: int, channels_out: int, factor: int) -> Stage:
            attend = None
            if factor in attention:
                attend = Attention(
                    channels_out, head_channels, linear_attention, WIDTH if words or context else 0
                )
            time = TimeAttention(channels_out, head_channels, frames) if frames else None
            return Stage(ResidualBlock(channels_in, channels_out, emb, dropout), attend, recompute, time)

        self.frames = frames
        self.patch = patch
        self.multiple = factors[-1]
        self.shown = shown
        self.conditioning = Conditioning(emb, classes, span, grain=shown > 0)
        self.encoder = TextEncoder(words, length) if words else None
        self.context = Context(context, length, WIDTH) if context else None
        self.pooled = nn.Linear(WIDTH, emb) if words or context else None
        self.sketch = Sketch(channels, WIDTH, width) if words or context else None
        self.known = (
            zero_init(nn.Conv2d((channels + 1) * patch**2, width, 3, padding=1)) if known and frames else None
        )

        self.down = nn.ModuleList()
        skips: list[int] = []  # the channels of each
        for wide, factor in zip(widths, factors):
            if factor == patch:
                inside = width
                convolution = nn.Conv2d((channels + shown) * patch**2, inside, 3, padding=1)
                where = [Coordinates(inside)] if words or context else []  # for "left of"
                enter: nn.Module = nn.Sequential(nn.PixelUnshuffle(patch), convolution, *where)
            else:
                inside = skips[-1]
                enter = nn.Conv2d(inside, inside, 3, stride=2, padding=1)
            self.down.append(Down(enter, [stage(wide if i else inside, wide, factor) for i in range(blocks)]))
            skips += [inside] + [wide] * blocks

        deepest = widths[-1]
        last_block = Stage(ResidualBlock(deepest, deepest, emb, dropout), None, recompute)
        self.middle = nn.ModuleList([stage(deepest, deepest, factors[-1]), last_block])

        self.up = nn.ModuleList()
        inside = deepest
        for wide, factor in zip(reversed(widths), reversed(factors)):
            stages = [stage((wide if i else inside) + skips.pop(), wide, factor) for i in range(blocks + 1)]
            if factor == patch:
                last = zero_init(nn.Conv2d(wide, channels * patch**2, 3, padding=1))
                leave = nn.Sequential(group_norm(wide), nn.SiLU(), last, nn.PixelShuffle(patch))
            else:
                leave = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(wide, wide, 3, padding=1))
            self.up.append(Up(stages, leave))
            inside = wide

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        label: Tensor | None = None,
        span: Tensor | None = None,
        text: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        image: Tensor | None = None,
        grain: Tensor | None = None,
    ) -> Tensor:
        """x (B, channels, H, W) or (B, channels, T, H, W), c_noise (B,), label (B,) int64 in 0..K or None, span (B,) or None, text
        (B, L) int64, or context (B, L, D) and which of it is there (B, L) bool, or None, which is no text, image (B, shown, H, W) and grain
        (B,) in [0, 1) where it is shown a picture; or image (B, channels + 1, T, H, W), the frames that are known, None for none -> x's shape."""
        if (image is None) if self.shown else (image is not None and self.known is None):
            raise ValueError(
                "an image is needed by a network built with shown=C, and by no other except one with known"
            )
        if not self.frames:
            x = x if image is None else torch.cat([x, image.to(x.dtype)], 1)
            return self._pictures(x, c_noise, label, span, text, context, context_mask, grain)
        if x.ndim != 5 or x.shape[2] != self.frames:
            raise ValueError(f"clips of {self.frames} frames are (B, C, T, H, W), not {tuple(x.shape)}")
        label, span, text, context, context_mask = (
            None if column is None else column.repeat_interleave(self.frames, 0)
            for column in (label, span, text, context, context_mask)
        )
        seen = None if image is None else image.to(x.dtype).transpose(1, 2).flatten(0, 1)
        c_noise, x = c_noise.repeat_interleave(self.frames, 0), x.transpose(1, 2).flatten(0, 1)
        flat = self._pictures(x, c_noise, label, span, text, context, context_mask, seen=seen)
        return flat.unflatten(0, (-1, self.frames)).transpose(1, 2)

    def _pictures(
        self,
        x: Tensor,
        c_noise: Tensor,
        label: Tensor | None = None,
        span: Tensor | None = None,
        text: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        grain: Tensor | None = None,
        seen: Tensor | None = None,
    ) -> Tensor:
        height, width = x.shape[-2:]
        h, top, left = pad_to_multiple(x, self.multiple)
        emb, beside = self.conditioning(c_noise, label, span, grain), None
        if (words := self._words(x.shape[0], text, context, context_mask)) is not None:
            assert self.pooled is not None and self.sketch is not None
            emb = emb + self.pooled(words.vectors[:, 0])
            beside = self.sketch.joined(*words, (h.shape[-2] // self.patch, h.shape[-1] // self.patch))
        if self.known is not None:
            if seen is None:
                seen = x.new_zeros(len(x), self.known.in_channels // self.patch**2, height, width)
            known = self.known(F.pixel_unshuffle(pad_to_multiple(seen, self.multiple)[0], self.patch))
            beside = known if beside is None else beside + known
        emb = F.silu(emb)
        skips: list[Tensor] = []
        for level in self.down:
            skips += level(h, emb, words, beside)
            h, beside = skips[-1], None
        for stage in self.middle:
            h = stage(h, emb, words)
        for level in self.up:
            h = level(h, emb, skips, words)
        return h[..., top : top + height, left : left + width]

    def _words(
        self, n: int, text: Tensor | None, context: Tensor | None, context_mask: Tensor | None
    ) -> Words | None:
        """What the text of n rows says, or None where the network knows no texts."""
        if text is not None and self.encoder is None:
            raise ValueError(
                "this network takes no words: leave the text out, or build it with words=V, length=L"
            )
        if context is not None and self.context is None:
            raise ValueError("this network takes no context: leave it out, or build it with context=D")
        if self.encoder is not None:
            return Words(*self.encoder(self.encoder.nothing(n) if text is None else text))
        return None if self.context is None else Words(*self.context(context, context_mask, n))

    def sketched(
        self,
        x0: Tensor,
        text: Tensor | None = None,
        context: Tensor | None = None,
        context_mask: Tensor | None = None,
        **_: Tensor,
    ) -> Tensor:
        """How far the sketches of texts are from things x0 (B, channels, ...): (B,), see `Sketch`; of a network that knows texts."""
        words = self._words(len(x0), text, context, context_mask)
        assert words is not None and self.sketch is not None
        return self.sketch.loss(x0, *words)
