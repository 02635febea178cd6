"""Where pictures come from: a folder, parquet files, the dataset hub, or the digits in the package.

A `Source` is a set of pictures that are not decoded yet. The libraries that read parquet and the hub
(`pyarrow`, `datasets`) come with the extra [hub] and are imported when they are needed.
"""

import importlib
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from .errors import DataError, MissingExtra

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
class Source:
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

    def select(self, index: np.ndarray) -> "Source":
        """The pictures at `index` (M,), in that order."""
        return replace(
            self,
            count=len(index),
            open=lambda i: self.open(int(index[i])),
            where=lambda i: self.where(int(index[i])),
            labels=None if self.labels is None else self.labels[index],
        )


def digits(split: str) -> Source:
    """The 1,797 handwritten digits of 8x8 grey pixels that come with the package (see DIGITS.md)."""
    if split != "train":
        raise DataError(f"digits has no split {split!r}; its only one is 'train'")
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as file:
        images, labels = file["images"], file["labels"]
    return Source(
        count=len(images),
        open=lambda i: Image.fromarray(images[i]),
        where=lambda i: f"digit {i}",
        labels=labels.astype(np.int64),
        classes=[str(digit) for digit in range(10)],
    )


def local(path: Path, split: str, memory_limit: int) -> Source:
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
    try:
        files = sorted(_walk(path, set()), key=lambda file: [_natural(part) for part in file.parts])
    except OSError as error:
        raise DataError(f"cannot list {path}: {error}") from error
    if tables := [file for file in files if file.suffix.lower() == ".parquet"]:
        return parquet(_parquet_split(tables, path, split), memory_limit)
    if pictures := [file for file in files if file.suffix.lower() in SUFFIXES]:
        return folder(_folder_split(pictures, path, split))
    raise DataError(f"{path} holds no pictures ({', '.join(SUFFIXES)}) and no parquet files; check --data")


def folder(files: Sequence[Path]) -> Source:
    """Picture files; the sub-folder that each lies in is its class.

    Sub-folders are classes where there are two or more and every picture lies in one: a picture beside them
    makes the whole set unlabelled.
    """
    root = os.path.commonpath([file.parent for file in files])
    parts = [file.relative_to(root).parts for file in files]
    labelled = all(len(names) > 1 for names in parts)
    classes = list(dict.fromkeys(names[0] for names in parts)) if labelled else []
    number = {name: k for k, name in enumerate(classes)}
    return Source(
        count=len(files),
        open=lambda i: _open(files[i].read_bytes()),
        where=lambda i: str(files[i]),
        labels=np.array([number[names[0]] for names in parts], np.int64) if labelled else None,
        classes=classes,
    )


def parquet(files: Sequence[Path], memory_limit: int) -> Source:
    """Parquet files in the layout of the dataset hub, or with a binary column of encoded pictures.

    Up to `memory_limit` bytes of files are held in memory; more are memory-mapped, from an uncompressed
    copy that `datasets` keeps in its cache.
    """
    reader = _extra("pyarrow.parquet")
    name = str(files[0]) if len(files) == 1 else str(files[0].parent)
    try:
        image, label, classes = _columns(reader.read_schema(files[0]), name)
        if sum(file.stat().st_size for file in files) > memory_limit:
            dataset = _extra("datasets").Dataset.from_parquet([str(file) for file in files])
            return _table(dataset.data.table, image, label, classes, name)
        wanted = [image] if label is None else [image, label]
        tables = [reader.ParquetFile(file).read(columns=wanted) for file in files]
        table = _extra("pyarrow").concat_tables(tables)
    except (DataError, MissingExtra):
        raise
    except Exception as error:  # arrow, the file system, and `datasets` have a dozen types for a damaged file
        raise DataError(f"cannot read {name} as parquet: {_line(error)}") from error
    return _table(table, image, label, classes, name)


def hub(name: str, split: str) -> Source:
    """A set of the dataset hub, by its id "owner/set": downloaded once, then read from the cache.

    Where the hub does not answer, a cached copy is used if there is one; otherwise it is a DataError at once.
    """
    datasets, client = _extra("datasets"), _extra("huggingface_hub")
    offline = datasets.config.HF_HUB_OFFLINE
    try:
        if not offline:
            client.HfApi().dataset_info(name, timeout=HUB_TIMEOUT)
    except (client.utils.RepositoryNotFoundError, client.utils.HFValidationError) as error:
        raise DataError(f"the hub has no public data set {name!r}; check its name") from error
    except Exception:  # no network, a proxy, a busy hub: each library below has types of its own for it
        datasets.config.HF_HUB_OFFLINE = True  # spares load_dataset its half minute of retries
    try:
        dataset = datasets.load_dataset(name, split=split)
    except ValueError as error:  # an unknown split, or several configurations
        raise DataError(f"{name}: {_line(error)}") from error
    except Exception as error:
        raise DataError(
            f"cannot get {name} from the dataset hub ({_line(error)}); "
            "download it elsewhere and point --data at a folder of its pictures or parquet files"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline
    return _table(dataset.data.table, *_columns(dataset.features.arrow_schema, name), name)


def _open(encoded: bytes) -> Image.Image:
    return Image.open(io.BytesIO(encoded), formats=FORMATS)


def _extra(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(f'{module} is not installed; run: pip install "mezzotint[hub]"') from error


def _line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


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


def _columns(schema: Any, name: str) -> tuple[str, str | None, list[str]]:
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


def _table(table: Any, image: str, label: str | None, classes: list[str], name: str) -> Source:
    """The pictures of an arrow table; without labels if any of them is missing or negative."""
    pictures = table.column(image)

    def open_row(i: int) -> Image.Image:
        value = pictures[i].as_py()
        if isinstance(value, dict):  # the hub's Image feature: the encoded picture, or the path of its file
            path, value = value.get("path"), value.get("bytes")
            if value is None and path is not None:
                value = Path(path).read_bytes()
        return _open(value or b"")

    source = Source(len(pictures), open_row, lambda i: f"row {i} of {name}")
    values = [None] if label is None else table.column(label).to_pylist()
    labels = np.array([-1 if value is None else value for value in values], np.int64)
    if labels.min(initial=0) < 0:
        return source
    highest = int(labels.max(initial=-1))
    if classes and highest >= len(classes):
        raise DataError(f"{name} has a label {highest} but only {len(classes)} class names")
    return replace(source, labels=labels, classes=classes or [str(k) for k in range(highest + 1)])
