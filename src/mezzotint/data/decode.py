"""One picture of any kind into one array of bytes: grey or RGB, upright, opaque, cropped, never squashed."""

import numpy as np
from PIL import ExifTags, Image, ImageOps


def decode(image: Image.Image) -> Image.Image:
    """An upright picture of mode L (grey) or RGB from a picture of any mode.

    The camera's orientation (EXIF) is applied; transparency is laid over white; 16-bit and floating-point
    pictures are scaled to bytes, not clipped; of an animation it is the first frame. Raises what Pillow
    raises for a picture that it cannot decode, which is nearly anything.
    """
    image.load()
    if _orientation(image) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith(("I", "F")):
        image = _to_bytes(image)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image


def fit(image: Image.Image, size: tuple[int, int], channels: int | None = None) -> np.ndarray:
    """A picture of mode L or RGB as uint8 (C, H, W) of a size (H, W): centre-cropped, never squashed.

    The largest centred box of the wanted shape is resampled: bicubic with antialiasing where it shrinks,
    bilinear where it has to grow, since bicubic rings around edges that are drawn large. `channels` is 1 or
    3; None keeps what the picture is, 1 if all its pixels are grey.
    """
    height, width = size
    if (image.height, image.width) != size:
        scale = min(image.width / width, image.height / height)
        left = max(image.width - scale * width, 0) / 2
        top = max(image.height - scale * height, 0) / 2
        box = (left, top, image.width - left, image.height - top)
        method = Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.BILINEAR
        image = image.resize((width, height), method, box, reducing_gap=3.0)
    mode = {1: "L", 3: "RGB", None: image.mode}[channels]
    if image.mode != mode:
        image = image.convert(mode)
    array = np.asarray(image)
    if array.ndim == 2:
        return array[None]
    array = array.transpose(2, 0, 1)
    return array[:1] if channels is None and (array == array[:1]).all() else array


def decode_to(image: Image.Image, size: tuple[int, int], channels: int | None = None) -> np.ndarray:
    """`decode`, then `fit`; large JPEGs are decoded at the smallest scale that leaves twice the size."""
    if min(image.size) >= 4 * max(size):
        image.draft(None, (2 * max(size), 2 * max(size)))
    return fit(decode(image), size, channels)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged tag is no reason to lose the picture; Pillow raises several types here
        return 1


def _to_bytes(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and floating-point grey to bytes, by the range of the format, not of the picture.

    Modes I and F do not say what white is: it is taken as the first of 1 (F alone), 255 and 65535 that no
    pixel exceeds.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode.startswith("I;16"):
        white = 65535.0
    else:
        candidates = (1.0, 255.0) if image.mode == "F" else (255.0,)
        white = next((candidate for candidate in candidates if values.max() <= candidate), 65535.0)
    return Image.fromarray((values * (255 / white)).round().clip(0, 255).astype(np.uint8))
