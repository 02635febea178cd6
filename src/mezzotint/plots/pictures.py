"""Sheets and strips of samples. Pictures come in as uint8 tensors and go out as PIL images."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from mezzotint.plots.style import INK

MIN_SIDE_PIXELS = 64  # smaller pictures are enlarged for the eye


def picture(image: Tensor) -> Image.Image:
    """One picture (C, H, W) uint8, grey or RGB, at its own size."""
    return _image(_pixels(image[None])[0])


def sheet(
    images: Tensor,
    *,
    columns: int | None = None,
    gap: int = 2,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
    row_labels: Sequence[str] | None = None,
) -> Image.Image:
    """Pictures (N, C, H, W) uint8 in a grid, row by row, on white.

    `columns`: as many as make the sheet about square, where not given. `gap`: pixels between and around the pictures.
    `scale`: whole-number nearest-neighbour enlargement; by default pictures below 64 pixels come close to that size,
    larger ones keep theirs. `captions`: one above each column. `row_labels`: one to the left of each row.
    """
    pixels = _pixels(images)
    n, height, width = pixels.shape[:3]
    if columns is None:
        columns = math.ceil(math.sqrt(n * height / width))
    if columns < 1 or gap < 0 or (scale is not None and scale < 1):
        raise ValueError("a sheet needs columns >= 1, gap >= 0 and scale >= 1")
    columns = min(columns, n)
    rows = math.ceil(n / columns)
    for labels, expected, kind in ((captions, columns, "captions"), (row_labels, rows, "row labels")):
        if labels is not None and len(labels) != expected:
            raise ValueError(f"{len(labels)} {kind} for {expected}: give one for each")
    scale = scale or max(1, round(MIN_SIDE_PIXELS / max(height, width)))
    pixels = pixels.repeat(scale, axis=1).repeat(scale, axis=2)
    height, width = height * scale, width * scale

    font = _font(13) if captions or row_labels else None
    left = top = gap
    cell = width
    if font and row_labels:
        left += math.ceil(max(font.getlength(label) for label in row_labels)) + 8
    if font and captions:  # a caption wider than its picture spreads the columns
        top += 20
        cell = max(width, math.ceil(max(font.getlength(label) for label in captions)) + 6)
    paper = np.full(
        (top + rows * (height + gap), left + columns * (cell + gap), pixels.shape[3]), 255, np.uint8
    )
    for i, tile in enumerate(pixels):
        y = top + i // columns * (height + gap)
        x = left + i % columns * (cell + gap) + (cell - width) // 2
        paper[y : y + height, x : x + width] = tile
    image = _image(paper)
    pen = ImageDraw.Draw(image)
    for i, label in enumerate(captions or ()):
        pen.text((left + i * (cell + gap) + cell / 2, gap + 10), label, INK, font, anchor="mm")
    for i, label in enumerate(row_labels or ()):
        pen.text((left - 6, top + i * (height + gap) + height / 2), label, INK, font, anchor="rm")
    return image


MIN_CAPTIONED_PIXELS = 120  # of a picture's side with a text under it
LINE_PIXELS, MAX_LINES = 13, 4  # of such a text


def captioned(images: Tensor, texts: Sequence[str], columns: int | None = None, gap: int = 8) -> Image.Image:
    """Pictures (N, C, H, W) uint8 in a grid, each with its text (N) under it, in a few lines."""
    pixels = _pixels(images)
    if len(texts) != len(pixels):
        raise ValueError(f"{len(texts)} texts for {len(pixels)} pictures: give one for each")
    height, width = pixels.shape[1:3]
    scale = max(1, round(MIN_CAPTIONED_PIXELS / max(height, width)))
    columns = min(columns or max(1, min(8, math.ceil(math.sqrt(len(pixels))))), len(pixels))
    font = _font(10)
    letters = max(8, int(width * scale / font.getlength("n")))
    lines = [textwrap.wrap(text, letters)[:MAX_LINES] for text in texts]
    below = LINE_PIXELS * max([1, *map(len, lines)])
    cell = (width * scale + gap, height * scale + below + gap)
    size = (gap + columns * cell[0], gap + -(-len(pixels) // columns) * cell[1])
    paper = Image.new("L" if pixels.shape[3] == 1 else "RGB", size, "white")
    pen = ImageDraw.Draw(paper)
    for i, (tile, text) in enumerate(zip(pixels, lines)):
        x, y = gap + i % columns * cell[0], gap + i // columns * cell[1]
        paper.paste(_image(tile.repeat(scale, axis=0).repeat(scale, axis=1)), (x, y))
        for k, line in enumerate(text):
            at = (x + width * scale / 2, y + height * scale + LINE_PIXELS * (k + 0.5))
            pen.text(at, line, INK, font, anchor="mm")
    return paper


def strip(frames: Tensor, captions: Sequence[str]) -> Image.Image:
    """The same pictures at several times, frames (T, N, C, H, W) uint8: a row for each picture, a column for each time."""
    if frames.ndim != 5 or len(frames) != len(captions):
        raise ValueError(
            f"a strip takes frames (T, N, C, H, W) and T captions, not {tuple(frames.shape)} and {len(captions)}"
        )
    return sheet(frames.transpose(0, 1).flatten(0, 1), columns=len(frames), captions=captions)


def _pixels(images: Tensor) -> np.ndarray:
    """(N, C, H, W) uint8 tensor to an (N, H, W, C) array."""
    if images.ndim != 4 or images.dtype != torch.uint8 or images.shape[1] not in (1, 3):
        description = f"{tuple(images.shape)} {str(images.dtype).removeprefix('torch.')}"
        raise ValueError(f"pictures are (N, C, H, W) uint8 with C = 1 (grey) or 3 (RGB), not {description}")
    if not images.numel():
        raise ValueError("there are no pictures to draw")
    return images.permute(0, 2, 3, 1).cpu().numpy()


def _image(pixels: np.ndarray) -> Image.Image:
    """(H, W, 1 or 3) uint8 to an image."""
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels))


def _font(size: int) -> ImageFont.FreeTypeFont:
    """The face of the charts, so that every picture is lettered alike."""
    import matplotlib

    return ImageFont.truetype(str(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf")), size)
