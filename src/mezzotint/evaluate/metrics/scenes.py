"""Does a picture show the scene that its caption says? Decided by its pixels, without any learned model.

A picture is taken apart into connected pieces, each piece is named as the drawn shape that it is most like (see
`data.scenes`), and the names are held against the meaning of the caption.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.scenes import (
    BACKGROUND,
    COLOURS,
    SHAPES,
    SIDE,
    SIZES,
    Meaning,
    Placed,
    Thing,
    coverage,
    holds,
    meaning_of,
)
from mezzotint.evaluate.metrics.share import Share

CONTRAST = 60  # grey levels from the background, in any channel, that make a pixel a part of something
SMALLEST = 8  # pixels of a piece; smaller ones are specks
LIKENESS = 0.75  # soft intersection over union, of a piece and a drawn shape, below which it is no object
FITS = 1  # pixels that the edges of a shape may lie off those of a piece


@dataclass(frozen=True)
class Verdict:
    """What one picture shows, and whether it is what was asked: objects, and pieces that are none.

    valid: nothing on it is no object. count: as many objects as asked. attributes: things of the colour, shape and size that were asked,
    each by an object of its own. relation: they lie as asked; None where nothing is. surplus: more objects than asked. all: all of it.
    """

    objects: tuple[Placed, ...]
    odd: int
    valid: bool
    count: bool
    attributes: bool
    relation: bool | None
    surplus: bool
    all: bool


def judge(pictures: Tensor, captions: Iterable[str | Meaning]) -> list[Verdict]:
    """pictures: uint8 (N, 3, 32, 32), as samples of a model come; captions: of each, or their meanings.

    Raises ValueError for pictures of another shape, for captions that are not those of scenes, and for unequal numbers.
    """
    if pictures.dtype != torch.uint8 or pictures.shape[1:] != (3, SIDE, SIDE):
        raise ValueError(
            f"scenes are uint8 (N, 3, {SIDE}, {SIDE}), not {pictures.dtype} {tuple(pictures.shape)}"
        )
    meanings = [meaning_of(caption) if isinstance(caption, str) else caption for caption in captions]
    if len(meanings) != len(pictures):
        raise ValueError(f"{len(pictures)} pictures and {len(meanings)} captions; give one for each")
    pieces = _pieces(pictures)
    return [
        verdict_of(_named(picture, piece), meaning)
        for picture, piece, meaning in zip(pictures.numpy(), pieces.numpy(), meanings)
    ]


def shares(verdicts: Sequence[Verdict]) -> dict[str, Share]:
    """The share of pictures that each point of a verdict holds for, with Wilson's interval; relation where one was asked."""
    found = {
        name: [getattr(verdict, name) for verdict in verdicts]
        for name in ("all", "valid", "count", "attributes", "relation", "surplus")
    }
    asked = {name: [hit for hit in hits if hit is not None] for name, hits in found.items()}
    return {name: Share.of(sum(hits), len(hits)) for name, hits in asked.items() if hits}


# --- from pixels to objects ------------------------------------------------------------------------------


def _pieces(pictures: Tensor) -> Tensor:
    """A number for each pixel (N, 32, 32) int64: 0 for the background, the same one for pixels that hang together
    (by their sides)."""
    background = torch.tensor(BACKGROUND)[:, None, None]
    seen = (pictures.int() - background).abs().amax(1) > CONTRAST
    number = torch.where(seen, torch.arange(1, SIDE * SIDE + 1).reshape(SIDE, SIDE), 0)
    while True:  # the largest number of a piece spreads over it
        spread = torch.nn.functional.pad(number, (1, 1, 1, 1))
        sides = (spread[:, 1:-1, :-2], spread[:, 1:-1, 2:], spread[:, :-2, 1:-1], spread[:, 2:, 1:-1])
        largest = torch.where(seen, torch.stack([number, *sides]).amax(0), 0)
        if largest.equal(number):
            return number
        number = largest


def _named(picture: np.ndarray, pieces: np.ndarray) -> list[Placed | None]:
    """The objects of one picture (3, 32, 32), None for a piece that is none."""
    away = picture.astype(float) - np.array(BACKGROUND, float)[:, None, None]
    numbers, sizes = np.unique(pieces[pieces > 0], return_counts=True)
    return [_name(away, pieces == number) for number in numbers[sizes >= SMALLEST]]


_PALETTE = np.array(list(COLOURS.values()), float) - np.array(
    BACKGROUND, float
)  # (8, 3), from the background
_SHAPES = [(shape, size, coverage(shape, SIZES[size])) for shape in SHAPES for size in SIZES]


def _name(away: np.ndarray, piece: np.ndarray) -> Placed | None:
    """away: (3, 32, 32) from the background; piece: bool (32, 32)."""
    pixels = away[:, piece].T
    nearest = ((pixels[:, None] - _PALETTE) ** 2).sum(-1).argmin(1)
    colour = np.bincount(nearest, minlength=len(COLOURS)).argmax()
    ray = _PALETTE[colour]
    share = np.clip(np.tensordot(ray, away, 1) / (ray @ ray), 0, 1)
    share = np.where(_grown(piece), share, 0)
    rows, columns = np.nonzero(piece.any(1))[0], np.nonzero(piece.any(0))[0]
    (top, bottom), (left, right) = (rows[0], rows[-1] + 1), (columns[0], columns[-1] + 1)
    total = share.sum()
    best: tuple[float, Placed | None] = (LIKENESS, None)
    for shape, size, drawn in _SHAPES:
        side = len(drawn)
        for y in range(
            max(top - FITS, bottom - FITS - side, 0), min(top + FITS, bottom + FITS - side, SIDE - side) + 1
        ):
            for x in range(
                max(left - FITS, right - FITS - side, 0),
                min(left + FITS, right + FITS - side, SIDE - side) + 1,
            ):
                common = np.minimum(share[y : y + side, x : x + side], drawn).sum()
                likeness = common / (total + drawn.sum() - common)
                if likeness >= best[0]:
                    best = (likeness, Placed(Thing(tuple(COLOURS)[colour], shape, size), int(x), int(y)))
    return best[1]


def _grown(piece: np.ndarray) -> np.ndarray:
    """A piece and its border of one pixel."""
    wide = np.pad(piece, 1)
    return np.logical_or.reduce([wide[y : y + SIDE, x : x + SIDE] for y in range(3) for x in range(3)])


# --- from objects to a verdict ---------------------------------------------------------------------------


def verdict_of(named: Sequence[Placed | None], meaning: Meaning) -> Verdict:
    """named: of each piece of a picture, the object that it is, None for none."""
    objects = tuple(thing for thing in named if thing is not None)
    wanted = meaning.things * meaning.count
    casts = [cast for cast in permutations(objects, len(wanted)) if all(map(_is, cast, wanted))]
    related = None if meaning.relation is None else any(holds(meaning.relation, *cast) for cast in casts)
    odd = len(named) - len(objects)
    surplus = meaning.whole and len(objects) > len(wanted)
    counted = len(objects) == len(wanted) if meaning.whole else len(objects) >= len(wanted)
    right = not odd and counted and bool(casts) and related is not False
    return Verdict(objects, odd, not odd, counted, bool(casts), related, surplus, right)


def _is(found: Placed, wanted: Thing) -> bool:
    thing = found.thing
    return (thing.colour, thing.shape) == (wanted.colour, wanted.shape) and wanted.size in (None, thing.size)
