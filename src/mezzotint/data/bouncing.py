"""Clips of a digit that moves straight on and bounces off the walls, unlimited, with its place known at every time.

Clip i of a seed is a pure function of (seed, i) and of the digits: which one, where it begins, how fast it goes and which way. Between
pixels it is drawn by bilinear weights, which keep its centre of mass where it belongs (cf. Srivastava et al. 2015, "Moving MNIST",
whose digits jump by whole pixels). `evaluate.metrics.motion` holds made clips against this.
"""

from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import torch

SIDE = 32  # pixels of the canvas
FRAMES = 16
SLOW, FAST = 0.6, 2.4  # pixels a frame
INK = 32  # grey levels from which on a pixel belongs to a digit


@dataclass(frozen=True)
class Glyphs:
    """What bounces: pixels, each float32 (h, w) in 0..255, cut to its ink and smaller than the canvas; labels: int64 (N,)."""

    pixels: tuple[np.ndarray, ...]
    labels: np.ndarray
    classes: tuple[str, ...]

    @staticmethod
    def of(pictures: np.ndarray, labels: np.ndarray, classes: tuple[str, ...]) -> "Glyphs":
        """pictures: uint8 (N, H, W), bright on black. Those without ink, or larger than the canvas, are left out."""
        cut = [(_cut(picture), int(label)) for picture, label in zip(pictures, labels)]
        kept = [(one, label) for one, label in cut if one is not None and max(one.shape) <= SIDE]
        if not kept:
            raise ValueError(
                f"none of {len(pictures)} pictures shows bright ink on black and fits into {SIDE} pixels"
            )
        return Glyphs(tuple(one for one, _ in kept), np.array([label for _, label in kept]), classes)


class Clip(NamedTuple):
    pixels: np.ndarray  # uint8 (1, FRAMES, SIDE, SIDE)
    label: int
    path: np.ndarray  # float64 (FRAMES, 2): row and column of the upper left corner of the ink


@cache
def bundled() -> Glyphs:
    """The digits that come with the package, twice as large, so that it works offline."""
    from PIL import Image

    from mezzotint.data.images import load_pictures

    found = load_pictures("digits", None)
    everything = torch.arange(len(found))
    images = found.read(everything)[0][:, 0].numpy()
    large = [np.asarray(Image.fromarray(one).resize((16, 16), Image.Resampling.BICUBIC)) for one in images]
    assert found.labels is not None
    return Glyphs.of(np.stack(large), found.labels.numpy(), tuple(found.classes))


def clip(seed: int, i: int, glyphs: Glyphs) -> Clip:
    """Clip i of a seed."""
    rng = np.random.default_rng((seed, i))
    which = int(rng.integers(len(glyphs.pixels)))
    glyph = glyphs.pixels[which]
    room = np.array([SIDE - glyph.shape[0], SIDE - glyph.shape[1]], float)
    begin = rng.random(2) * room
    angle, speed = 2 * np.pi * rng.random(), SLOW + (FAST - SLOW) * rng.random()
    velocity = speed * np.array([np.sin(angle), np.cos(angle)])
    path = reflected(begin + np.arange(FRAMES)[:, None] * velocity, room)
    return Clip(np.stack([draw(glyph, at) for at in path])[None], int(glyphs.labels[which]), path)


def reflected(x: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Where something is that went straight to x, between walls at 0 and `room`: |x| folded at every multiple of the room."""
    folded = np.mod(x, np.maximum(2 * room, 1e-9))
    return np.where(room > 0, np.minimum(folded, 2 * room - folded), 0.0)


def draw(glyph: np.ndarray, at: np.ndarray) -> np.ndarray:
    """A glyph (h, w) with its corner at (row, column), not whole numbers: uint8 (SIDE, SIDE)."""
    canvas = np.zeros((SIDE + 1, SIDE + 1))  # a row and column more, of which nothing is seen
    row, column = np.floor(at).astype(int)
    down, right = at - (row, column)
    height, width = glyph.shape
    for y, weight_y in ((0, 1 - down), (1, down)):
        for x, weight_x in ((0, 1 - right), (1, right)):
            canvas[row + y : row + y + height, column + x : column + x + width] += weight_y * weight_x * glyph
    return canvas[:SIDE, :SIDE].round().astype(np.uint8)


def _cut(picture: np.ndarray) -> np.ndarray | None:
    """To its ink."""
    rows, columns = np.nonzero((picture >= INK).any(1))[0], np.nonzero((picture >= INK).any(0))[0]
    if not len(rows):
        return None
    return picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].astype(np.float32)
