"""A UNet2DModel's configuration in terms of ours, and back: every field of one is in the other, or has only one allowed value."""

from types import NoneType
from typing import Any

from mezzotint.config import UNet2D
from mezzotint.exchange.pipeline.fields import Fields

CLASS = "UNet2DModel"
DOWN, UP = ("DownBlock2D", "AttnDownBlock2D"), ("UpBlock2D", "AttnUpBlock2D")
MODULATIONS = {"default": "shift", "scale_shift": "scale_shift"}


def read_unet(fields: Fields) -> tuple[dict[str, Any], tuple[int, int, int], int | None]:
    """The keys of `config.UNet2D`, the shape (C, H, W) of pictures, and the number of rows of the table of classes, None for
    none. Raises ModelError, naming the field."""
    fields.only("_class_name", CLASS)
    widths = _counts(fields, "block_out_channels")
    channels = fields.count("in_channels")
    if channels not in (1, 3):
        fields.refuse("in_channels", channels, "pictures have 1 or 3 channels")
    fields.only("out_channels", channels)
    head = fields.take("attention_head_dim", (int, NoneType), 8)
    shift = fields.one_of("resnet_time_scale_shift", MODULATIONS, "default")
    groups = fields.count("norm_num_groups", 32)
    norm = fields.take("attn_norm_num_groups", (int, NoneType), None)
    words = {
        "kind": "unet2d",
        "widths": widths,
        "blocks": fields.count("layers_per_block", 2),
        "attention_down": _attention(fields, "down_block_types", DOWN, len(widths)),
        "attention_up": _attention(fields, "up_block_types", UP, len(widths)),
        "attention_middle": fields.take("add_attention", bool, True),
        "head_channels": head,
        "groups": groups,
        "middle_groups": norm or (groups if shift == "shift" else None),
        "eps": fields.take("norm_eps", float, 1e-5),
        "modulation": shift,
        "dropout": fields.take("dropout", float, 0.0),
        "padding": fields.take("downsample_padding", int, 1),
        **_time(fields),
    }
    fields.only("mid_block_type", "UNetMidBlock2D", default="UNetMidBlock2D")
    fields.only("mid_block_scale_factor", 1, default=1)
    fields.only("downsample_type", "conv", default="conv")
    fields.only("upsample_type", "conv", default="conv")
    fields.only("center_input_sample", False, default=False)
    fields.only("act_fn", "silu", "swish", default="silu")
    fields.only("class_embed_type", None, default=None)
    rows = fields.take("num_class_embeds", (int, NoneType), None)
    size = fields.take("sample_size", (int, list))
    sides = [size, size] if isinstance(size, int) else size
    if len(sides) != 2 or not all(type(side) is int and 1 <= side <= 4096 for side in sides):
        fields.refuse("sample_size", size, "one side or [height, width] of 1 to 4096 is wanted")
    multiple = 2 ** (len(widths) - 1)
    if any(side % multiple for side in sides):
        fields.refuse("sample_size", size, f"its {len(widths)} levels need multiples of {multiple}")
    fields.finish()
    return words, (channels, *sides), rows


def _counts(fields: Fields, name: str) -> list[int]:
    values = fields.take(name, list)
    if not values or not all(type(value) is int and value > 0 for value in values):
        fields.refuse(name, values, "a list of whole numbers is wanted")
    return list(values)


def _attention(fields: Fields, name: str, kinds: tuple[str, str], levels: int) -> list[int]:
    """The downsampling factors of the levels with attention, of the kinds of blocks of each."""
    blocks = fields.take(name, list)
    if len(blocks) != levels:
        fields.refuse(name, blocks, f"one block for each of {levels} block_out_channels is wanted")
    for block in blocks:
        if block not in kinds:
            fields.refuse(name, block, f"only {' or '.join(kinds)} can be read")
    order = blocks if kinds == DOWN else blocks[::-1]
    return [2**i for i, block in enumerate(order) if block == kinds[1]]


def _time(fields: Fields) -> dict[str, Any]:
    width = fields.take("time_embedding_dim", (int, NoneType), None)
    flip = fields.take("flip_sin_to_cos", bool, True)
    shift = fields.take("freq_shift", float, 0)
    kind = fields.one_of("time_embedding_type", {"positional": "waves", "learned": "table"}, "positional")
    if kind == "table":
        return {"time": kind, "time_width": width, "timesteps": fields.count("num_train_timesteps")}
    fields.unused("num_train_timesteps")  # of a table alone
    return {"time": "cos_sin" if flip else "sin_cos", "time_shift": shift, "time_width": width}


def written_unet(words: UNet2D, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """The inverse: the fields of a UNet2DModel for pictures (C, H, W), whose table of classes has a last row for none."""
    channels, height, width = shape
    factors = [2**i for i in range(len(words.widths))]
    plain = words.groups if words.modulation == "shift" else None
    return {
        "_class_name": CLASS,
        "sample_size": height if height == width else [height, width],
        "in_channels": channels,
        "out_channels": channels,
        "center_input_sample": False,
        "time_embedding_type": "learned" if words.time == "table" else "positional",
        "time_embedding_dim": words.time_width,
        "num_train_timesteps": words.timesteps if words.time == "table" else None,
        "freq_shift": words.time_shift,
        "flip_sin_to_cos": words.time != "sin_cos",
        "down_block_types": [DOWN[factor in words.attention_down] for factor in factors],
        "mid_block_type": "UNetMidBlock2D",
        "up_block_types": [UP[factor in words.attention_up] for factor in reversed(factors)],
        "block_out_channels": words.widths,
        "layers_per_block": words.blocks,
        "mid_block_scale_factor": 1,
        "downsample_padding": words.padding,
        "downsample_type": "conv",
        "upsample_type": "conv",
        "dropout": words.dropout,
        "act_fn": "silu",
        "attention_head_dim": words.head_channels,
        "norm_num_groups": words.groups,
        "attn_norm_num_groups": None if words.middle_groups == plain else words.middle_groups,
        "norm_eps": words.eps,
        "resnet_time_scale_shift": next(
            theirs for theirs, ours in MODULATIONS.items() if ours == words.modulation
        ),
        "add_attention": words.attention_middle,
        "class_embed_type": None,
        "num_class_embeds": classes + 1 if classes else None,
    }
