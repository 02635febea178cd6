"""Pictures on this machine: a folder, parquet files, or the digits in the package. Which files are pictures says `endings`, which are of a split `splits`."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from mezzotint.data.captions import beside
from mezzotint.data.cells import open_bytes
from mezzotint.data.endings import SUFFIXES, Listing, count, endings, few, is_table, listing, one_form, spoken
from mezzotint.data.splits import ALL, WORDS, pictures_of, split_of, split_place, tables_of
from mezzotint.data.tables import parquet
from mezzotint.data.undecoded import Keys, Undecoded
from mezzotint.errors import DataError


def digits(split: str | None) -> Undecoded:
    """The 1,797 handwritten digits of 8x8 grey pixels that come with the package (see DIGITS.md)."""
    if split not in (None, "train", ALL):
        raise DataError(f"digits has no split {split!r}; its only one is 'train'")
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    return Undecoded(
        count=len(images),
        open=lambda i: Image.fromarray(images[i]),
        where=lambda i: f"digit {i}",
        labels=labels.astype(np.int64),
        classes=[str(digit) for digit in range(10)],
    )


def pictures(path: Path, split: str | None, memory_limit: int, keys: Keys) -> Undecoded:
    """Whatever `path` is: a parquet file, a folder with parquet files in it, or else a folder of pictures.

    A single file is taken whatever the split. In folders, hidden files are ignored and the order is natural
    ("2.png" before "10.png") and the same on every system. Raises DataError where there is nothing to read.
    """
    if path.is_file():
        if not is_table(path):
            raise DataError(
                f"{spoken(path)} is neither a folder nor a parquet file; give one of these as --data"
            )
        return parquet([path], memory_limit, keys)
    there = listed(path)
    if there.tables:
        files, notes = _tables(there, path, split)
        found = parquet(files, memory_limit, keys)
    elif there.pictures:
        if keys.column is not None:
            raise DataError(
                f"{spoken(path)} is a folder of pictures and has no columns; leave data.column out"
            )
        if isinstance(keys.labels, str):
            raise DataError(
                f"{spoken(path)} is a folder of pictures and has no columns; its classes are its sub-folders: set "
                "data.labels=true"
            )
        files, notes = pictures_of(there.pictures, path, split)
        notes = [*there.notes, *notes]
        if isinstance(keys.captions, str):
            raise DataError(
                f"{spoken(path)} is a folder of pictures and has no columns; its captions are text files beside the pictures: "
                "set data.captions=true"
            )
        depth = class_depth(there, path, files, split)
        if depth is None and keys.labels is True:
            depth = _above_one_class(files, path)
        found = folder(files, depth)
        if keys.captions:
            texts, lacking = beside(files, path)
            notes = [note for note in notes if "data.captions" not in note] + lacking
            found = replace(found, captions=texts)
        if len(files) < len(there.pictures):  # one range for all splits
            everything = folder(there.pictures)
            found = replace(found, given_ranges=everything.ranges)
    else:
        more = f" ({there.notes[0]})" if there.notes else ""
        raise DataError(
            f"{spoken(path)} holds no pictures ({', '.join(SUFFIXES)}) and no parquet files{more}; check --data"
        )
    return replace(found, notes=[*notes, *found.notes])


def listed(path: Path, more: Sequence[str] = ()) -> Listing:
    """The files below a folder. more: endings of what counts as a picture, beside those of pictures. Raises DataError where there is none."""
    if not path.is_dir():
        here = "" if path.is_absolute() else f" in {spoken(Path.cwd())}"
        raise DataError(
            f"there is no folder or file {spoken(path)}{here}; give the place of your pictures as --data"
        )
    return listing(path, more)


def _tables(there: Listing, path: Path, split: str | None) -> tuple[Sequence[Path], list[str]]:
    files, notes = tables_of(there.tables, path, split)
    if there.pictures:
        notes.append(
            f"{count(len(there.pictures), 'picture file')} beside parquet files left out "
            f"({few(endings(there.pictures))}); to read them, give --data a folder with pictures only"
        )
    return files, [*there.notes, *notes]


def tables(path: Path, split: str | None) -> tuple[Sequence[Path], list[str]]:
    """The parquet files that `pictures` would read, and its notes. Raises DataError where there are none."""
    if path.is_file() and is_table(path):
        return [path], []
    there = listing(path) if path.is_dir() else None
    if there is None or not there.tables:
        raise DataError(
            f"{spoken(path)} holds no parquet files, and only these are streamed; leave data.stream out"
        )
    return _tables(there, path, split)


def _above_one_class(files: Sequence[Path], path: Path) -> int | None:
    """How many folders lie above the only class that there is: where all pictures lie in one sub-folder, and classes are insisted on.
    None elsewhere."""
    shared = Path(os.path.commonpath([file.parent for file in files]))
    alone = shared != path and shared.is_relative_to(path) and split_of(shared.name) not in WORDS.values()
    return len(shared.parts) - 1 if alone else None


def class_depth(there: Listing, path: Path, files: Sequence[Path], split: str | None) -> int | None:
    """How many folders lie above those of the classes, as it is in the split that is trained on: a test split with one
    class alone has it in the same place. None where the files themselves tell."""
    if split is None or split_of(split) == "train" or split == ALL:
        return None
    for guess in (None, "train"):
        try:
            trained = pictures_of(there.pictures, path, guess)[0]
        except DataError:
            continue
        places = {split_place(file, path) for file in (*trained, *files)}
        return _depth(trained) if len(places) == 1 and None not in places else None
    return None


def _depth(files: Sequence[Path]) -> int:
    """How many parts of their paths files share."""
    return len(Path(os.path.commonpath([file.parent for file in files])).parts)


def folder(files: Sequence[Path], depth: int | None = None) -> Undecoded:
    """Picture files; the sub-folder that each lies in is its class.

    Sub-folders are classes where there are two or more and every picture lies in one: a picture beside them
    makes the whole set unlabelled. depth: how many folders lie above the classes, where that is known.
    """
    depth = _depth(files) if depth is None else depth
    parts = [[one_form(part) for part in file.parts[depth:]] for file in files]
    above = sum(len(names) < 2 for names in parts)
    labelled = not above
    classes = list(dict.fromkeys(names[0] for names in parts)) if labelled else []
    number = {name: k for k, name in enumerate(classes)}
    why = ""
    if above and above < len(files):
        below = len({names[0] for names in parts if len(names) > 1})
        lie = "picture lies" if above == 1 else "pictures lie"
        why = (
            f"{above:,} {lie} in no folder of a class, beside {count(below, 'sub-folder')}; put every picture into "
            "the sub-folder of its class, or set data.labels=false"
        )
    notes = []
    written: dict[str, set[str]] = {}
    for file, names in zip(files, parts) if labelled else ():
        written.setdefault(names[0], set()).add(file.parts[depth])
    if same := [name for name, forms in written.items() if len(forms) > 1]:
        notes.append(f"folders whose names differ only in their Unicode form are one class: {few(same)}")
    return Undecoded(
        count=len(files),
        open=lambda i: open_bytes(files[i].read_bytes()),
        where=lambda i: spoken(files[i]),
        labels=np.array([number[names[0]] for names in parts], np.int64) if labelled else None,
        classes=classes,
        notes=notes,
        why=why,
    )
