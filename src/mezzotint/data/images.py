"""Sets of pictures, loaded by name or path: decoded once into memory, or on demand where they are large."""

import bisect
import difflib
import os
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from mezzotint.data import hub, local
from mezzotint.data.decode import WHITE, check_background, decode_to
from mezzotint.data.endings import FORMATS, one_form
from mezzotint.data.films import MIDDLE, film, window
from mezzotint.data.known import KNOWN, check_name, usual_size
from mezzotint.data.texts import CLASSES, named
from mezzotint.data.undecoded import Captions, Keys, Labels, Undecoded
from mezzotint.errors import DataError, MissingExtra

Decoded = TypeVar("Decoded")
THREADS = min(8, os.cpu_count() or 1)  # Pillow decodes outside the interpreter's lock
SPAN = 256  # pictures that a thread decodes at a time
WITHOUT = "without classes: "  # so begins the line that says why there are none
PROBE = 64  # pictures looked at to tell whether a large set is grey


class OnDemand:
    """Pictures that are decoded each time they are asked for, by a few threads; or of clips, whose size is (T, H, W), parts.

    A picture that cannot be read is found only at its turn. The next readable one of the same part of the set
    then takes its place, always the same one, and `skipped` has a line about it.
    """

    def __init__(self, source: Undecoded, size: tuple[int, ...], channels: int) -> None:
        self.source, self.size, self.channels = source, size, channels
        self.skipped: list[str] = []
        self._bad: set[int] = set()
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(THREADS)

    def __len__(self) -> int:
        return self.source.count

    def read(
        self, index: Tensor, part: Tensor | None = None, at: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Pictures uint8 (B, C, H, W), and the indices (B,) of those that were read.

        part: the numbers, ascending, that stand-ins are taken from, such as those that are trained on; default all.
        at: (B,) in [0, 1), of clips where in them the part begins; by default in the middle.
        """
        within: Sequence[int] | np.ndarray = range(len(self)) if part is None else part.numpy()
        places = [MIDDLE] * len(index) if at is None else at.tolist()
        arrays, used = zip(*self._pool.map(lambda i, u: self._read(i, within, u), index.tolist(), places))
        return torch.from_numpy(np.stack(arrays)), torch.tensor(used)

    def _read(self, i: int, part: Sequence[int] | np.ndarray, at: float) -> tuple[np.ndarray, int]:
        place = bisect.bisect_left(part, i)
        for j in (int(part[(place + step) % len(part)]) for step in range(len(part))):
            if j in self._bad:
                continue
            picture = try_decode(self.source, j, self.size, self.channels, at=at)
            if not isinstance(picture, str):
                return picture, j
            with self._lock:
                if j not in self._bad:
                    self._bad.add(j)
                    self.skipped.append(picture)
                    warnings.warn(f"skipped {picture}", stacklevel=2)
        raise DataError(f"none of {len(part)} pictures can be read any more: {self.skipped[0]}")


@dataclass
class Pictures:
    """A set of pictures with random access.

    images: uint8 (N, C, H, W), all decoded, or decoded on demand.
    labels: the class of each picture, (N,) int64, or None. classes: their names, in the order of the labels.
    size: (H, W). skipped: a line for every picture that was left out (on demand: so far): which, and why. notes: lines
    on what was guessed or left out on the way from the files to these.
    """

    images: Tensor | OnDemand
    labels: Tensor | None
    classes: list[str]
    channels: int
    size: tuple[int, int]
    skipped: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    captions: Sequence[str] | None = None  # of each picture

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, index: Tensor, part: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """The pictures at `index` (B,) int64 as uint8 (B, C, H, W), and their labels (B,).

        part: on demand, the numbers (M,), ascending, that may stand in for those that cannot be read; default all.
        """
        images, used = self.read(index, part)
        return images, None if self.labels is None else self.labels[used]

    def read(self, index: Tensor, part: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The pictures alone, and the numbers (B,) of those that were read."""
        if isinstance(self.images, OnDemand):
            return self.images.read(index, part)
        return self.images[index], index


def load_pictures(
    name: str,
    path: Path | None = None,
    *,
    split: str | None = None,
    column: str | None = None,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    limit: int | None = None,
    only: str | None = None,
    labels: Labels = None,
    captions: Captions = None,
    background: str = WHITE,
    memory_limit: int = 2 * 2**30,
) -> Pictures:
    """Load a set of pictures.

    name: "digits" (bundled), a known set ("mnist", "cifar10", ...), an id "owner/set" of the dataset hub, or
        "folder" or "parquet" for what lies at `path`. Where `path` is given, it is read instead of the hub.
    split: "train", "test", "validation", any that the set has, or "all"; default: what is to be trained on, guessed where
        folders do not tell, and refused where a wrong guess would train on test pictures.
    column: of a table, the pictures; default: what the hub says, or what is called image, img or picture.
    size: (height, width), or one number for both; default the set's own, 64 for sets that have none.
    channels: 1 or 3; default 1 if all pictures are grey (on demand: all of 64 that are looked at), else 3.
    limit: use so many pictures, evenly spread over the set.
    only: use the pictures of one class alone, without labels.
    labels: True insists on classes, False ignores them; of a table, the column that has them; default: used if there are
        any. Rows without a class are left out where classes are insisted on, or else make the whole set unlabelled.
    captions: True reads them: text files beside the pictures of a folder, or the column caption or text of a table; or the column;
        "classes": the names of the classes are the captions, and classes only where labels asks for them.
    background: what transparent parts are laid over, a colour as Pillow reads it: "white", "#202020".
    memory_limit: sets that would take more bytes than this when decoded are decoded on demand.

    Raises DataError where there is nothing to use, and MissingExtra where the extra [hub] is needed.
    """
    height, width = usual_size(name, size)
    if height < 1 or width < 1:
        raise ValueError(f"size={size} must be 1 or more")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels={channels} must be 1 (grey) or 3 (RGB)")
    if limit is not None and limit < 1:
        raise ValueError(f"limit={limit} must be 1 or more")

    check_background(background)
    by_class = captions == CLASSES
    written = None if by_class else captions
    source = find(name, path, split, memory_limit, Keys(column, labels, written))
    source = replace(source, background=background)
    source, only = narrowed(source, name, only, limit)
    if by_class:
        if source.labels is None:
            why = source.why or "put its pictures into one sub-folder per class"
            raise DataError(f"{name} has no classes, whose names could be captions; {why}")
        names = named(source.classes)
        source = replace(source, captions=[names[k] for k in source.labels.tolist()])
    source = labelled(source, name, False if by_class and not labels else labels, only, split)

    ranges = source.ranges
    images: Tensor | OnDemand
    looked_at, transparent = min(source.count, PROBE), list[int]()
    found = channels or _probe(source, (height, width), transparent)
    if source.count * found * height * width > memory_limit:
        images = OnDemand(source, (height, width), found)
        kept, skipped = np.arange(source.count), images.skipped
        if channels:
            _probe(source, (height, width), transparent)
        laid = laid_over(background, len(transparent), f"{looked_at:,} pictures looked at")
    else:
        transparent.clear()
        images, kept, skipped = _decode_all(
            source, (height, width), 3 if found == 3 else channels, transparent
        )
        found = images.shape[1]
        laid = laid_over(background, len(transparent), f"{len(kept):,} pictures")
    return Pictures(
        images=images,
        labels=None if source.labels is None else torch.from_numpy(source.labels[kept]),
        classes=list(source.classes),
        channels=found,
        size=(height, width),
        skipped=skipped,
        notes=[*told(source), *ranges.notes, *laid],
        captions=None if source.captions is None else [source.captions[i] for i in kept.tolist()],
    )


def narrowed(
    source: Undecoded, name: str, only: str | None, limit: int | None
) -> tuple[Undecoded, str | None]:
    """The pictures of one class alone, without labels, and so many of them, see `load_pictures`; and that class."""
    known = KNOWN.get(name)
    if only is None and known and source.labels is not None:  # a folder of its own may hold that class alone
        only = known.only
    if only is not None:
        source = source.select(_one_class(source, only, name))
        source = replace(source, labels=None, classes=(), why="")
    if limit is not None and limit < source.count:
        source = source.select(np.arange(limit) * source.count // limit)
    return source, only


def labelled(source: Undecoded, name: str, labels: Labels, only: str | None, split: str | None) -> Undecoded:
    """With classes only where they are wanted. Raises DataError where these or any pictures are missing."""
    if labels is False:
        source = replace(source, labels=None, classes=(), why="")
    if labels and source.labels is None and only is None:
        why = source.why or "put its pictures into one sub-folder per class, or train without labels"
        raise DataError(f"{name} has no classes; {why}")
    if not source.count:
        raise DataError(f"{name} has no pictures in its split {split or 'train'!r}")
    return source


def laid_over(background: str, transparent: int, pictures: str) -> list[str]:
    """The note that so many of some pictures are not as they were; none where there are none."""
    return (
        [f"{transparent:,} of {pictures} with transparent parts, which are laid over {background}"]
        if transparent
        else []
    )


def told(source: Undecoded) -> Sequence[str]:
    """The notes of a set, the reason why it has no classes among them."""
    return [*source.notes, *([f"{WITHOUT}{source.why}"] if source.why else [])]


def find(name: str, path: Path | None, split: str | None, memory_limit: int, keys: Keys) -> Undecoded:
    """The pictures of a set, not decoded yet; arguments as of `load_pictures`."""
    check_name(name, path)
    if keys.captions and name == "digits":
        raise DataError("digits have no captions; leave data.captions out")
    if name == "digits":
        return local.digits(split)
    if path is not None:
        return local.pictures(Path(path).expanduser(), split, memory_limit, keys)
    return hub.pictures(KNOWN[name].hub if name in KNOWN else name, split or "train", keys)


def _one_class(source: Undecoded, only: str, name: str) -> np.ndarray:
    """Indices of the pictures of the class called `only`, in upper or lower case."""
    wanted = one_form(only)
    folded = [label.casefold() for label in source.classes]
    if source.labels is None or wanted.casefold() not in folded:
        close = difflib.get_close_matches(wanted.casefold(), folded, n=1)
        names = ", ".join(source.classes) or "none"
        hint = f"did you mean {close[0]!r}?" if close else f"its classes are: {names}"
        raise DataError(f"{name} has no class {only!r}; {hint}")
    exact = wanted in source.classes  # "A" and "a" may be two classes
    number = source.classes.index(wanted) if exact else folded.index(wanted.casefold())
    return np.flatnonzero(source.labels == number)


def try_decode(
    source: Undecoded,
    i: int,
    size: tuple[int, ...],
    channels: int | None,
    transparent: list[int] | None = None,
    at: float = MIDDLE,
) -> np.ndarray | str:
    """Picture i as uint8 (C, H, W), or a line that says which it is and why it cannot be read. transparent: a list that i
    is added to if parts of the picture are transparent. For a size (T, H, W), T frames of clip i, (C, T, H, W), from the place `at` of all
    places in it that leave room for them, 0 being its beginning."""
    found = [] if transparent is None else transparent

    def decoded() -> np.ndarray:
        if len(size) == 3:
            one = film(source.open(i) if source.cell is None else source.cell(i))
            return window(one, size, channels, source.stride, at, source.background, lambda: found.append(i))
        image, (height, width) = source.open(i), size
        pixels, most = image.width * image.height, Image.MAX_IMAGE_PIXELS
        if most and pixels > most:
            warnings.warn(
                f"{source.where(i)} has {pixels / 1e6:,.0f} million pixels, and is decoded anyway",
                stacklevel=2,
            )
        return decode_to(
            image, (height, width), channels, source.ranges, lambda: found.append(i), source.background
        )

    return attempt(source, i, decoded)


def attempt(source: Undecoded, i: int, work: Callable[[], Decoded]) -> Decoded | str:
    """What the work on picture i gives, or a line that says which it is and why it cannot be read."""
    try:
        return work()
    except MissingExtra:
        raise
    except UnidentifiedImageError:
        return f"{source.where(i)}: not a {', '.join(FORMATS)} picture, or a damaged one"
    except Exception as error:  # Pillow raises nearly anything for a damaged file, SyntaxError included
        return f"{source.where(i)}: {error}"


def _decode_all(
    source: Undecoded, size: tuple[int, int], channels: int | None, transparent: list[int]
) -> tuple[Tensor, np.ndarray, list[str]]:
    """All readable pictures, uint8 (N, C, H, W), their indices (N,), and a line about each of the others; see
    `try_decode`."""

    def work(start: int) -> list[np.ndarray | str]:
        stop = min(start + SPAN, source.count)
        return [try_decode(source, i, size, channels, transparent) for i in range(start, stop)]

    images = np.empty((source.count, channels or 1, *size), np.uint8)
    kept: list[int] = []
    skipped: list[str] = []
    with ThreadPoolExecutor(THREADS) as pool:
        spans = pool.map(work, range(0, source.count, SPAN))
        for i, picture in enumerate(picture for span in spans for picture in span):
            if isinstance(picture, str):
                skipped.append(picture)
                continue
            if len(picture) > images.shape[1]:  # the first picture in colour
                images = images.repeat(3, axis=1)
            images[len(kept)] = picture
            kept.append(i)
    if not kept:
        raise DataError(f"none of the {source.count} pictures can be read, the first is {skipped[0]}")
    return torch.from_numpy(images[: len(kept)]), np.array(kept), skipped


def _probe(source: Undecoded, size: tuple[int, int], transparent: list[int]) -> int:
    """1 if all readable ones of some pictures, evenly spread over the set, are grey, else 3; see `try_decode`."""
    index = np.unique(np.linspace(0, source.count - 1, PROBE).astype(int))
    pictures = [try_decode(source, int(i), size, None, transparent) for i in index]
    channels = [len(picture) for picture in pictures if not isinstance(picture, str)]
    if not channels:
        raise DataError(f"none of {len(index)} pictures of the set can be read, the first is {pictures[0]}")
    return max(channels)
