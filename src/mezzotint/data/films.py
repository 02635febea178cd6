"""One clip as it lies on a disk: an animation (GIF, APNG, WebP), a video, numbered pictures in a folder, or an array.

A `Film` gives its frames as Pillow images, one after the other, and decodes no more of them than it is asked for.
"""

import io
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageSequence

from mezzotint.data.decode import decode_to
from mezzotint.data.endings import FORMATS, count
from mezzotint.plots.video import ffmpeg

VIDEOS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi")
MAX_PIXELS = (
    2**28
)  # of an animation, all frames together; they are all decoded to know how long each is shown
MAX_REPEATS = 100  # of a frame that is shown for long
MIDDLE = 0.5  # of a clip: where the part of it is taken from that is always the same one


@dataclass(frozen=True)
class Film:
    """frames: from a number on, every one, in order; raises whatever is wrong with them. measure: how many there are."""

    frames: Callable[[int], Iterator[Image.Image]]
    measure: Callable[[], int]

    @cached_property
    def count(self) -> int:
        return self.measure()

    def read(self, begin: int = 0, count: int | None = None, stride: int = 1) -> Iterator[Image.Image]:
        """`count` frames, every `stride`-th from number `begin` on; by default all."""
        stop = None if count is None else (count - 1) * stride + 1
        return islice(self.frames(begin), 0, stop, stride)


def film(content: Any) -> Film:
    """Of an encoded animation or video (bytes), of encoded pictures, one a frame (a list of bytes), of a Pillow image, or of a film."""
    if isinstance(content, Film):
        return content
    if isinstance(content, Image.Image):
        return animation(content)
    if isinstance(content, list):
        return pictures([partial(bytes, one) for one in content])
    content = content or b""
    if not is_video(content):
        return animation(Image.open(io.BytesIO(content), formats=FORMATS))
    return video(content)


def pictures(encoded: Sequence[Callable[[], bytes]]) -> Film:
    """Frames that are a picture each."""

    def frames(begin: int) -> Iterator[Image.Image]:
        for one in encoded[begin:]:
            yield Image.open(io.BytesIO(one()), formats=FORMATS)

    return Film(frames, lambda: len(encoded))


def animation(image: Image.Image) -> Film:
    """The frames of an animation, decoded when they are first asked for."""
    decoded: list[Image.Image] = []

    def unrolled() -> list[Image.Image]:
        if not decoded:
            decoded.extend(unroll(image))
        return decoded

    return Film(lambda begin: iter(unrolled()[begin:]), lambda: len(unrolled()))


def unroll(image: Image.Image, max_pixels: int = MAX_PIXELS) -> list[Image.Image]:
    """All frames of an animation. Writers of GIF, PNG and WebP make one long frame of several equal ones: it stands as often as
    the shortest fits in. Raises ValueError above so many pixels."""
    number = getattr(image, "n_frames", 1)
    if image.width * image.height * number > max_pixels:
        raise ValueError(
            f"{number} frames of {image.width}x{image.height} are more than {max_pixels} pixels; make it smaller"
        )
    frames = [frame.copy() for frame in ImageSequence.Iterator(image)]
    times = [float(frame.info.get("duration") or 0) for frame in frames]
    shortest = min(times)
    repeats = [min(round(time / shortest), MAX_REPEATS) if shortest > 0 else 1 for time in times]
    if image.width * image.height * sum(repeats) > max_pixels:
        raise ValueError(f"{sum(repeats)} frames are more than {max_pixels} pixels; make it smaller")
    return [frame for frame, n in zip(frames, repeats) for _ in range(n)]


def array(frames: np.ndarray) -> Film:
    """Frames uint8 (T, H, W) or (T, H, W, C)."""
    one = frames[..., 0] if frames.ndim == 4 and frames.shape[-1] == 1 else frames
    return Film(lambda begin: (Image.fromarray(each) for each in one[begin:]), lambda: len(one))


def window(
    one: Film,
    size: tuple[int, ...],
    channels: int | None,
    stride: int,
    at: float,
    background: str,
    on_transparent: Callable[[], object] = lambda: None,
) -> np.ndarray:
    """T frames of a film, `stride` apart, as uint8 (C, T, H, W), for a size (T, H, W). at: in [0, 1), where they begin, of all places that leave
    room for them. ValueError where it is too short."""
    length, height, width = size
    span = (length - 1) * stride + 1
    check_length(one.count, length, stride)
    begin = min(int(at * (one.count - span + 1)), one.count - span)
    frames = [
        decode_to(frame, (height, width), channels, None, on_transparent, background)
        for frame in one.read(begin, length, stride)
    ]
    if len(frames) < length:
        raise ValueError(f"it ends before the {count(one.count, 'frame')} that its header gives")
    return stacked(frames)


def check_length(found: int, length: int, stride: int) -> None:
    """Raises ValueError where so many frames are too few for `length` of them, `stride` apart."""
    if found < (length - 1) * stride + 1:
        apart = "" if stride == 1 else f" that are {stride} apart"
        raise ValueError(
            f"{count(found, 'frame')}, and {length}{apart} are wanted: set data.frames lower, or leave it out"
        )


def stacked(frames: Sequence[np.ndarray]) -> np.ndarray:
    """Frames uint8 (1 or 3, H, W) -> (C, T, H, W), grey ones among those in colour like these."""
    shape = (max(map(len, frames)), *frames[0].shape[1:])
    return np.stack([np.broadcast_to(frame, shape) for frame in frames], 1)


def is_video(content: bytes) -> bool:
    """Whether bytes are those of MP4 and its kin, WebM and Matroska, or AVI."""
    ebml, riff = content[:4] == b"\x1aE\xdf\xa3", content[:4] == b"RIFF" and content[8:12] == b"AVI "
    return ebml or riff or (content[4:8] == b"ftyp" and content[8:12] not in (b"avif", b"avis", b"heic"))


def video(source: Path | bytes) -> Film:
    """By the program ffmpeg, of the extra [video]. A file is read from its beginning each time, since positions in it are only
    roughly known."""
    reader = ffmpeg()

    def frames(begin: int) -> Iterator[Image.Image]:
        with _file(source) as path, closing(reader.read_frames(path, pix_fmt="rgb24")) as raw:
            width, height = next(raw)["size"]
            for frame in islice(raw, begin, None):
                yield Image.frombytes("RGB", (width, height), frame)

    def measure() -> int:
        with _file(source) as path:
            return int(reader.count_frames_and_secs(path)[0])

    return Film(_plainly(frames), measure)


def _plainly(frames: Callable[[int], Iterator[Image.Image]]) -> Callable[[int], Iterator[Image.Image]]:
    """With ffmpeg's pages of errors as one line."""

    def read(begin: int) -> Iterator[Image.Image]:
        try:
            yield from frames(begin)
        except (OSError, RuntimeError, StopIteration) as error:
            last = str(error).strip().splitlines()[-1:] or ["it has no frames"]
            raise ValueError(f"ffmpeg cannot read it ({last[0].strip()})") from error

    return read


@contextmanager
def _file(source: Path | bytes) -> Iterator[str]:
    if isinstance(source, Path):
        yield str(source)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video"
        path.write_bytes(source)
        yield str(path)
