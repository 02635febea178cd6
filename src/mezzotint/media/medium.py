"""The table of media: pictures, points, clips. Its columns are all that differs between them for the other parts."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from torch import Tensor

from mezzotint.media import clips, pictures, points
from mezzotint.media.codec import AsTheyAre, Bytes, Codec


class Medium(NamedTuple):
    """One kind of thing. Things come as (N, *shape) on the CPU, decoded: pictures uint8, points float32."""

    rank: int  # axes of one thing
    network: str  # the kind that it usually has, for a remedy
    batch: int  # things a network call
    half: bool  # whether bfloat16 is precise enough
    codec: Codec  # the usual one
    least: int  # fewer do not show what they are like
    words: Callable[[tuple[int, ...]], str]  # things of a shape, for people
    cells: Callable[[tuple[int, ...]], int]  # of one thing's shape: what limits of size count
    usual_sheet: Callable[
        [tuple[int, ...], int], tuple[int, int | None]
    ]  # shape, classes -> how many, columns
    sheet: Callable[
        ..., Image.Image
    ]  # (things, labels, columns, scale, captions, texts) -> all of them in one picture
    strip: Callable[
        ..., Image.Image
    ]  # (frames [(N, *shape)], captions, labels) -> the same things at several times
    pair: Callable[[Tensor, Tensor], Tensor]  # state and belief of a time -> what a strip shows of it
    arrays: Callable[[Tensor], np.ndarray]  # as npz files keep them
    item: Callable[[Tensor], Any]  # one thing, as a sequence of samples gives it
    table: Callable[[Tensor], str] | None = None  # CSV of all; None where each has a picture of its own
    play: Callable[[Tensor], list[Tensor]] | None = None  # to pictures at each time; None where nothing moves


MEDIA: dict[str, Medium] = {
    "points": Medium(
        rank=1,
        network="mlp",
        batch=4096,
        half=False,
        codec=AsTheyAre(),
        least=2000,
        words=lambda shape: "points",
        cells=lambda shape: 1,
        usual_sheet=lambda shape, classes: (2000, None),
        sheet=points.sheet,
        strip=points.strip,
        pair=lambda state, belief: state,
        arrays=lambda things: things.numpy(),
        item=lambda thing: thing,
        table=points.table,
    ),
    "pictures": Medium(
        rank=3,
        network="unet",
        batch=64,
        half=True,
        codec=Bytes(),
        least=1,
        words=pictures.words,
        cells=lambda shape: shape[1] * shape[2],
        usual_sheet=pictures.usual_sheet,
        sheet=pictures.sheet,
        strip=pictures.strip,
        pair=pictures.pair,
        arrays=lambda things: things.numpy().transpose(0, 2, 3, 1),
        item=pictures.item,
    ),
    "clips": Medium(
        rank=4,
        network="unet",
        batch=8,
        half=True,
        codec=Bytes(),
        least=1,
        words=clips.words,
        cells=lambda shape: math.prod(shape[1:]),
        usual_sheet=clips.usual_sheet,
        sheet=clips.sheet,
        strip=clips.strip,
        pair=pictures.pair,
        arrays=lambda things: things.numpy().transpose(0, 2, 3, 4, 1),
        item=clips.item,
        play=clips.play,
    ),
}


def name_by_shape(shape: tuple[int, ...]) -> str:
    """The medium whose things have so many axes. Raises ValueError for a shape that none has."""
    names = [name for name, medium in MEDIA.items() if medium.rank == len(shape)]
    if len(names) != 1:
        raise ValueError(f"shape {shape} fits neither {' nor '.join(MEDIA)}; name the medium")
    return names[0]
