"""Scenes by another renderer than the package's own."""

import numpy as np
from PIL import Image, ImageDraw

from mezzotint.data.scenes import BACKGROUND, COLOURS, SIDE, SIZES, Placed


def painted(placed: tuple[Placed, ...], fine: int = 16) -> np.ndarray:
    """The same scene by another renderer: Pillow, `fine` times as large, and averaged down. uint8 (3, 32, 32)."""
    image = Image.new("RGB", (SIDE * fine, SIDE * fine), BACKGROUND)
    pen = ImageDraw.Draw(image)
    for thing, left, top in placed:
        side, colour = SIZES[thing.size or ""] * fine, COLOURS[thing.colour]
        x, y = left * fine, top * fine
        box = (x, y, x + side - 1, y + side - 1)
        match thing.shape:
            case "circle":
                pen.ellipse(box, colour)
            case "square":
                pen.rectangle(box, colour)
            case "triangle":
                pen.polygon([(x + side / 2, y), (x, y + side - 1), (x + side - 1, y + side - 1)], colour)
            case "cross":
                third = side / 3
                pen.rectangle((x + third, y, x + 2 * third - 1, y + side - 1), colour)
                pen.rectangle((x, y + third, x + side - 1, y + 2 * third - 1), colour)
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)
    return np.asarray(small).transpose(2, 0, 1)
