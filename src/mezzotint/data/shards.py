"""Sets too large for memory or disk: parquet shards, known from their footers and read a block at a time.

A block is a row group, the least that can be read of a parquet file. A footer says how many rows and bytes each block
has, so that every row of the set has a number before any picture was read.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data import undecoded
from mezzotint.data.known import KNOWN, check_name
from mezzotint.data.undecoded import Undecoded, columns, extra, line, open_cell
from mezzotint.errors import DataError

READERS = 8  # footers or blocks that are read at a time: of a distant file, most is waiting


@dataclass(frozen=True)
class Block:
    """Row group `group` of file number `file`. first: where its rows begin in the file. size: bytes in memory."""

    file: int
    group: int
    first: int
    rows: int
    size: int


@dataclass(frozen=True)
class Shards:
    """A list of parquet files of one layout.

    files: their addresses. classes: the names of the classes, in the order of the labels; empty where there are none.
    label: the column of the labels, None where there are none. filesystem: of fsspec.
    """

    name: str
    files: Sequence[str]
    blocks: Sequence[Block]
    image: str
    label: str | None
    classes: Sequence[str]
    filesystem: Any
    footers: Sequence[Any]

    def read(self, block: Block) -> Undecoded:
        """The pictures of a block, not decoded yet; threads may call it at once. Raises DataError."""
        file = self.files[block.file]
        wanted = [self.image] if self.label is None else [self.image, self.label]
        try:
            # one request for a column: nothing that lies beside it is fetched
            with self.filesystem.open(file, "rb", cache_type="none") as opened:
                reader = extra("pyarrow.parquet").ParquetFile(
                    opened, metadata=self.footers[block.file], pre_buffer=True
                )
                table = reader.read_row_group(block.group, columns=wanted)
        except Exception as error:  # arrow, the file system and the network have a dozen types for it
            raise DataError(
                f"cannot read {file} ({line(error)}); mend that, then give the same command to go on"
            ) from error
        pictures, labels = table.column(self.image), None
        if self.label is not None:
            values = [-1 if value is None else value for value in table.column(self.label).to_pylist()]
            labels = np.array(values, np.int64)
            if labels.min(initial=0) < 0 or labels.max(initial=0) >= len(self.classes):
                raise DataError(f"{file} has labels that are no classes; train with data.labels=false")
        return Undecoded(
            count=block.rows,
            open=lambda i: open_cell(pictures[i].as_py()),
            where=lambda i: f"row {block.first + i} of {file}",
            labels=labels,
            classes=self.classes,
        )


def find_shards(name: str, path: Path | None, *, split: str = "train", labels: bool | None = None) -> Shards:
    """The shards of a set: of the hub, without downloading them, or those at `path`.

    labels: True insists on classes, False ignores them; default: used if there are any. Classes without names are
    known from the statistics in the footers; a file without these is taken as one without labels.
    Raises DataError where there is nothing to stream, and MissingExtra where the extra [hub] is needed.
    """
    check_name(name, path)
    if name == "digits":
        raise DataError(
            "digits come with the package, and only parquet files are streamed; leave data.stream out"
        )
    if path is not None:
        files = [str(file.absolute()) for file in undecoded.local_tables(Path(path).expanduser(), split)]
    else:
        files = undecoded.hub_tables(KNOWN[name].hub if name in KNOWN else name, split)
    shards = open_shards(name, files, labels=labels is not False)
    if labels and shards.label is None:
        raise DataError(f"{name} has no classes; train without labels")
    return shards


def open_shards(name: str, files: Sequence[str], *, labels: bool = True) -> Shards:
    """Shards at addresses of any file system that fsspec knows (paths, file://, hf://, s3://), from their footers."""
    parquet = extra("pyarrow.parquet")
    filesystem, _ = extra("fsspec.core").url_to_fs(files[0])

    def read_footer(file: str) -> Any:
        try:
            with filesystem.open(file, "rb", cache_type="none") as opened:
                return parquet.ParquetFile(opened).metadata
        except Exception as error:
            raise DataError(f"cannot read {file} as parquet: {line(error)}") from error

    with ThreadPoolExecutor(READERS) as pool:
        footers = list(pool.map(read_footer, files))
    image, label, classes = columns(footers[0].schema.to_arrow_schema(), files[0])
    if label is not None and labels:
        classes = _classes([_statistics(footer, label) for footer in footers], classes, name)
    if not labels or not classes:
        label, classes = None, []
    blocks = []
    for number, (file, footer) in enumerate(zip(files, footers)):
        if missing := {image, *([label] if label else [])} - set(footer.schema.to_arrow_schema().names):
            raise DataError(f"{file} has no column {missing.pop()!r}, which {files[0]} has")
        first = 0
        for group in range(footer.num_row_groups):
            row_group = footer.row_group(group)
            size = sum(
                column.total_uncompressed_size
                for column in map(row_group.column, range(row_group.num_columns))
                if column.path_in_schema.split(".")[0] == image
            )
            if row_group.num_rows:
                blocks.append(Block(number, group, first, row_group.num_rows, size))
            first += row_group.num_rows
    if not blocks:
        raise DataError(f"{name} has no pictures")
    return Shards(name, files, blocks, image, label, classes, filesystem, footers)


def _statistics(footer: Any, column: str) -> list[Any]:
    """What a footer knows of the values of a column, for each of its row groups that has rows."""
    groups = [footer.row_group(k) for k in range(footer.num_row_groups)]
    return [
        group.column(k).statistics
        for group in groups
        for k in range(group.num_columns if group.num_rows else 0)
        if group.column(k).path_in_schema == column
    ]


def _classes(footers: Sequence[Sequence[Any]], names: list[str], name: str) -> list[str]:
    """The names of the classes, if need be numbers; none where a label is missing or negative."""
    known = [statistics for footer in footers for statistics in footer]
    if any(s is None or not s.has_min_max for s in known):
        nulls = any(s is not None and s.null_count for s in known)
        return [] if nulls else names
    if any(s.null_count or s.min < 0 for s in known):
        return []
    highest = max((s.max for s in known), default=-1)
    if names and highest >= len(names):
        raise DataError(f"{name} has a label {highest} but only {len(names)} class names")
    return names or [str(k) for k in range(highest + 1)]
