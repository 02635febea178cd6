"""Where a command writes what it made."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mezzotint.errors import ConfigError, RunError


def reserve(path: Path, *, folder: bool = False) -> None:
    """Makes sure, before the work, that a file (or a folder of files) can be written. Raises ConfigError."""
    place = path if folder else path.parent
    try:
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be written ({error.strerror}); choose another place with -o"
        ) from error
    if path.is_dir() and not folder:
        raise ConfigError(f"{path} is a folder; give -o the name of a file")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what goes wrong on the disk into a RunError."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path} cannot be written ({error}); choose another place with -o") from error
