"""The picture sets that go by a short name, and what a name can be."""

import difflib
from pathlib import Path
from typing import NamedTuple

from mezzotint.errors import DataError


class Known(NamedTuple):
    """A set with a short name: its id on the dataset hub ("": it is bundled), and what is usual for it."""

    hub: str
    size: int  # height and width in pixels
    flip: bool = False  # whether mirrored pictures are pictures of the same set
    only: str | None = None  # the one class that is used


# Flips are off where they would make what the set does not have: mirrored digits, and mirrored clothes
# (shoes all point left) and objects of Caltech-101 (its authors turned aeroplanes and motorbikes to face
# one way).
KNOWN = {
    "digits": Known("", 8),
    "mnist": Known("ylecun/mnist", 28),
    "fashion_mnist": Known("zalando-datasets/fashion_mnist", 28),
    "cifar10": Known("uoft-cs/cifar10", 32, flip=True),
    "flowers": Known("nelorth/oxford-flowers", 64, flip=True),
    "caltech101": Known("flwrlabs/caltech101", 64),
    "airplanes": Known("flwrlabs/caltech101", 64, only="airplanes"),
}


def usual_size(name: str, size: int | tuple[int, int] | None) -> tuple[int, int]:
    """(height, width) of a set's pictures: what was asked for, else the set's own, 64 for sets unknown to us."""
    if size is None:
        size = KNOWN[name].size if name in KNOWN else 64
    return (size, size) if isinstance(size, int) else size


def check_name(name: str, path: Path | None) -> None:
    """Whether a set of this name, with or without a path, can be looked for. Raises DataError where not."""
    if name == "digits" and path is not None:
        raise DataError(
            "digits come with the package; leave out --data, or use the name 'folder' to read your own"
        )
    if name in ("folder", "parquet") and path is None:
        raise DataError(f"{name} needs the place of your pictures; add --data PATH")
    if name not in KNOWN and name not in ("folder", "parquet") and "/" not in name:
        names = [*KNOWN, "folder", "parquet"]
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "or an id 'owner/set' of the dataset hub"
        raise DataError(f"there is no data set {name!r}; the names are {', '.join(names)}; {hint}")
    if path is None and "/" in name and Path(name).exists():
        raise DataError(f"{name} is a folder on this disk; use the name 'folder' and --data {name}")


def flips_by_default(name: str) -> bool:
    """Whether training mirrors a set's pictures unless told otherwise; never for sets unknown to us."""
    return name in KNOWN and KNOWN[name].flip
