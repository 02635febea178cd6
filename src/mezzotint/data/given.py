"""One picture, or one mask, as people give it: a file, its bytes, a PIL picture or an array, in the shape of a model."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mezzotint.data import films
from mezzotint.data.decode import box_of, decode, fit, upright
from mezzotint.data.endings import FORMATS
from mezzotint.errors import DataError

WHITE = 128  # of 255: from here on a mask repaints
MAX_PIXELS = 2**27  # of a picture, before it is decoded


@dataclass(frozen=True, eq=False)
class Given:
    """A picture in the shape of a model, or a clip. pixels: uint8 (C, H, W). holes: bool (H, W), True where the picture was wholly
    transparent, None where it nowhere was. size: (width, height) as it was given, upright. digest: SHA-256 of its file,
    or of the numbers of an array or a PIL picture. note: a line where it was not of the model's size."""

    pixels: Tensor
    holes: Tensor | None
    size: tuple[int, int]
    digest: str
    note: str = ""


def picture(
    source: Any, shape: tuple[int, ...], *, what: str = "the picture", max_pixels: int = MAX_PIXELS
) -> Given:
    """A picture in the shape (C, H, W) of a model: upright, in sRGB, its largest centred box resized as training pictures are.

    source: a path, the bytes of a file, a PIL picture, or an array or tensor: uint8, or floats in [0, 1], (H, W), (H, W, C) or
    (C, H, W) with C of 1, 3 or 4. Transparent parts are `holes`, and the colours under them are ignored. max_pixels: refused
    above it, before it is decoded. Raises DataError in one line.
    """
    image, digest = _opened(source, what, max_pixels)
    channels, height, width = shape
    try:
        image.load()  # here, since what reads the orientation forgives damage
        image = upright(image)
        alpha = _alpha(image)
        plain = decode(image)
        pixels = torch.from_numpy(fit(plain, (height, width), channels).copy())
    except DataError:
        raise
    except Exception as error:  # Pillow raises nearly anything for a damaged file
        raise DataError(f"{what} cannot be decoded ({error}); save it as PNG and try again") from error
    holes = None if alpha is None else _touched(alpha == 0, (height, width))
    note = ""
    if (plain.height, plain.width) != (height, width):
        note = f"{what} of {plain.width}x{plain.height} pixels is cropped and resized to {width}x{height}"
        if plain.width * height == plain.height * width:
            note = f"{what} of {plain.width}x{plain.height} pixels is resized to {width}x{height}"
    return Given(pixels, None if holes is None or not holes.any() else holes, plain.size, digest, note)


def clip(
    source: Any, shape: tuple[int, ...], *, what: str = "the clip", max_pixels: int = MAX_PIXELS
) -> Given:
    """A clip in the shape (C, T, H, W) of a model, each frame as `picture` says.

    source: as of `picture`, a file of one or more frames (GIF, APNG, WebP; at a path also MP4 and its kin), or an array (T, H, W), (T, H, W, C) or (C, T, H, W). Frames
    shown for longer stand several times. Frames that are not there are `holes`, bool (T, H, W), and so are transparent parts of those that are; of too many the first T are taken.
    """
    channels, length, height, width = shape
    found, digest = _frames(source, what, max_pixels, length)
    frames = [
        picture(one, (channels, height, width), what=f"frame {k} of {what}", max_pixels=max_pixels)
        for k, one in enumerate(found[:length], 1)
    ]
    missing = length - len(frames)
    pixels = torch.stack([one.pixels for one in frames] + [frames[-1].pixels] * missing, 1)
    none = torch.zeros(height, width, dtype=torch.bool)
    holes = torch.stack([none if one.holes is None else one.holes for one in frames] + [~none] * missing)
    more = f"of the frames of {what} the first {length} are taken; " if len(found) > length else ""
    note = (more + frames[0].note).removesuffix("; ")
    return Given(pixels, holes if holes.any() else None, frames[0].size, digest, note)


def _frames(source: Any, what: str, max_pixels: int, length: int) -> tuple[list[Any], str]:
    """All frames, each as `picture` takes it, and the digest of the whole; of a video, which is read from a path alone, one more than
    `length` at most."""
    if not isinstance(source, (str, Path, bytes, bytearray, Image.Image)):
        values = np.asarray(source.detach().cpu() if isinstance(source, Tensor) else source)
        if values.ndim == 4 and values.shape[-1] not in (1, 3, 4) and values.shape[0] in (1, 3, 4):
            values = values.transpose(1, 2, 3, 0)
        if values.ndim not in (3, 4) or not values.size:
            raise DataError(
                f"{what} is an array of shape {values.shape}; give (T, H, W), (T, H, W, C) or (C, T, H, W)"
            )
        return list(values), hashlib.sha256(
            f"{values.dtype} {values.shape}".encode() + values.tobytes()
        ).hexdigest()
    if isinstance(source, (str, Path)) and films.is_video(content := _content(source, what)):
        try:
            some = list(films.video(Path(source).expanduser()).read(0, length + 1))
        except ValueError as error:
            raise DataError(f"{what} cannot be decoded ({error}); save it as GIF and try again") from error
        return some, hashlib.sha256(content).hexdigest()
    image, digest = _opened(source, what, max_pixels)
    try:
        return films.unroll(image, max_pixels), digest
    except Exception as error:
        raise DataError(f"{what} cannot be decoded ({error}); save it as PNG or GIF and try again") from error


GIVEN = {"pictures": picture, "clips": clip}  # by the medium of a model


def mask(source: Any, given: Given, *, max_pixels: int = MAX_PIXELS) -> tuple[Tensor, str]:
    """Where a picture is to be repainted, bool (H, W) in the shape of the model, and the mask's SHA-256.

    source: as of `picture`; white (128 or more) is repainted, or of a mask with transparent parts these. Of another size it is
    resized by nearest pixels and cropped as the picture was. Raises DataError where its aspect is another, or it repaints nothing.
    """
    image, digest = _opened(source, "the mask", max_pixels)
    try:
        image.load()
        image = upright(image)
        alpha = _alpha(image)
        white = np.asarray(decode(image).convert("L")) >= WHITE if alpha is None else alpha == 0
    except Exception as error:
        raise DataError(f"the mask cannot be decoded ({error}); save it as PNG and try again") from error
    (width, height), (wide, high) = given.size, (white.shape[1], white.shape[0])
    # The same aspect, but for the rounding of one pixel.
    if abs(wide * height - high * width) >= max(width, height, wide, high) and (wide, high) != (
        width,
        height,
    ):
        raise DataError(
            f"the mask is {wide}x{high} and the picture {width}x{height}; give a mask of the same aspect ratio"
        )
    size = (given.pixels.shape[1], given.pixels.shape[2])
    box = tuple(
        edge * scale for edge, scale in zip(box_of(given.size, size), (wide / width, high / height) * 2)
    )
    fitted = Image.fromarray(white.astype(np.uint8) * 255).resize(size[::-1], Image.Resampling.NEAREST, box)
    repainted = torch.from_numpy(np.asarray(fitted) > 0)
    if not repainted.any():
        raise DataError("the mask repaints nothing: white (128 or more) is repainted; is it inverted?")
    return repainted, digest


def _opened(source: Any, what: str, max_pixels: int) -> tuple[Image.Image, str]:
    """The picture, not decoded yet where it is a file, and its SHA-256."""
    if isinstance(source, (str, Path)):
        source, what = _content(source, what), f"{what} {Path(source).name}"
    if isinstance(source, (bytes, bytearray)):
        try:
            image: Image.Image = Image.open(io.BytesIO(source), formats=FORMATS)
        except UnidentifiedImageError as error:
            raise DataError(
                f"{what} is damaged or not a {', '.join(FORMATS)} picture; give another file"
            ) from error
        except Exception as error:  # a bomb, or a hostile header
            raise DataError(f"{what} cannot be opened ({error}); save it as PNG and try again") from error
        digest = hashlib.sha256(source)
    else:
        image = source if isinstance(source, Image.Image) else _of_array(source, what)
        digest = hashlib.sha256(f"{image.mode} {image.size}".encode() + image.tobytes())
    if image.width * image.height > max_pixels:
        raise DataError(
            f"{what} has {image.width}x{image.height} pixels, more than {max_pixels}; make it smaller"
        )
    return image, digest.hexdigest()


def _content(path: str | Path, what: str) -> bytes:
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); check the name of {what}") from error


def _of_array(source: Any, what: str) -> Image.Image:
    values = np.asarray(source.detach().cpu() if isinstance(source, Tensor) else source)
    if values.dtype == bool:
        values = values.astype(np.uint8) * 255
    if values.ndim == 3 and values.shape[-1] not in (1, 3, 4) and values.shape[0] in (1, 3, 4):
        values = values.transpose(1, 2, 0)
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if not (values.ndim == 2 or (values.ndim == 3 and values.shape[-1] in (3, 4))) or not values.size:
        raise DataError(
            f"{what} is an array of shape {values.shape}; give (H, W), (H, W, 1, 3 or 4) or (1, 3 or 4, H, W)"
        )
    if np.issubdtype(values.dtype, np.floating):
        if not (values.min() >= 0 and values.max() <= 1):  # NaN is neither
            raise DataError(f"{what} is an array of floats outside of [0, 1]; scale it, or give uint8")
        values = np.round(values * 255).astype(np.uint8)
    if values.dtype != np.uint8:
        raise DataError(f"{what} is an array of {values.dtype}; give uint8, or floats in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(values))


def _alpha(image: Image.Image) -> np.ndarray | None:
    """Opacity (height, width) uint8 of a picture with transparent parts, else None."""
    if not image.has_transparency_data:
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return alpha if (alpha == 0).any() else None


def _touched(holes: np.ndarray, size: tuple[int, int]) -> Tensor:
    """Where any of the pixels that a resized pixel is made of is a hole: bool (H, W)."""
    image = Image.fromarray(holes.astype(np.float32))  # mode F
    share = np.asarray(_resized(image, size))
    return torch.from_numpy(np.abs(share) > 1e-3)


def _resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    height, width = size
    if (image.height, image.width) == size:
        return image
    box = box_of(image.size, size)
    method = Image.Resampling.BICUBIC if box[2] - box[0] > width else Image.Resampling.BILINEAR
    return image.resize((width, height), method, box)
