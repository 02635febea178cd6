"""Pictures: bytes to the model's range and back, augmentation on the device, and how they are shown.

Pure functions. The randomness of `augment` comes in as numbers, so that training can be repeated and resumed.
"""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from mezzotint import plots


def to_model(images: Tensor) -> Tensor:
    """Bytes (B, C, H, W) uint8 to the model's range: float32 in [-1, 1]."""
    return images.float() / 127.5 - 1


def to_uint8(x: Tensor) -> Tensor:
    """The model's range (B, C, H, W) to bytes, the inverse of `to_model`.

    Rounds to the nearest byte (flooring would darken by half a level), clamps what is outside [-1, 1]; NaN
    becomes 0.
    """
    levels = ((x.float() + 1) * 127.5).round()
    return levels.nan_to_num(nan=0.0).clamp(0, 255).to(torch.uint8)


def augment(images: Tensor, random: Tensor, *, flip: bool, crop: int, colour: float) -> Tensor:
    """Random flips, shifts and colours, each row a function of its own random numbers.

    images: (B, C, H, W), uint8, or float in [-1, 1]; the result has the same shape and dtype.
    random: (B, 8), uniform in (0, 1); 0: flip, 1 and 2: shift, 3 to 5: colour, 6 and 7: spare.
    flip: mirror left and right with probability 1/2.
    crop: shift by up to so many pixels each way, as a random crop of the picture padded by reflection.
    colour: strength s of the jitter: brightness, contrast and saturation are each scaled by 1 - s to 1 + s.
    """
    height, width = images.shape[-2:]
    if not 0 <= crop < min(height, width):
        raise ValueError(
            f"crop={crop} must be from 0 to {min(height, width) - 1} for pictures of {height}x{width}"
        )
    if not 0 <= colour <= 1:
        raise ValueError(f"colour={colour} must be from 0 to 1")
    if flip or crop:
        rows = _shifted(height, crop, random[:, 1])
        columns = _shifted(width, crop, random[:, 2])
        if flip:
            columns = torch.where(random[:, :1] < 0.5, columns.flip(1), columns)
        batch, channel = (torch.arange(n, device=images.device) for n in images.shape[:2])
        images = images[
            batch[:, None, None, None], channel[:, None, None], rows[:, None, :, None], columns[:, None, None]
        ]
    return _jitter(images, 1 + colour * (2 * random[:, 3:6] - 1)) if colour else images


def _shifted(size: int, crop: int, random: Tensor) -> Tensor:
    """Source coordinates (B, size) of a window shifted by -crop to crop, reflected at the edges."""
    shift = (random * (2 * crop + 1)).long().clamp(max=2 * crop) - crop
    source = torch.arange(size, device=random.device) + shift[:, None]
    return (size - 1) - ((size - 1) - source.abs()).abs()


def _jitter(images: Tensor, factor: Tensor) -> Tensor:
    """Scale brightness (about black), contrast (about the mean grey) and saturation, by factors (B, 3)."""
    brightness, contrast, saturation = factor.to(torch.float32).T[:, :, None, None, None]
    x = to_model(images) if images.dtype == torch.uint8 else images.float()
    x = ((x + 1) * brightness).clamp(0, 2)  # black is 0 and white 2
    mean = _mean(_luma(x))
    x = (mean + (x - mean) * contrast).clamp(0, 2)
    grey = _luma(x)
    x = (grey + (x - grey) * saturation).clamp(0, 2) - 1
    return to_uint8(x) if images.dtype == torch.uint8 else x.to(images.dtype)


def _mean(grey: Tensor) -> Tensor:
    """The mean (B, 1, 1, 1) of each picture (B, 1, H, W) in [0, 2], in fixed point.

    Sums of integers do not depend on their order, and with it on the number of threads or the other pictures of the
    batch, so that a picture looks the same in a batch of any size.
    """
    total = (grey * 2**16).round().long().sum(dim=(1, 2, 3), keepdim=True)
    return total.float() / (2**16 * grey[0].numel())


def _luma(x: Tensor) -> Tensor:
    """Grey of a picture (B, C, H, W) as (B, 1, H, W): ITU-R BT.601 for three channels."""
    if x.shape[1] != 3:
        return x.mean(dim=1, keepdim=True)
    red, green, blue = x.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


# --- shown -----------------------------------------------------------------------------------------------


def words(shape: tuple[int, ...]) -> str:
    """28x28 grey pictures"""
    channels, height, width = shape
    return f"{height}x{width} {'grey' if channels == 1 else 'RGB'} pictures"


def item(picture: Tensor) -> Image.Image:
    return plots.picture(picture)


def sheet(
    images: Tensor,
    labels: Tensor | None = None,
    columns: int | None = None,
    scale: int | None = None,
    captions: Sequence[str] | None = None,
    texts: Sequence[str] = (),
) -> Image.Image:
    """Pictures (N, C, H, W) uint8 in a grid; labels are not shown. captions: one above each column, which draws very
    small pictures larger. texts: one under each picture."""
    if texts:
        return plots.captioned(images, texts, columns)
    if captions and scale is None and max(images.shape[2:]) <= 10:
        return plots.sheet(images, columns=columns, captions=captions, scale=12, gap=8)
    return plots.sheet(images, columns=columns, scale=scale, captions=captions)


def usual_sheet(shape: tuple[int, ...], classes: int) -> tuple[int, int]:
    """How many pictures show what a model makes, and in how many columns: one a class, or 8; rows of 8, or of 4 large
    ones."""
    columns = classes if 0 < classes <= 10 else 8
    return columns * (4 if max(shape[1:]) > 32 else 8), columns


def strip(frames: Sequence[Tensor], captions: Sequence[str], labels: Tensor | None = None) -> Image.Image:
    """The same pictures at several times, a row for each picture, a column for each time."""
    return plots.strip(torch.stack(list(frames)), captions)


def pair(state: Tensor, belief: Tensor) -> Tensor:
    """State and belief (N, *shape) below each other: (2 N, *shape)."""
    return torch.stack([state, belief], dim=1).flatten(0, 1)
