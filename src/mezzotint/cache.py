"""The cache between runs: trained judges, features of reference data, codes and texts, under hashes of all that they
depend on."""

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor


def folder() -> Path:
    """The folder of the cache: $MEZZOTINT_CACHE, or mezzotint in the user's cache directory. All of it may be deleted."""
    if path := os.environ.get("MEZZOTINT_CACHE"):
        return Path(path).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mezzotint"


def digest(*parts: Tensor | str | None) -> str:
    """16 hexadecimal digits of SHA-256 that stand for tensors (dtype, shape and values) and words, in this order."""
    sha = hashlib.sha256()
    for part in parts:
        if isinstance(part, Tensor):
            part = part.detach().cpu().contiguous()
            sha.update(f"{part.dtype} {tuple(part.shape)};".encode())
            sha.update(part.reshape(-1).view(torch.uint8).numpy().data)
        else:
            sha.update(f"{part!r};".encode())
    return sha.hexdigest()[:16]


def load(name: str) -> dict[str, Tensor] | None:
    """The tensors kept under a name, or None where there are none that can be read."""
    try:
        return load_file(folder() / f"{name}.safetensors")
    except (OSError, SafetensorError):
        return None


def keep(name: str, tensors: dict[str, Tensor]) -> None:
    """Keeps tensors under a name: a whole file or none (temporary name, rename). A full or read-only disk keeps none."""
    ready = {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    path = folder() / f"{name}.safetensors"
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(save(ready))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
