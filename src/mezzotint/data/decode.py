"""One picture of any kind into one array of bytes: grey or RGB, upright, opaque, cropped, never squashed."""

import io
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import ExifTags, Image, ImageColor, ImageOps

from mezzotint.errors import ConfigError

Range = tuple[float, float]  # the values of black and of white
FLOAT_RANGES: tuple[Range, ...] = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (0.0, 65535.0))
INT_RANGES: tuple[Range, ...] = ((0.0, 255.0), (0.0, 65535.0))
SLACK = 1e-5  # of a range, that rounding may exceed it by
# Once, and not where pictures are opened: filters of warnings belong to all threads. Pillow's warning has no name of a
# file; `images.try_decode` has, and `given.picture` counts the pixels itself.
warnings.simplefilter("ignore", Image.DecompressionBombWarning)

WHITE = "white"  # what transparent parts are laid over, usually
SAME = 2  # of 255: profiles whose colours differ by no more from those of sRGB are sRGB


def decode(
    image: Image.Image,
    range_of: Callable[[str], Range | None] | None = None,
    on_transparent: Callable[[], object] = lambda: None,
    background: str = WHITE,
) -> Image.Image:
    """An upright picture of mode L (grey) or RGB, in the colours of sRGB, from a picture of any mode.

    The camera's orientation (EXIF) is applied; colours are converted from the profile that the file brings;
    transparency is laid over the background, any colour that Pillow knows; 16-bit and floating-point pictures are scaled to bytes, not clipped; of an
    animation it is the first frame. range_of: the range of modes F and I in the set that the picture is of, None where
    none is known; by default it is told by the picture alone. on_transparent: called where anything is transparent. Raises what Pillow raises for a picture that it cannot
    decode, which is nearly anything, and ValueError for values outside of the range.
    """
    image.load()
    profile = image.info.get("icc_profile")
    image = upright(image)
    if image.mode.startswith(("I", "F")):
        image = _to_bytes(image, range_of)
    elif profile:
        image = _to_srgb(image, profile)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if image.getchannel("A").getextrema()[0] < 255:  # type: ignore[operator]  # of one band: two numbers
            on_transparent()
        image = Image.alpha_composite(Image.new("RGBA", image.size, background), image)
    if image.mode not in ("L", "RGB"):
        image = image.convert("L" if image.mode == "1" else "RGB")
    return image


def check_background(background: str) -> None:
    """Raises ConfigError for what is no opaque colour."""
    try:
        parts = len(ImageColor.getrgb(background))
    except ValueError:
        parts = 0
    if parts != 3:
        raise ConfigError(
            f"data.background {background!r} is no colour; give a name such as white or black, or #rrggbb"
        )


def fit(image: Image.Image, size: tuple[int, int], channels: int | None = None) -> np.ndarray:
    """A picture of mode L or RGB as uint8 (C, H, W) of a size (H, W): centre-cropped, never squashed.

    The largest centred box of the wanted shape is resampled: bicubic with antialiasing where it shrinks,
    bilinear where it has to grow, since bicubic rings around edges that are drawn large. `channels` is 1 or
    3; None keeps what the picture is, 1 if all its pixels are grey.
    """
    height, width = size
    if (image.height, image.width) != size:
        box = box_of(image.size, size)
        scale = min(image.width / width, image.height / height)
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


def box_of(given: tuple[int, int], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """The largest centred box of the shape of a size (H, W) in a picture given as (width, height): left, top, right, bottom."""
    height, width = size
    scale = min(given[0] / width, given[1] / height)
    left, top = max(given[0] - scale * width, 0) / 2, max(given[1] - scale * height, 0) / 2
    return left, top, given[0] - left, given[1] - top


def upright(image: Image.Image) -> Image.Image:
    """The picture turned as the camera's orientation (EXIF) says."""
    return image if _orientation(image) == 1 else ImageOps.exif_transpose(image)


def decode_to(
    image: Image.Image,
    size: tuple[int, int],
    channels: int | None = None,
    range_of: Callable[[str], Range | None] | None = None,
    on_transparent: Callable[[], object] = lambda: None,
    background: str = WHITE,
) -> np.ndarray:
    """`decode`, then `fit`; large JPEGs are decoded at the smallest scale that leaves twice the size."""
    if min(image.size) >= 4 * max(size):
        image.draft(None, (2 * max(size), 2 * max(size)))
    return fit(decode(image, range_of, on_transparent, background), size, channels)


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # a damaged tag is no reason to lose the picture; Pillow raises several types here
        return 1


def _to_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The colours that a profile stands for, in sRGB; unchanged where the profile is damaged, or that of sRGB."""
    if image.mode in ("P", "PA"):
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    alpha = image.getchannel("A") if image.mode in ("RGBA", "LA") else None
    mode = image.mode.removesuffix("A")
    if mode not in ("L", "RGB", "CMYK") or (transform := _transform(profile, mode)) is None:
        return image
    from PIL import ImageCms

    plain = image if alpha is None else image.convert(mode)
    converted = ImageCms.applyTransform(plain, transform)
    assert converted is not None  # only a conversion in place returns nothing
    if mode == "L":
        converted = converted.getchannel("G")  # equal in all three
    if alpha is not None:
        converted.putalpha(alpha)
    elif "transparency" in image.info and mode != "CMYK":
        return image  # one colour of the file is transparent, and must stay that colour
    return converted


@lru_cache(16)
def _transform(profile: bytes, mode: str) -> Any:
    """From a profile's colours in a mode to those of sRGB; None where there is nothing to convert."""
    try:
        from PIL import ImageCms

        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        target = ImageCms.createProfile("sRGB")
        transform = ImageCms.buildTransform(
            source, target, mode, "RGB", ImageCms.Intent.RELATIVE_COLORIMETRIC
        )
        if mode == "CMYK":
            return transform
        levels = np.linspace(0, 255, 9).round().astype(np.uint8)
        grid = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(-1, 27, 3)
        sample = Image.fromarray(grid) if mode == "RGB" else Image.fromarray(grid[..., 0].copy())
        there = np.asarray(ImageCms.applyTransform(sample, transform)).astype(int)
        return None if np.abs(there - np.asarray(sample.convert("RGB"))).max() <= SAME else transform
    except (
        Exception
    ):  # a damaged profile, one of another mode, a Pillow without littlecms: the colours stay as they are
        return None


def fits(low: float, high: float, of: Range) -> bool:
    """Whether values from low to high lie within a range."""
    slack = SLACK * (of[1] - of[0])
    return of[0] - slack <= low and high <= of[1] + slack


def _to_bytes(image: Image.Image, range_of: Callable[[str], Range | None] | None) -> Image.Image:
    """16-bit, 32-bit and floating-point grey to bytes, by the range of the format or of the set, not of the picture.

    Modes I and F do not say what white is. Of a picture alone it is taken as the first of 1 (F alone), 255 and 65535 that
    no pixel exceeds.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    if image.mode.startswith("I;16"):
        black, white = 0.0, 65535.0
    elif range_of is None:
        whites = (1.0, 255.0) if image.mode == "F" else (255.0,)
        black, white = 0.0, next((one for one in whites if values.max() <= one), 65535.0)
    else:
        found = range_of(image.mode)
        low, high = float(values.min()), float(values.max())
        if found is None or not fits(low, high, found):
            text = (
                "no range is known" if found is None else f"the set's range is {found[0]:g} to {found[1]:g}"
            )
            raise ValueError(
                f"its values go from {low:.4g} to {high:.4g}, and {text}; scale it as the others are"
            )
        black, white = found
    scaled = (values - black) * (255 / (white - black))
    return Image.fromarray(scaled.round().clip(0, 255).astype(np.uint8))
