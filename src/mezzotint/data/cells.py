"""Pictures in a cell of a table, and the libraries of the extra [hub], imported when they are needed."""

import importlib
import io
from pathlib import Path
from typing import Any

from PIL import Image

from mezzotint.data.endings import FORMATS
from mezzotint.errors import MissingExtra


def open_bytes(encoded: bytes) -> Image.Image:
    """A Pillow image, not decoded yet, of one of FORMATS."""
    return Image.open(io.BytesIO(encoded), formats=FORMATS)


def extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f'{module} is not installed; run: pip install "mezzotint[hub]"') from error


def line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def open_cell(value: Any) -> Image.Image:
    """The picture in a cell of a table: encoded, or as the hub has it, with its bytes or the path of its file."""
    return open_bytes(encoded_in(value) or b"")


def frames_in(value: Any) -> Any:
    """The bytes in a cell of a table, or of a list of pictures, the frames of a clip, all their bytes."""
    return [encoded_in(one) for one in value] if isinstance(value, list) else encoded_in(value)


def encoded_in(value: Any) -> bytes | None:
    """The bytes in a cell of a table."""
    if isinstance(value, dict):
        path, value = value.get("path"), value.get("bytes")
        if value is None and path is not None:
            value = Path(path).read_bytes()
    return value
