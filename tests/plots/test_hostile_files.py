"""Pictures of strangers: what `mezzotint info` is given may be no picture, or one made to hurt."""

import struct
import time
import zlib
from pathlib import Path

import pytest
from PIL import Image

from mezzotint.plots import KEY, read_settings


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def with_chunk(path: Path, *extra: bytes) -> Path:
    Image.new("L", (8, 8)).save(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:33] + b"".join(extra) + whole[33:])  # behind the IHDR
    return path


KEYWORD = KEY.encode() + b"\0"
BOMB = chunk(b"zTXt", KEYWORD + b"\0" + zlib.compress(b"[" * 50_000_000))
FACTS = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)


@pytest.mark.parametrize(
    "extra",
    [
        chunk(b"tEXt", KEYWORD + b"[" * 50_000_000),
        chunk(b"tEXt", KEYWORD + b'{"a":' * 100_000),
        chunk(b"tEXt", KEYWORD + b"[1, 2"),
        chunk(b"tEXt", KEYWORD + b"3"),
        chunk(b"iTXt", KEYWORD + b"\1\0\0\0" + zlib.compress(b" " * 50_000_000)),
        BOMB,
    ],
    ids=["long", "deep", "cut", "number", "iTXt", "zTXt"],
)
def test_settings_that_are_made_to_hurt(tmp_path: Path, extra: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises(ValueError, match="damaged"):
        read_settings(with_chunk(tmp_path / "a.png", extra))
    assert time.perf_counter() - began < 3


@pytest.mark.parametrize(
    "content",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
        b"RIFF\x10\0\0\0WEBPVP8 ",
        b"II*\0\x08\0\0\0\xff\xff",
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", FACTS)
        + chunk(b"IDAT", zlib.compress(b"\0" * 1000))
        + chunk(b"IEND", b""),
    ],
    ids=["svg", "webp", "tiff", "bomb"],
)
def test_what_is_called_a_png_and_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="not a PNG picture, or it is damaged"):
        read_settings(tmp_path / "a.png")
