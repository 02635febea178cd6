"""How files are written and read: whole or not at all, with checksums, without pickle."""

import errno
import json
import os
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


def write_json(path: Path, content: Any) -> None:
    write(path, (json.dumps(content, indent=1) + "\n").encode())


def tensors(named: dict[str, Tensor], header: dict[str, Any] | None = None) -> bytes:
    """Safetensors bytes. The header is one JSON string under one key, since several keys have no fixed order; it is
    given the checksum of the tensors, since the format has none."""
    ready = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in named.items()}
    if header is None:
        return save(ready)
    return save(ready, {"mezzotint": json.dumps({**header, "crc32": _crc32(ready)})})


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
        named = load_file(path)
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get("mezzotint", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise ModelError(f"{path} is damaged or missing ({error}); {remedy}") from error
    if "crc32" in header and header["crc32"] != _crc32(named):
        raise ModelError(f"{path} is damaged: its checksum differs; {remedy}")
    return named
