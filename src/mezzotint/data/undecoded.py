"""Where pictures come from: a folder, parquet files, the dataset hub, or the digits in the package.

A `Undecoded` is a set of pictures that are not decoded yet. The libraries that read parquet and the hub
(`pyarrow`, `datasets`) come with the extra [hub] and are imported when they are needed.
"""

import importlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mezzotint.errors import DataError, MissingExtra

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")  # no others: some of Pillow's run programs
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")
SPLITS = {
    "train": ("train", "training"),
    "test": ("test", "testing"),
    "validation": ("validation", "valid", "val", "dev"),
}
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")
HUB_TIMEOUT = 10.0  # seconds to wait for the hub's first answer


@dataclass(frozen=True)
class Undecoded:
    """A set of pictures that are opened on demand.

    open: index -> Pillow image; raises whatever is wrong with that picture; threads may call it at once.
    where: index -> words that name the picture in a message.
    labels: the class of each picture, (N,) int64, or None. classes: their names, in the order of the labels.
    """

    count: int
    open: Callable[[int], Image.Image]
    where: Callable[[int], str]
    labels: np.ndarray | None = None
    classes: Sequence[str] = ()

    def select(self, index: np.ndarray) -> "Undecoded":
        """The pictures at `index` (M,), in that order."""
        return replace(
            self,
            count=len(index),
            open=lambda i: self.open(int(index[i])),
            where=lambda i: self.where(int(index[i])),
            labels=None if self.labels is None else self.labels[index],
        )


def digits(split: str) -> Undecoded:
    """The 1,797 handwritten digits of 8x8 grey pixels that come with the package (see DIGITS.md)."""
    if split != "train":
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


def local(path: Path, split: str, memory_limit: int) -> Undecoded:
    """Whatever `path` is: a parquet file, a folder with parquet files in it, or else a folder of pictures.

    A single file is taken whatever the split. In folders, hidden files are ignored and the order is natural
    ("2.png" before "10.png") and the same on every system. Raises DataError where there is nothing to read.
    """
    if path.is_file():
        if path.suffix.lower() != ".parquet":
            raise DataError(f"{path} is neither a folder nor a parquet file; point --data at one of these")
        return parquet([path], memory_limit)
    if not path.is_dir():
        raise DataError(f"there is no folder or file {path}; point --data at your pictures")
    files = _listing(path)
    if tables := [file for file in files if file.suffix.lower() == ".parquet"]:
        return parquet(_parquet_split(tables, path, split), memory_limit)
    if pictures := [file for file in files if file.suffix.lower() in SUFFIXES]:
        return folder(_folder_split(pictures, path, split))
    raise DataError(f"{path} holds no pictures ({', '.join(SUFFIXES)}) and no parquet files; check --data")


def local_tables(path: Path, split: str) -> Sequence[Path]:
    """The parquet files that `local` would read. Raises DataError where there are none."""
    if path.is_file() and path.suffix.lower() == ".parquet":
        return [path]
    tables = [file for file in _listing(path) if file.suffix.lower() == ".parquet"] if path.is_dir() else []
    if not tables:
        raise DataError(f"{path} holds no parquet files, and only these are streamed; leave data.stream out")
    return _parquet_split(tables, path, split)


def folder(files: Sequence[Path]) -> Undecoded:
    """Picture files; the sub-folder that each lies in is its class.

    Sub-folders are classes where there are two or more and every picture lies in one: a picture beside them
    makes the whole set unlabelled.
    """
    root = os.path.commonpath([file.parent for file in files])
    parts = [file.relative_to(root).parts for file in files]
    labelled = all(len(names) > 1 for names in parts)
    classes = list(dict.fromkeys(names[0] for names in parts)) if labelled else []
    number = {name: k for k, name in enumerate(classes)}
    return Undecoded(
        count=len(files),
        open=lambda i: open_bytes(files[i].read_bytes()),
        where=lambda i: str(files[i]),
        labels=np.array([number[names[0]] for names in parts], np.int64) if labelled else None,
        classes=classes,
    )


def parquet(files: Sequence[Path], memory_limit: int) -> Undecoded:
    """Parquet files in the layout of the dataset hub, or with a binary column of encoded pictures.

    Up to `memory_limit` bytes of files are held in memory; more are memory-mapped, from an uncompressed
    copy that `datasets` keeps in its cache.
    """
    reader = extra("pyarrow.parquet")
    name = str(files[0]) if len(files) == 1 else str(files[0].parent)
    try:
        image, label, classes = columns(reader.read_schema(files[0]), name)
        if sum(file.stat().st_size for file in files) > memory_limit:
            dataset = extra("datasets").Dataset.from_parquet([str(file) for file in files])
            return _table(dataset.data.table, image, label, classes, name)
        wanted = [image] if label is None else [image, label]
        tables = [reader.ParquetFile(file).read(columns=wanted) for file in files]
        table = extra("pyarrow").concat_tables(tables)
    except (DataError, MissingExtra):
        raise
    except Exception as error:  # arrow, the file system, and `datasets` have a dozen types for a damaged file
        raise DataError(f"cannot read {name} as parquet: {line(error)}") from error
    return _table(table, image, label, classes, name)


def hub(name: str, split: str) -> Undecoded:
    """A set of the dataset hub, by its id "owner/set": downloaded once, then read from the cache.

    Where the hub does not answer, a cached copy is used if there is one; otherwise it is a DataError at once.
    """
    with _asking_hub(name) as datasets:
        dataset = datasets.load_dataset(name, split=split)
    return _table(dataset.data.table, *columns(dataset.features.arrow_schema, name), name)


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


def _listing(path: Path) -> list[Path]:
    """All files below a folder that are not hidden, in natural order."""
    try:
        return sorted(_walk(path, set()), key=lambda file: [_natural(part) for part in file.parts])
    except OSError as error:
        raise DataError(f"cannot list {path}: {error}") from error


def _walk(folder: Path, seen: set[tuple[int, int]]) -> Iterator[Path]:
    """All files below a folder that are not hidden; links are followed, but no folder is entered twice."""
    status = folder.stat()
    if (status.st_dev, status.st_ino) in seen:
        return
    seen.add((status.st_dev, status.st_ino))
    for entry in sorted(folder.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, seen)
        else:
            yield entry


def _natural(name: str) -> tuple[list[str | int], str]:
    """A sort key in which "2" comes before "10", and case matters last."""
    pieces = re.split("([0-9]+)", name.casefold())
    return [int(piece) if k % 2 else piece for k, piece in enumerate(pieces)], name


def open_cell(value: Any) -> Image.Image:
    """The picture in a cell of a table: encoded, or as the hub has it, with its bytes or the path of its file."""
    if isinstance(value, dict):
        path, value = value.get("path"), value.get("bytes")
        if value is None and path is not None:
            value = Path(path).read_bytes()
    return open_bytes(value or b"")


def _parquet_split(files: Sequence[Path], root: Path, split: str) -> Sequence[Path]:
    """The files with the split as a word in their name or folder; if none names any, all are "train"."""
    words = {file: set(re.findall("[a-z]+", str(file.relative_to(root)).lower())) for file in files}
    found = [file for file in files if words[file] & set(SPLITS.get(split, (split,)))]
    named = any(words[file] & set(alias) for file in files for alias in SPLITS.values())
    return _or_missing(found, files, named, root, split)


def _folder_split(files: Sequence[Path], root: Path, split: str) -> Sequence[Path]:
    """The files in the split's folder if all folders below `root` are splits; if not, all are "train"."""
    tops = {file: file.relative_to(root).parts[0].lower() for file in files}
    named = set(tops.values()) <= {word for alias in SPLITS.values() for word in alias}
    found = [file for file in files if named and tops[file] in SPLITS.get(split, (split,))]
    return _or_missing(found, files, named, root, split)


def _or_missing(
    found: Sequence[Path], files: Sequence[Path], named: bool, root: Path, split: str
) -> Sequence[Path]:
    if found or (split == "train" and not named):
        return found or files
    raise DataError(
        f"{root} has no split {split!r}; name files or folders after it, or point --data straight at it"
    )


def columns(schema: Any, name: str) -> tuple[str, str | None, list[str]]:
    """The picture column of an arrow schema, its label column, and the class names that the schema has."""
    metadata = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
    features = (metadata.get("info") or {}).get("features") or {}
    kinds = {key: value.get("_type") for key, value in features.items() if isinstance(value, dict)}
    types = {field.name: str(field.type) for field in schema}
    images = [column for column, kind in kinds.items() if kind == "Image"]
    images += [key for key, kind in types.items() if re.search(r"(^|bytes: )(large_)?binary", kind)]
    if not images:
        raise DataError(f"{name} has no column of encoded pictures; its columns are {', '.join(types)}")
    named = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    if named:
        return images[0], named[0], features[named[0]]["names"]
    integers = [column for column, kind in types.items() if re.fullmatch(r"u?int\d+", kind)]
    return images[0], next((column for column in LABEL_COLUMNS if column in integers), None), []


def _table(table: Any, image: str, label: str | None, classes: list[str], name: str) -> Undecoded:
    """The pictures of an arrow table; without labels if any of them is missing or negative."""
    pictures = table.column(image)
    source = Undecoded(
        len(pictures), lambda i: open_cell(pictures[i].as_py()), lambda i: f"row {i} of {name}"
    )
    values = [None] if label is None else table.column(label).to_pylist()
    labels = np.array([-1 if value is None else value for value in values], np.int64)
    if labels.min(initial=0) < 0:
        return source
    highest = int(labels.max(initial=-1))
    if classes and highest >= len(classes):
        raise DataError(f"{name} has a label {highest} but only {len(classes)} class names")
    return replace(source, labels=labels, classes=classes or [str(k) for k in range(highest + 1)])
