"""Folders that are written whole or not at all."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mezzotint.disk.files import sync_folder
from mezzotint.errors import ConfigError


def check_new(path: Path) -> None:
    """Raises ConfigError where a file or a folder with anything in it is in the way."""
    if path.is_dir() and not any(path.iterdir()):
        return
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists already; delete it, or choose another place with -o")


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """A place for the files of a folder, which gets its name when all of them are written. Raises ConfigError, see `check_new`."""
    check_new(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        place.chmod(0o755)
        yield place
        if folder.is_dir():
            folder.rmdir()
        place.replace(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(place, ignore_errors=True)
