"""How files are written and read: whole or not at all, with checksums, without pickle."""

import errno
import hashlib
import json
import os
import warnings
import zlib
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from mezzotint.errors import ModelError


def write(path: Path, content: bytes) -> None:
    """Writes a whole file or none: temporary name, sync, rename."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            _sync(file.fileno())
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)  # on a full disk it would be in the way
        raise
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Makes names that were just given, by a rename, outlast a power cut, where the file system knows how to."""
    if os.name == "posix":
        try:
            number = os.open(path, os.O_RDONLY)
        except PermissionError:  # a folder may be writable and not readable
            return
        try:
            _sync(number)
        finally:
            os.close(number)


def _sync(number: int) -> None:
    """fsync, unless the file system has none for such a file: SMB and some FUSE have none for folders."""
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF, errno.EACCES):
            raise


def digest(*paths: Path) -> str:
    """Of the bytes of files, one after the other: the first 16 digits of their SHA-256."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()[:16]


def write_json(path: Path, content: Any) -> None:
    write(path, (json.dumps(content, indent=1) + "\n").encode())


Layout = dict[str, tuple[str, tuple[int, ...]]]  # of a file's tensors: name -> type and shape
DTYPES = {  # as safetensors spells them
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
MAX_HEADER_BYTES = 2**24


def tensors(named: dict[str, Tensor], header: dict[str, Any] | None = None) -> bytes:
    """Safetensors bytes. The header is one JSON string under one key, since several keys have no fixed order; it is
    given the checksum of the tensors, since the format has none, and one of all the rest, itself included."""
    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named.items()}
    if header is None:
        return save(ready)
    layout = {name: (DTYPES[tensor.dtype], tuple(tensor.shape)) for name, tensor in ready.items()}
    return save(ready, {"mezzotint": json.dumps(sealed({**header, "crc32": _crc32(ready)}, layout))})


def sealed(content: dict[str, Any], layout: Layout | None = None) -> dict[str, Any]:
    """JSON with the checksum of what it says, and of the names, types and shapes of tensors beside it."""
    return {**content, "seal": _seal(content, layout)}


def is_broken(content: dict[str, Any], layout: Layout | None = None) -> bool:
    """Whether JSON says other things than when it was sealed; False where it never was (by 0.1)."""
    rest = {key: value for key, value in content.items() if key != "seal"}
    return "seal" in content and content["seal"] != _seal(rest, layout)


def _seal(content: dict[str, Any], layout: Layout | None) -> int:
    return zlib.crc32(json.dumps([content, layout], sort_keys=True).encode())


def read_layout(path: Path) -> tuple[dict[str, str], Layout]:
    """The metadata and the layout of a safetensors file, without its tensors. Raises SafetensorError, OSError or
    ValueError."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER_BYTES:
        raise SafetensorError(f"its header would have {length:,} bytes")
    with safe_open(path, "pt") as file:
        parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
        layout = {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in parts.items()}
        return file.metadata() or {}, layout


def _crc32(named: dict[str, Tensor]) -> int:
    """The checksum of all tensors, in the order of their names."""
    total = 0
    for name in sorted(named):
        flat = named[name].detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        total = zlib.crc32(flat.numpy().data, total)
    return total


def read_tensors(path: Path, remedy: str = "copy it again or train again") -> dict[str, Tensor]:
    """The tensors of a file written with a header. Raises ModelError where a byte of them is not what was written."""
    try:
        metadata, layout = read_layout(path)
        named = load_file(path)
        header = json.loads(metadata.get("mezzotint", "{}"))
    except (SafetensorError, OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is damaged or missing ({error}); {remedy}") from error
    if not isinstance(header, dict) or "crc32" not in header:
        warnings.warn(f"{path} has no checksum, so damage cannot be detected", stacklevel=2)
    elif is_broken(header, layout) or header["crc32"] != _crc32(named):
        raise ModelError(f"{path} is damaged: its checksum differs; {remedy}")
    return named
