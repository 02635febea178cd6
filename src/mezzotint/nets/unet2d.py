"""The U-Net of published models: the blocks of diffusers' UNet2DModel, by the names that its files have for weights.

It differs from `unet` in what such files choose: one number of groups for all norms, attention chosen apart on the way down,
in the middle and up, a noise level that is added (DDPM, Ho et al. 2020) or scales and shifts (ADM, Dhariwal & Nichol 2021).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.nets.attention import softmax_attention
from mezzotint.nets.parts import pad_to_multiple, zero_init
from mezzotint.nets.published import Doubling, Halving

Time = Literal["cos_sin", "sin_cos", "table"]
Modulation = Literal["shift", "scale_shift"]


class TimeEmbedding(nn.Module):
    """Two linear layers of what stands for the noise level."""

    def __init__(self, width: int, emb: int) -> None:
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(width, emb), nn.Linear(emb, emb)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(x)))


def waves(t: Tensor, width: int, shift: float) -> tuple[Tensor, Tensor]:
    """Cosines and sines (B, width // 2) of t (B,) at frequencies from 1 down to 1 / 10,000, which the last one meets where shift is
    1, as in the code of DDPM, and not quite where it is 0. float32."""
    half = width // 2
    exponents = torch.arange(half, dtype=torch.float32, device=t.device) / (half - shift)
    angles = t.float()[:, None] * torch.exp(-math.log(10_000) * exponents)
    return angles.cos(), angles.sin()


class Resnet(nn.Module):
    """Norm, SiLU, convolution, twice, beside a skip. Between them the noise level is added, "shift", or scales and shifts what
    the second norm gives, "scale_shift". Starts as the skip alone."""

    def __init__(
        self, channels_in: int, channels: int, emb: int, groups: int, eps: float, dropout: float, scaled: bool
    ) -> None:
        super().__init__()
        self.scaled = scaled
        self.norm1, self.norm2 = (nn.GroupNorm(groups, c, eps=eps) for c in (channels_in, channels))
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.time_emb_proj = nn.Linear(emb, (2 if scaled else 1) * channels)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = zero_init(nn.Conv2d(channels, channels, 3, padding=1))
        if channels_in != channels:
            self.conv_shortcut = nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h, told = self.conv1(F.silu(self.norm1(x))), self.time_emb_proj(emb)[:, :, None, None]
        if self.scaled:
            scale, shift = told.chunk(2, dim=1)
            h = self.norm2(h) * (1 + scale) + shift
        else:
            h = self.norm2(h + told)
        h = self.conv2(self.dropout(F.silu(h)))
        return h + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Attention(nn.Module):
    """x plus multi-head self-attention over its positions. groups: of its norm, None for none. Starts as x alone."""

    def __init__(self, channels: int, head_channels: int | None, groups: int | None, eps: float) -> None:
        super().__init__()
        self.head_channels = head_channels or channels
        if channels % self.head_channels:
            raise ValueError(
                f"attention on {channels} channels: head_channels={head_channels} must divide them"
            )
        self.group_norm = nn.GroupNorm(groups, channels, eps=eps) if groups else nn.Identity()
        self.to_q, self.to_k, self.to_v = (nn.Linear(channels, channels) for _ in range(3))
        self.to_out = nn.ModuleList([zero_init(nn.Linear(channels, channels))])

    def forward(self, x: Tensor) -> Tensor:
        h = self.group_norm(x).flatten(2).mT  # (B, positions, channels)
        q, k, v = (
            to(h).unflatten(-1, (-1, self.head_channels)).transpose(1, 2)
            for to in (self.to_q, self.to_k, self.to_v)
        )
        h = softmax_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.to_out[0](h).mT.reshape(x.shape)


class Level(nn.Module):
    """Blocks of one size, each followed by attention if any is."""

    def __init__(self, resnets: Iterable[Resnet], attentions: Sequence[Attention]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        if attentions:
            self.attentions = nn.ModuleList(attentions)

    def stage(self, i: int, x: Tensor, emb: Tensor) -> Tensor:
        x = self.resnets[i](x, emb)
        return self.attentions[i](x) if hasattr(self, "attentions") else x


class DownLevel(Level):
    """On the way down: every output, that of `half` included, which leads to the next size, is a skip."""

    def __init__(
        self, resnets: Iterable[Resnet], attentions: Sequence[Attention], half: nn.Module | None
    ) -> None:
        super().__init__(resnets, attentions)
        if half is not None:
            self.downsamplers = nn.ModuleList([half])

    def forward(self, x: Tensor, emb: Tensor) -> list[Tensor]:
        outputs = []
        for i in range(len(self.resnets)):
            x = self.stage(i, x, emb)
            outputs.append(x)
        return [*outputs, self.downsamplers[0](x)] if hasattr(self, "downsamplers") else outputs


class UpLevel(Level):
    """On the way up: each block takes the last of the skips; `twice` leads to the next size."""

    def __init__(
        self, resnets: Iterable[Resnet], attentions: Sequence[Attention], twice: nn.Module | None
    ) -> None:
        super().__init__(resnets, attentions)
        if twice is not None:
            self.upsamplers = nn.ModuleList([twice])

    def forward(self, x: Tensor, emb: Tensor, skips: list[Tensor]) -> Tensor:
        for i in range(len(self.resnets)):
            x = self.stage(i, torch.cat([x, skips.pop()], dim=1), emb)
        return self.upsamplers[0](x) if hasattr(self, "upsamplers") else x


class Middle(nn.Module):
    """A block, attention if there is any, a block."""

    def __init__(self, resnets: Iterable[Resnet], attention: Attention | None) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList([] if attention is None else [attention])

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        x = self.resnets[0](x, emb)
        for attention in self.attentions:
            x = attention(x)
        return self.resnets[1](x, emb)


class Strided(nn.Module):
    """Half the size, padded evenly; `Halving` pads at the right and below."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class UNet2D(nn.Module):
    """Pictures (B, channels, H, W) of any size in, the same shape out. The output starts at zero.

    widths: channels of the levels, each of half the size of the one before. blocks: of each level on the way down; one more
    on the way up. attention_down, attention_up: the downsampling factors 1, 2, 4, ... whose blocks are followed by attention;
    attention_middle: whether that in the middle is. head_channels: of an attention head; None for one head.
    groups, eps: of all norms; middle_groups: of the one before attention in the middle, None for none there.
    modulation: how blocks are told the level, see `Resnet`. padding: 1 for even padding before the size is halved, 0 for the
    right and below alone.
    time: what stands for the level c_noise: `waves`, cosines or sines first, with time_shift; or a learned table of `timesteps`
    rows, where a level between two is read as the nearer. time_width: numbers of the vector that blocks are told.
    classes: number of classes K, 0 for none. Their table has K + 1 rows, the last of which is "no class".
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int] = (64, 128, 128),
        blocks: int = 2,
        attention_down: Sequence[int] = (),
        attention_up: Sequence[int] = (),
        attention_middle: bool = True,
        head_channels: int | None = None,
        groups: int = 32,
        middle_groups: int | None = 32,
        eps: float = 1e-5,
        modulation: Modulation = "shift",
        dropout: float = 0.0,
        padding: Literal[0, 1] = 1,
        time: Time = "cos_sin",
        time_shift: float = 0.0,
        time_width: int | None = None,
        timesteps: int = 1000,
        classes: int = 0,
    ) -> None:
        super().__init__()
        self.options: dict[str, Any] = {
            "widths": list(widths),
            "blocks": blocks,
            "attention_down": list(attention_down),
            "attention_up": list(attention_up),
            "attention_middle": attention_middle,
            "head_channels": head_channels,
            "groups": groups,
            "middle_groups": middle_groups,
            "eps": eps,
            "modulation": modulation,
            "dropout": dropout,
            "padding": padding,
            "time": time,
            "time_shift": time_shift,
            "time_width": time_width,
            "timesteps": timesteps,
        }
        factors = [2**i for i in range(len(widths))]
        if unknown := sorted({*attention_down, *attention_up} - set(factors)):
            raise ValueError(f"attention at {unknown}, but the levels of this network have factors {factors}")
        if wrong := [wide for wide in widths if wide % groups]:
            raise ValueError(f"{groups} groups do not divide {wrong[0]} channels; use other groups or widths")
        if time != "table" and widths[0] // 2 <= time_shift:
            raise ValueError(
                f"widths[0]={widths[0]} leaves no frequencies for the noise level; use more channels"
            )
        first, emb = widths[0], time_width or 4 * widths[0]
        self.time, self.time_shift, self.classes, self.multiple = time, time_shift, classes, factors[-1]

        def block(channels_in: int, channels_out: int) -> Resnet:
            scaled = modulation == "scale_shift"
            return Resnet(channels_in, channels_out, emb, groups, eps, dropout, scaled)

        def attend(wide: int, wanted: bool, groups: int | None = groups, count: int = 1) -> list[Attention]:
            return [Attention(wide, head_channels, groups, eps) for _ in range(count * wanted)]

        self.conv_in = nn.Conv2d(channels, first, 3, padding=1)
        if time == "table":
            self.time_proj = nn.Embedding(timesteps, first)
        self.time_embedding = TimeEmbedding(first, emb)
        if classes:
            self.class_embedding = nn.Embedding(classes + 1, emb)
        self.down_blocks, self.up_blocks = nn.ModuleList(), nn.ModuleList()
        skips, inside = [first], first  # the channels of each, and of what is carried
        for wide, factor in zip(widths, factors):
            resnets = [block(wide if i else inside, wide) for i in range(blocks)]
            last = factor == factors[-1]
            half = None if last else Strided(wide) if padding else Halving(wide)
            self.down_blocks.append(
                DownLevel(resnets, attend(wide, factor in attention_down, count=blocks), half)
            )
            skips += [wide] * (blocks if last else blocks + 1)
            inside = wide
        middle = attend(inside, attention_middle, middle_groups)
        self.mid_block = Middle([block(inside, inside) for _ in range(2)], middle[0] if middle else None)
        for wide, factor in zip(reversed(widths), reversed(factors)):
            resnets = [block((wide if i else inside) + skips.pop(), wide) for i in range(blocks + 1)]
            attentions = attend(wide, factor in attention_up, count=blocks + 1)
            self.up_blocks.append(UpLevel(resnets, attentions, Doubling(wide) if factor > 1 else None))
            inside = wide
        self.conv_norm_out = nn.GroupNorm(groups, first, eps=eps)
        self.conv_out = zero_init(nn.Conv2d(first, channels, 3, padding=1))

    def _told(self, c_noise: Tensor, label: Tensor | None) -> Tensor:
        """What all blocks are told, (B, time_width)."""
        if self.time == "table":
            row = c_noise.round().long().clamp(0, self.time_proj.num_embeddings - 1)
            told = self.time_proj(row)
        else:
            cos, sin = waves(c_noise, self.conv_in.out_channels, self.time_shift)
            told = torch.cat([cos, sin] if self.time == "cos_sin" else [sin, cos], dim=1)
            told = F.pad(told, (0, self.conv_in.out_channels % 2))
        emb = self.time_embedding(told.to(self.conv_in.weight.dtype))
        if not self.classes:
            if label is not None:
                raise ValueError(
                    "this network has no classes: leave the label out, or build it with classes=K"
                )
            return emb
        if label is None:
            label = torch.full(c_noise.shape, self.classes, device=c_noise.device)
        table = self.class_embedding.weight  # by a product, whose gradient repeats: see `Conditioning`
        return emb + F.one_hot(label, self.classes + 1).to(table.dtype) @ table

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        """x (B, channels, H, W), c_noise (B,), label (B,) int64 in 0..K or None -> (B, channels, H, W)."""
        height, width = x.shape[-2:]
        h, top, left = pad_to_multiple(x, self.multiple)
        emb = F.silu(self._told(c_noise, label))
        h = self.conv_in(h)
        skips = [h]
        for level in self.down_blocks:
            skips += level(h, emb)
            h = skips[-1]
        h = self.mid_block(h, emb)
        for level in self.up_blocks:
            h = level(h, emb, skips)
        h = self.conv_out(F.silu(self.conv_norm_out(h)))
        return h[..., top : top + height, left : left + width]
