"""Pictures on disk: PNGs that carry the settings that made them, and GIFs."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin

from mezzotint.errors import ConfigError

KEY = "mezzotint"  # of the PNG text chunk that holds the settings
NOTE = b"\xa9cmt"  # the box of an MP4 that its comment is in
MAX_SETTINGS = 2**20  # characters
MS_A_FRAME = 80


def save_png(
    image: Image.Image,
    path: str | Path,
    settings: dict[str, Any] | None = None,
    later: Sequence[Image.Image] = (),
) -> None:
    """Writes a PNG, with the settings that made it as JSON in a text chunk. Makes the folder where needed. later: what it
    turns into, frame by frame and without end (APNG). Raises ConfigError for the ending of another format."""
    check_ending(path, ".png")
    write_whole(Path(path), lambda temporary: _save(image, temporary, settings, later))


def png(
    image: Image.Image, settings: dict[str, Any] | None = None, later: Sequence[Image.Image] = ()
) -> bytes:
    """What `save_png` writes."""
    content = io.BytesIO()
    _save(image, content, settings, later)
    return content.getvalue()


def _save(
    image: Image.Image,
    to: Path | io.BytesIO,
    settings: dict[str, Any] | None,
    later: Sequence[Image.Image],
) -> None:
    text = _text(settings)
    if later:  # durations as a list: equal frames would else be merged
        times = [MS_A_FRAME] * (len(later) + 1)
        image.save(to, "PNG", pnginfo=text, save_all=True, append_images=list(later), duration=times, loop=0)
    else:
        image.save(to, "PNG", pnginfo=text)


def _text(settings: dict[str, Any] | None) -> PngImagePlugin.PngInfo:
    text = PngImagePlugin.PngInfo()
    if settings is not None:
        text.add_text(KEY, json.dumps(settings))
    return text


def gif(frames: Sequence[Image.Image], path: str | Path, *, ms: int = MS_A_FRAME, hold: int = 2000) -> None:
    """Writes an endless GIF: `ms` milliseconds a frame, `hold` for the last. All frames are of one size.
    Raises ConfigError for the ending of another format."""
    check_ending(path, ".gif")
    if len({frame.size for frame in frames}) != 1:
        raise ValueError("a GIF needs at least one frame, and all frames of one size")
    durations = [ms] * (len(frames) - 1) + [hold]
    first, others = frames[0], frames[1:]
    write_whole(
        Path(path),
        lambda temporary: first.save(
            temporary, "GIF", save_all=True, append_images=others, duration=durations, loop=0, disposal=1
        ),
    )


def check_ending(path: str | Path, ending: str) -> None:
    """Raises ConfigError for a name that ends otherwise; one without an ending may stay so."""
    if Path(path).suffix.lower() not in ("", ending):
        raise ConfigError(f"{path} would hold a {ending[1:].upper()}; end it in {ending}")


def read_png(path: str | Path) -> Image.Image:
    """A PNG with all its pixels. ValueError if it is none, or damaged."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise
    except (
        OSError,
        SyntaxError,
        ValueError,
        Image.DecompressionBombError,
    ) as error:  # as Pillow tells of harm
        raise ValueError(f"{path} is not a PNG picture, or it is damaged") from error


def read_settings(path: str | Path) -> dict[str, Any] | None:
    """The settings inside a PNG or an MP4, or None where it has none. ValueError if it is neither, or they are damaged."""
    if Path(path).suffix.lower() == ".mp4":
        text = comment(Path(path).read_bytes())
    else:
        text = read_png(path).info.get(KEY)
    try:
        if text is not None and len(text) > MAX_SETTINGS:
            raise ValueError("they are too long")
        return None if text is None else dict(json.loads(text))
    except (ValueError, TypeError, RecursionError) as error:
        raise ValueError(f"the settings inside {path} are damaged") from error


def comment(content: bytes) -> str | None:
    """The comment in an MP4, None where there is none. Its box holds another, called data, of 16 bytes before the text."""
    at = content.find(NOTE)
    if at < 0 or content[at + 8 : at + 12] != b"data":
        return None
    length = int.from_bytes(content[at + 4 : at + 8], "big")
    return content[at + 20 : at + 4 + length].decode("utf-8", "replace")


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Writes under a temporary name and renames: nobody ever reads half a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
