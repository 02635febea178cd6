"""Sets too large for memory or disk: parquet shards, known from their footers and read a block at a time.

A block is a row group, the least that can be read of a parquet file. A footer says how many rows and bytes each block
has, so that every row of the set has a number before any picture was read.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data import undecoded
from mezzotint.data.classes import FileLabels, code_labels, refuse_many
from mezzotint.data.columns import Columns, Schema, choose_columns, schema_of
from mezzotint.data.endings import few, spoken
from mezzotint.data.known import KNOWN, check_name
from mezzotint.data.ranges import Ranges
from mezzotint.data.undecoded import Labels, Undecoded, encoded_in, extra, line, open_cell, present
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
    label: the column of the labels, None where there are none; codes: of each file, value -> number. filesystem: of fsspec.
    notes: lines on what was guessed or left out; why: why there are no classes; both as of `Undecoded`.
    """

    name: str
    files: Sequence[str]
    blocks: Sequence[Block]
    image: str
    label: str | None
    classes: Sequence[str]
    filesystem: Any
    footers: Sequence[Any]
    codes: Sequence[Mapping[Any, int]] = ()
    notes: Sequence[str] = ()
    why: str = ""

    @cached_property
    def ranges(self) -> Ranges:
        """Of pictures whose format does not say what white is, by those of the first block."""
        first = cache(lambda: self.read(self.blocks[0]))
        return Ranges(self.blocks[0].rows, lambda i: first().open(i))

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
            codes = self.codes[block.file]
            labels = np.array(
                [codes.get(value, -1) for value in table.column(self.label).to_pylist()], np.int64
            )
            if labels.min(initial=0) < 0:
                raise DataError(f"{file} has labels that are no classes; train with data.labels=false")
        return Undecoded(
            count=block.rows,
            open=lambda i: open_cell(pictures[i].as_py()),
            where=lambda i: f"row {block.first + i} of {file}",
            labels=labels,
            classes=self.classes,
            given_ranges=self.ranges,
        )


def find_shards(
    name: str,
    path: Path | None,
    *,
    split: str | None = None,
    column: str | None = None,
    labels: Labels = None,
) -> Shards:
    """The shards of a set: of the hub, without downloading them, or those at `path`.

    split, column, labels: as of `load_pictures`. Classes without names are known from the column of the labels, which is
    read whole. Raises DataError where there is nothing to stream, and MissingExtra where the extra [hub] is needed.
    """
    check_name(name, path)
    if name == "digits":
        raise DataError(
            "digits come with the package, and only parquet files are streamed; leave data.stream out"
        )
    notes: Sequence[str] = ()
    if path is not None:
        local, notes = undecoded.local_tables(Path(path).expanduser(), split)
        files = [str(file.absolute()) for file in local]
    else:
        files = undecoded.hub_tables(KNOWN[name].hub if name in KNOWN else name, split or "train")
    shards = open_shards(name, files, column=column, labels=labels)
    if labels and shards.label is None:
        raise DataError(f"{name} has no classes ({shards.why}); train without labels")
    return replace(shards, notes=[*notes, *shards.notes])


def open_shards(
    name: str, files: Sequence[str], *, column: str | None = None, labels: Labels = None
) -> Shards:
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
    schemas = [
        schema_of(footer.schema.to_arrow_schema(), spoken(file)) for file, footer in zip(files, footers)
    ]

    def read_column(file: int, key: str, groups: Sequence[int] | None = None) -> Any:
        with filesystem.open(files[file], "rb", cache_type="none") as opened:
            reader = parquet.ParquetFile(opened, metadata=footers[file], pre_buffer=True)
            groups = range(footers[file].num_row_groups) if groups is None else groups
            return reader.read_row_groups(list(groups), columns=[key]).column(key)

    def peek(key: str) -> bytes | None:
        cells = read_column(0, key, [0]) if footers[0].num_row_groups else []
        return encoded_in(cells[0].as_py()) if len(cells) else None

    try:
        chosen = choose_columns(schemas, column, labels, peek)
        image = chosen.image
        chosen, classes, codes = _classes(chosen, schemas, footers, labels, name, read_column)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"cannot read {name} as parquet: {line(error)}") from error
    blocks = []
    for number, footer in enumerate(footers):
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
    return Shards(
        name,
        files,
        blocks,
        image,
        chosen.label,
        classes,
        filesystem,
        footers,
        codes,
        chosen.notes,
        chosen.why,
    )


def _statistics(footer: Any, column: str) -> list[Any]:
    """What a footer knows of the values of a column, for each of its row groups that has rows."""
    groups = [footer.row_group(k) for k in range(footer.num_row_groups)]
    return [
        group.column(k).statistics
        for group in groups
        for k in range(group.num_columns if group.num_rows else 0)
        if group.column(k).path_in_schema == column
    ]


def _classes(
    chosen: Columns,
    schemas: Sequence[Schema],
    footers: Sequence[Any],
    labels: Labels,
    name: str,
    read_column: Callable[..., Any],
) -> tuple[Columns, Sequence[str], Sequence[Mapping[Any, int]]]:
    """The classes of shards and how each file numbers them; none, and why, where a label is missing or below 0.

    Numbers that have names are known from the statistics in the footers, and where there are none they are believed;
    of others the whole column is read.
    """
    label = chosen.label
    if label is None:
        return chosen, [], []

    def values(file: int) -> tuple[list[Any], int]:
        """Those that occur in a file, and how many are missing."""
        schema, footer = schemas[file], footers[file]
        if label not in schema.types:
            return [], footer.num_rows
        if schema.names.get(label) and "int" in schema.types[label]:
            known = [s for s in _statistics(footer, label) if s is not None]
            ends = [end for s in known if s.has_min_max for end in (s.min, s.max)]
            return ends, sum((s.null_count or 0) + (s.has_min_max and s.min < 0) for s in known)
        column = read_column(file, label)
        there = column.unique().to_pylist()
        below = labels is True or labels is None
        lost = column.null_count + sum(isinstance(v, int | float) and below and v < 0 for v in there)
        return present(there), lost

    with ThreadPoolExecutor(READERS) as pool:
        found = list(pool.map(values, range(len(schemas))))
    parts = [
        FileLabels(schema.file, there, schema.names.get(label, ()))
        for schema, (there, _) in zip(schemas, found)
    ]
    coding = code_labels(parts, keep_negative=isinstance(labels, str))
    rows = sum(footer.num_rows for footer in footers)
    if not any(part.names for part in parts):
        refuse_many(len(coding.classes), rows, label, name, asked=isinstance(labels, str))
    if any(lost for _, lost in found) or not rows:
        without = [schema.file for schema, (_, lost) in zip(schemas, found) if lost]
        why = f"rows have no class in the column {label!r} of {few(without)}, and of a streamed set none is left out"
        return replace(chosen, label=None, why=f"{why}; write them without these rows"), [], []
    return replace(chosen, notes=[*chosen.notes, *coding.notes]), coding.classes, coding.codes
