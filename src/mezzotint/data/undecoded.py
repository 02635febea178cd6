"""Where pictures come from: a folder, parquet files, the dataset hub, or the digits in the package.

A `Undecoded` is a set of pictures that are not decoded yet, with their classes, and what was guessed or left out on the
way there. Which files are pictures says `endings`, which are of a split `splits`, which columns count `columns`, and
`classes` numbers the labels. The libraries that read parquet and the hub (`pyarrow`, `datasets`) come with the extra
[hub] and are imported when they are needed.
"""

import bisect
import importlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mezzotint.data.captions import beside, column_of, of_column
from mezzotint.data.classes import FileLabels, code_labels, refuse_many
from mezzotint.data.columns import choose_columns, schema_of
from mezzotint.data.decode import WHITE
from mezzotint.data.endings import (
    FORMATS,
    SUFFIXES,
    Listing,
    count,
    endings,
    few,
    is_table,
    listing,
    one_form,
    spoken,
)
from mezzotint.data.ranges import Ranges
from mezzotint.data.splits import ALL, WORDS, pictures_of, split_of, split_place, tables_of
from mezzotint.errors import DataError, MissingExtra

HUB_TIMEOUT = 10.0  # seconds to wait for the hub's first answer
Captions = bool | str | None  # whether to read captions, or the column that has them
Labels = (
    bool | str | None
)  # whether there must be classes, or the column that has them; None: where there are any


@dataclass(frozen=True)
class Undecoded:
    """A set of pictures that are opened on demand.

    open: index -> Pillow image, or a `Film` of a set of clips; raises whatever is wrong with that picture; threads may call it at once.
    where: index -> words that name the picture in a message.
    labels: the class of each picture, (N,) int64, or None. classes: their names, each once, in the order of the labels.
    notes: lines on what was guessed or left out, "what; what to do about it" where something can be done.
    why: why there are no classes, in the same form; "" where none were to be expected.
    captions: of each picture, "" where it has none; None where they are not wanted. background: what transparent parts are laid over.
    given_ranges: of pictures whose format does not say what white is: of the whole set, whichever of it are selected.
    cell: index -> what a table holds of it, encoded; None where there is no table. stride: of clips, how far apart frames are taken.
    """

    count: int
    open: Callable[[int], Any]
    where: Callable[[int], str]
    labels: np.ndarray | None = None
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()
    why: str = ""
    given_ranges: Ranges | None = None
    captions: Sequence[str] | None = None
    background: str = WHITE
    cell: Callable[[int], Any] | None = None
    stride: int = 1

    @cached_property
    def ranges(self) -> Ranges:
        return self.given_ranges or Ranges(self.count, self.open)

    def select(self, index: np.ndarray) -> "Undecoded":
        """The pictures at `index` (M,), in that order."""
        return replace(
            self,
            count=len(index),
            open=lambda i: self.open(int(index[i])),
            where=lambda i: self.where(int(index[i])),
            labels=None if self.labels is None else self.labels[index],
            given_ranges=self.ranges,
            captions=None if self.captions is None else [self.captions[int(i)] for i in index],
            cell=None if self.cell is None else lambda i: self.cell(int(index[i])),  # type: ignore[misc]
        )


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


def local(
    path: Path,
    split: str | None,
    memory_limit: int,
    *,
    column: str | None = None,
    labels: Labels = None,
    captions: Captions = None,
) -> Undecoded:
    """Whatever `path` is: a parquet file, a folder with parquet files in it, or else a folder of pictures.

    A single file is taken whatever the split. In folders, hidden files are ignored and the order is natural
    ("2.png" before "10.png") and the same on every system. Raises DataError where there is nothing to read.
    """
    if path.is_file():
        if not is_table(path):
            raise DataError(
                f"{spoken(path)} is neither a folder nor a parquet file; point --data at one of these"
            )
        return parquet([path], memory_limit, column, labels, captions)
    there = listed(path)
    if there.tables:
        files, notes = _tables(there, path, split)
        found = parquet(files, memory_limit, column, labels, captions)
    elif there.pictures:
        if column is not None:
            raise DataError(
                f"{spoken(path)} is a folder of pictures and has no columns; leave data.column out"
            )
        if isinstance(labels, str):
            raise DataError(
                f"{spoken(path)} is a folder of pictures and has no columns; its classes are its sub-folders: set "
                "data.labels=true"
            )
        files, notes = pictures_of(there.pictures, path, split)
        notes = [*there.notes, *notes]
        if isinstance(captions, str):
            raise DataError(
                f"{spoken(path)} is a folder of pictures and has no columns; its captions are text files beside the pictures: "
                "set data.captions=true"
            )
        depth = class_depth(there, path, files, split)
        if depth is None and labels is True:
            depth = _above_one_class(files, path)
        found = folder(files, depth)
        if captions:
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
        raise DataError(f"there is no folder or file {spoken(path)}{here}; point --data at your pictures")
    return listing(path, more)


def _tables(there: Listing, path: Path, split: str | None) -> tuple[Sequence[Path], list[str]]:
    files, notes = tables_of(there.tables, path, split)
    if there.pictures:
        notes.append(
            f"{count(len(there.pictures), 'picture file')} beside parquet files left out "
            f"({few(endings(there.pictures))}); to read them, point --data at a folder of pictures alone"
        )
    return files, [*there.notes, *notes]


def local_tables(path: Path, split: str | None) -> tuple[Sequence[Path], list[str]]:
    """The parquet files that `local` would read, and its notes. Raises DataError where there are none."""
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
        notes.append(f"folders whose names differ in their Unicode form alone are one class: {few(same)}")
    return Undecoded(
        count=len(files),
        open=lambda i: open_bytes(files[i].read_bytes()),
        where=lambda i: spoken(files[i]),
        labels=np.array([number[names[0]] for names in parts], np.int64) if labelled else None,
        classes=classes,
        notes=notes,
        why=why,
    )


def parquet(
    files: Sequence[Path],
    memory_limit: int,
    column: str | None = None,
    labels: Labels = None,
    captions: Captions = None,
) -> Undecoded:
    """Parquet files in the layout of the dataset hub, or with a binary column of encoded pictures.

    Up to `memory_limit` bytes of files are held in memory; more are memory-mapped, from an uncompressed
    copy that `datasets` keeps in its cache.
    """
    reader = extra("pyarrow.parquet")
    name = spoken(files[0]) if len(files) == 1 else spoken(files[0].parent)
    if captions is True:
        captions = column_of([reader.read_schema(file).names for file in files])
    mapped = sum(file.stat().st_size for file in files) > memory_limit

    def peek(key: str) -> bytes | None:
        table = reader.ParquetFile(files[0]).read_row_group(0, columns=[key], use_threads=False)
        return encoded_in(table.column(key)[0].as_py()) if len(table) else None

    try:
        schemas = [reader.read_schema(file) for file in files]
        known = [schema_of(schema, spoken(file)) for schema, file in zip(schemas, files)]
        chosen = choose_columns(known, column, labels, peek)
        if mapped:
            alike = all(schema.equals(schemas[0], check_metadata=True) for schema in schemas)
            parts = [files] if alike else [[file] for file in files]
            load = extra("datasets").Dataset.from_parquet
            tables = [load([str(file) for file in part]).data.table for part in parts]
            known = [known[0]] if alike else known
        else:
            wanted = {chosen.image, chosen.label, captions}
            tables = [
                reader.ParquetFile(file).read(
                    columns=[key for key in schema.names if key in wanted], use_threads=False
                )
                for file, schema in zip(files, schemas)
            ]
    except (DataError, MissingExtra):
        raise
    except Exception as error:  # arrow, the file system, and `datasets` have a dozen types for a damaged file
        raise DataError(f"cannot read {name} as parquet: {line(error)}") from error
    names = [name] if len(tables) == 1 else [spoken(file) for file in files]
    texts, lacking = of_column(tables, captions, names) if captions else (None, [])
    notes = [*chosen.notes, *lacking]
    return _joined(tables, known, chosen.image, chosen.label, names, labels, notes, chosen.why, texts)


def _joined(
    tables: Sequence[Any],
    schemas: Sequence[Any],
    image: str,
    label: str | None,
    names: Sequence[str],
    labels: Labels,
    notes: Sequence[str],
    why: str,
    captions: Sequence[str] | None = None,
) -> Undecoded:
    """The pictures of arrow tables, one after the other; without labels if any of them is missing or below 0."""
    pictures = [table.column(image) for table in tables]
    starts = list(accumulate(map(len, pictures), initial=0))
    total = starts[-1]

    def place(i: int) -> tuple[int, int]:
        table = bisect.bisect_right(starts, i) - 1
        return table, i - starts[table]

    def where(i: int) -> str:
        table, row = place(i)
        return f"row {row} of {names[table]}"

    def cell(i: int) -> Any:
        table, row = place(i)
        return pictures[table][row].as_py()

    source = Undecoded(
        total,
        lambda i: open_cell(cell(i)),
        where,
        notes=notes,
        why=why,
        captions=captions,
        cell=lambda i: frames_in(cell(i)),
    )
    if label is None or not total:
        return source
    cells = [table.column(label) if label in table.column_names else None for table in tables]
    found = [
        FileLabels(name, present(column.unique().to_pylist()) if column else [], schema.names.get(label, ()))
        for name, column, schema in zip(names, cells, schemas)
    ]
    coding = code_labels(found, keep_negative=isinstance(labels, str))
    if not any(file.names for file in found):
        refuse_many(len(coding.classes), total, label, names[0], asked=isinstance(labels, str))
    numbers = [
        [codes.get(value, -1) for value in column.to_pylist()] if column else [-1] * len(part)
        for codes, column, part in zip(coding.codes, cells, pictures)
    ]
    numbered = np.concatenate([np.array(part, np.int64) for part in numbers])
    notes = [*notes, *coding.notes]
    missing = int((numbered < 0).sum())
    if not missing:
        return replace(source, labels=numbered, classes=coding.classes, notes=notes)
    text = (
        f"{missing:,} of {total:,} rows {'has' if missing == 1 else 'have'} no class in the column {label!r}"
    )
    if without := [name for name, part in zip(names, numbers) if part and max(part) < 0 and missing < total]:
        text += f", among them all of {few(without)}"
    if missing == total or not labels:
        remedy = "" if missing == total else f"; to leave these rows out, set data.labels={label}"
        return replace(source, notes=notes, why=text + remedy)
    kept = replace(source, labels=numbered, classes=coding.classes, notes=[*notes, f"left out: {text}"])
    return kept.select(np.flatnonzero(numbered >= 0))


def present(values: Sequence[Any]) -> list[Any]:
    """Without what is missing: null, and what is no number."""
    return [value for value in values if value is not None and value == value]


def hub(
    name: str, split: str, column: str | None = None, labels: Labels = None, captions: Captions = None
) -> Undecoded:
    """A set of the dataset hub, by its id "owner/set": downloaded once, then read from the cache.

    Where the hub does not answer, a cached copy is used if there is one; otherwise it is a DataError at once.
    """
    with _asking_hub(name) as datasets:
        dataset = datasets.load_dataset(name, split=split)
    table = dataset.data.table
    schema = schema_of(dataset.features.arrow_schema, name)
    chosen = choose_columns(
        [schema], column, labels, lambda key: encoded_in(table.column(key)[0].as_py()) if len(table) else None
    )
    if captions is True:
        captions = "caption" if "caption" in table.column_names else "text"
    texts, lacking = of_column([table], captions, [name]) if captions else (None, [])
    notes = [*chosen.notes, *lacking]
    return _joined([table], [schema], chosen.image, chosen.label, [name], labels, notes, chosen.why, texts)


def hub_tables(name: str, split: str) -> list[str]:
    """Addresses (hf://...@commit/...) of the parquet files of a split of a set of the hub; nothing else is fetched.

    Where the set itself is kept in another format, they are those that the hub has converted it to.
    """
    with _asking_hub(name) as datasets:
        builder = datasets.load_dataset_builder(name)
        if builder.name != "parquet":
            builder = datasets.load_dataset_builder(name, revision="refs/convert/parquet")
        files = builder.config.data_files or {}
        if split not in files:
            raise ValueError(f"Unknown split {split!r}. Should be one of {sorted(map(str, files))}.")
        return [str(file) for file in files[split]]


@contextmanager
def _asking_hub(name: str) -> Iterator[Any]:
    """The library `datasets`, offline at once where the hub does not answer, with its errors as DataError."""
    datasets, client = extra("datasets"), extra("huggingface_hub")
    offline = datasets.config.HF_HUB_OFFLINE
    try:
        if not offline:
            client.HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except (client.utils.RepositoryNotFoundError, client.utils.HFValidationError) as error:
        raise DataError(f"the hub has no public data set {name!r}; check its name") from error
    except Exception:  # no network, a proxy, a busy hub: each library below has types of its own for it
        datasets.config.HF_HUB_OFFLINE = True  # spares load_dataset its half minute of retries
    try:
        yield datasets
    except ValueError as error:  # an unknown split, or several configurations
        raise DataError(f"{name}: {line(error)}") from error
    except Exception as error:
        raise DataError(
            f"cannot get {name} from the dataset hub ({line(error)}); "
            "download it elsewhere and point --data at a folder of its pictures or parquet files"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline


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
