"""The full U-Net, `nets.unet.UNet`, as a UNet2DModel that computes the same at every whole timestep.

Blocks, skips and attention are the same in both; weights go over by name. Two things differ. Norms: theirs have one number of
groups, ours as many as suit the channels, which are alike (32) where the width is a multiple of 128. And the noise level: our
sinusoid has 4 x width numbers, theirs width; but a UNet2DModel may learn a table, of a row for each of its T timesteps, and two
linear layers with SiLU between them look any vector up by such a row, see `looked_up`.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.errors import ConfigError
from mezzotint.nets.attention import Attention
from mezzotint.nets.embed import sinusoidal
from mezzotint.nets.unet import ResidualBlock, Stage, UNet

Pairs = Iterator[tuple[str, Tensor]]  # names in a UNet2DModel and their tensors
LARGE = 128.0  # silu(128) is 128 and silu(-128) is 0, to the last bit of float32


def as_unet2d(net: UNet, steps: int) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The keys of `config.UNet2D` and the weights of such a network, which answers as `net` does at c_noise = 0, 1, ..., steps - 1.

    Raises ConfigError, naming the key, for a network that has no counterpart.
    """
    options = net.options
    _check(net)
    groups = {module.num_groups for module in net.modules() if isinstance(module, nn.GroupNorm)}
    if len(groups) > 1:
        raise ConfigError(
            f"network.width {options['width']} has no counterpart in UNet2DModel: its norms have {_listed(groups)} groups, and all "
            "there have the same; train with network.kind=unet2d, or a width that is a multiple of 128"
        )
    widths = [options["width"] * multiplier for multiplier in options["multipliers"]]
    (number,), heads = groups, _heads(net)
    attention = sorted(options["attention"])
    emb = max(4 * options["width"], steps)
    words = {
        "kind": "unet2d",
        "widths": widths,
        "blocks": options["blocks"],
        "attention_down": attention,
        "attention_up": attention,
        "attention_middle": 2 ** (len(widths) - 1) in attention,
        "head_channels": heads,
        "groups": number,
        "middle_groups": number,
        "eps": 1e-5,
        "modulation": "scale_shift",
        "dropout": options["dropout"],
        "time": "table",
        "time_width": emb,
        "timesteps": steps,
    }
    return words, {name: tensor.detach().cpu().float() for name, tensor in _weights(net, emb, steps)}


def _listed(groups: set[int]) -> str:
    *most, last = map(str, sorted(groups))
    return f"{', '.join(most)} and {last}"


def _check(net: UNet) -> None:
    """Raises ConfigError for what a UNet2DModel has not at all."""
    parts = {
        "network.patch": net.options["patch"] > 1,
        "network.linear_attention": net.options["linear_attention"],
        "data.captions": net.encoder is not None,
        "data.encoder": net.context is not None,
        "data.enlarge": net.shown > 0,
        "objective": net.conditioning.span is not None,
    }
    if there := [key for key, is_there in parts.items() if is_there]:
        raise ConfigError(f"{there[0]}: UNet2DModel has no counterpart; train without it")


def _heads(net: UNet) -> int | None:
    """Channels of every head, or None where each attention has one head."""
    layers = [module for module in net.modules() if isinstance(module, Attention)]
    if all(layer.head_channels == layer.qkv.in_channels for layer in layers):
        return None
    if len(sizes := {layer.head_channels for layer in layers}) > 1:
        raise ConfigError(
            f"network.head_channels {net.options['head_channels']} has no counterpart in UNet2DModel: its heads have {_listed(sizes)} "
            "channels, and all there have the same"
        )
    return sizes.pop()


def looked_up(vectors: Tensor, width: int, hidden: int) -> dict[str, Tensor]:
    """A table (T, width) and two linear layers of `hidden` that give vectors (T, D) for 0 ... T - 1, to the bit in float32.

    Row t of the table is t in binary, as numbers -1 and 1, of which there are b. Unit u of the first layer is 128 times
    (its own number's row) . (row) - b + 1, which is 128 where both are the same and -128 or less elsewhere; SiLU keeps the former
    and makes 0 of the latter; and the second layer has the vector of u, over 128, for it.
    """
    steps, bits = len(vectors), max(1, math.ceil(math.log2(len(vectors))))
    if bits > width:
        raise ConfigError(
            f"network.width {width} is too small to tell {steps} timesteps apart; use more channels"
        )
    binary = 2.0 * (torch.arange(steps)[:, None] >> torch.arange(bits) & 1) - 1
    table, first, bias = torch.zeros(steps, width), torch.zeros(hidden, width), torch.zeros(hidden)
    table[:, :bits] = binary
    first[:steps, :bits], bias[:steps] = LARGE * binary, -LARGE * (bits - 1)
    second = torch.zeros(hidden, hidden)
    second[: vectors.shape[1], :steps] = vectors.T / LARGE
    return {
        "time_proj.weight": table,
        "time_embedding.linear_1.weight": first,
        "time_embedding.linear_1.bias": bias,
        "time_embedding.linear_2.weight": second,
        "time_embedding.linear_2.bias": torch.zeros(hidden),
    }


def _weights(net: UNet, emb: int, steps: int) -> Pairs:
    """Pairs of a UNet2DModel's names and tensors."""
    told = net.conditioning
    with torch.no_grad():
        numbers = torch.arange(steps, dtype=torch.float32, device=told.inner.weight.device)
        vectors = told.outer(F.silu(told.inner(sinusoidal(numbers, told.dim)))).cpu()
    if told.table is not None:
        yield "class_embedding.weight", _padded(told.table, emb)
    yield from looked_up(vectors, net.options["width"], emb).items()

    down: Any = net.down
    up: Any = net.up
    yield from _named("conv_in", down[0].enter[1])
    for i, level in enumerate(down):
        yield from _stages(f"down_blocks.{i}", level.stages, emb)
        if i:
            yield from _named(f"down_blocks.{i - 1}.downsamplers.0.conv", level.enter)
    yield from _stages("mid_block", net.middle, emb)
    for i, level in enumerate(up):
        yield from _stages(f"up_blocks.{i}", level.stages, emb)
        if i < len(up) - 1:
            yield from _named(f"up_blocks.{i}.upsamplers.0.conv", level.leave[1])
    norm, _, last, _ = up[-1].leave
    yield from _named("conv_norm_out", norm)
    yield from _named("conv_out", last)


def _named(name: str, layer: nn.Module) -> Pairs:
    return ((f"{name}.{end}", tensor) for end, tensor in layer.state_dict().items())


def _padded(matrix: Tensor, width: int) -> Tensor:
    return F.pad(matrix, (0, width - matrix.shape[1]))


def _stages(name: str, stages: Iterable[Any], emb: int) -> Pairs:
    for j, stage in enumerate(stages):
        assert isinstance(stage, Stage)
        yield from _block(f"{name}.resnets.{j}", stage.block, emb)
        if isinstance(stage.attention, Attention):
            yield from _attend(f"{name}.attentions.{j}", stage.attention)


def _block(name: str, block: ResidualBlock, emb: int) -> Pairs:
    for theirs, layer in (
        ("norm1", block.norm1),
        ("conv1", block.conv1),
        ("norm2", block.norm2),
        ("conv2", block.conv2),
        ("conv_shortcut", block.skip),
    ):
        yield from _named(f"{name}.{theirs}", layer)
    yield f"{name}.time_emb_proj.weight", _padded(block.modulate.weight, emb)
    yield f"{name}.time_emb_proj.bias", block.modulate.bias


def _attend(name: str, layer: Attention) -> Pairs:
    yield from _named(f"{name}.group_norm", layer.norm)
    for end in ("weight", "bias"):
        for letter, part in zip("qkv", getattr(layer.qkv, end).chunk(3)):
            yield f"{name}.to_{letter}.{end}", part.flatten(1) if end == "weight" else part
        out = getattr(layer.out, end)
        yield f"{name}.to_out.0.{end}", out.flatten(1) if end == "weight" else out
