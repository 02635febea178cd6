"""MP4, by the program ffmpeg that comes with the extra [video]."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mezzotint.errors import MissingExtra
from mezzotint.plots.files import MS_A_FRAME, check_ending, write_whole

QUALITY = 8  # of 10


def ffmpeg() -> Any:
    """The library that brings ffmpeg along. Raises MissingExtra."""
    try:
        import imageio_ffmpeg
    except ImportError as error:
        raise MissingExtra('imageio_ffmpeg is not installed; run: pip install "mezzotint[video]"') from error
    return imageio_ffmpeg


def mp4(
    frames: Sequence[Image.Image],
    path: str | Path,
    settings: dict[str, Any] | None = None,
    *,
    ms: int = MS_A_FRAME,
    hold: int = MS_A_FRAME,
) -> str:
    """Writes an MP4 (H.264) that any player shows: `ms` milliseconds a frame, the last for `hold`; settings as JSON in its comment. Not lossless.

    Colours are kept for squares of 2x2 pixels, so sides must be even: where one is odd, the last row or column stands twice, and the line that is
    returned says so; "" otherwise. Raises ConfigError for the ending of another format, MissingExtra without ffmpeg.
    """
    check_ending(path, ".mp4")
    if len({frame.size for frame in frames}) != 1:
        raise ValueError("a video needs at least one frame, and all frames of one size")
    tool, (width, height) = ffmpeg(), frames[0].size
    size = width + width % 2, height + height % 2
    comment = [] if settings is None else ["-metadata", f"comment={json.dumps(settings)}"]

    def write(temporary: Path) -> None:
        writer = tool.write_frames(
            str(temporary),
            size,
            fps=1000 / ms,
            quality=QUALITY,
            codec="libx264",
            macro_block_size=1,  # it would stretch the picture to multiples of 16
            output_params=["-f", "mp4", *comment],
        )
        writer.send(None)
        try:
            for frame in [*frames, *[frames[-1]] * (max(1, round(hold / ms)) - 1)]:
                pixels = np.asarray(frame.convert("RGB"))
                padding = ((0, size[1] - height), (0, size[0] - width), (0, 0))
                writer.send(np.ascontiguousarray(np.pad(pixels, padding, mode="edge")))
        finally:
            writer.close()

    write_whole(Path(path), write)
    if size == (width, height):
        return ""
    return f"an MP4 has even sides: {width}x{height} is padded to {size[0]}x{size[1]}, its last row or column standing twice"
