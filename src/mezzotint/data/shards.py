"""Sets too large for memory or disk: parquet shards, known from their footers and read a block at a time.

A block is a row group, the least that can be read of a parquet file. A footer says how many rows and bytes each block
has, so that every row of the set has a number before any picture was read.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data import hub, local
from mezzotint.data.captions import column_of, of_column, one_caption
from mezzotint.data.cells import encoded_in, extra, frames_in, line, open_cell
from mezzotint.data.classes import Coding, FileLabels, code_labels, refuse_many
from mezzotint.data.columns import Columns, Schema, choose_columns, schema_of
from mezzotint.data.decode import WHITE
from mezzotint.data.endings import few, spoken
from mezzotint.data.known import KNOWN, check_name
from mezzotint.data.ranges import Ranges
from mezzotint.data.tables import present
from mezzotint.data.undecoded import Labels, Undecoded
from mezzotint.errors import DataError

MAX_BLOCK_ROWS = 2**24  # of a row group; more than memory holds the numbers of are a lie
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
    caption: the column of captions, None where they are not wanted. background: what transparent parts are laid over; stride: of clips, how far apart frames are taken. left_out: by file and row group, the rows of it that have no class, ascending, where classes are insisted on.
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
    left_out: Mapping[tuple[int, int], np.ndarray] = field(default_factory=dict)
    background: str = WHITE
    caption: str | None = None
    stride: int = 1

    @cached_property
    def ranges(self) -> Ranges:
        """Of pictures whose format does not say what white is, by those of the first block."""
        first = cache(lambda: self.read(self.blocks[0]))
        return Ranges(self.blocks[0].rows, lambda i: first().open(i))

    def read(self, block: Block) -> Undecoded:
        """The pictures of a block, not decoded yet; threads may call it at once. Raises DataError."""
        file = self.files[block.file]
        wanted = [key for key in (self.image, self.label, self.caption) if key is not None]
        try:
            # One request for a column: nothing that lies beside it is fetched. All in this thread: a thread of arrow's
            # own that still holds a Python file when the process ends aborts it.
            with self.filesystem.open(file, "rb", cache_type="none") as opened:
                reader = extra("pyarrow.parquet").ParquetFile(opened, metadata=self.footers[block.file])
                table = reader.read_row_group(block.group, columns=wanted, use_threads=False)
        except Exception as error:  # arrow, the file system and the network have a dozen types for it
            raise DataError(
                f"cannot read {file} ({line(error)}); repair the file, then run the same command to resume"
            ) from error
        pictures, labels = table.column(self.image), None
        if self.label is not None:
            labels = _numbered(table.column(self.label), self.codes[block.file])
            without = self.left_out.get((block.file, block.group), np.empty(0, np.int64))
            if np.delete(labels, without).min(initial=0) < 0:
                raise DataError(f"{file} has labels that are no classes; train with data.labels=false")
        return Undecoded(
            count=block.rows,
            open=lambda i: open_cell(pictures[i].as_py()),
            where=lambda i: f"row {block.first + i} of {file}",
            labels=labels,
            classes=self.classes,
            given_ranges=self.ranges,
            background=self.background,
            cell=lambda i: frames_in(pictures[i].as_py()),
            stride=self.stride,
            captions=None
            if self.caption is None
            else [one_caption(cell) for cell in table.column(self.caption).to_pylist()],
        )

    def captions(self, column: str | bool) -> tuple["Shards", list[str], list[str]]:
        """The same with a column of captions, all of these, and lines on rows that have none; read whole, since the words must be known
        before the first batch. column: as data.captions. Raises DataError."""
        parquet = extra("pyarrow.parquet")
        names = [spoken(file) for file in self.files]
        schemas = [footer.schema.to_arrow_schema().names for footer in self.footers]
        key = column_of(schemas) if isinstance(column, bool) else column
        for name, schema in zip(names, schemas):
            if key not in schema:
                raise DataError(f"{name} has no column {key!r} for data.captions; it has {few(schema)}")

        def read(file: int) -> Any:
            try:
                with self.filesystem.open(self.files[file], "rb", cache_type="none") as opened:
                    reader = parquet.ParquetFile(opened, metadata=self.footers[file])
                    return reader.read(columns=[key], use_threads=False)
            except Exception as error:
                raise DataError(
                    f"cannot read {names[file]} ({line(error)}); repair the file, then try again"
                ) from error

        with ThreadPoolExecutor(READERS) as pool:
            tables = list(pool.map(read, range(len(self.files))))
        texts, lacking = of_column(tables, key, names)
        return replace(self, caption=key), texts, lacking


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
        here, notes = local.tables(Path(path).expanduser(), split)
        files = [str(file.absolute()) for file in here]
    else:
        files = hub.tables(KNOWN[name].hub if name in KNOWN else name, split or "train")
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
            reader = parquet.ParquetFile(opened, metadata=footers[file])
            groups = range(footers[file].num_row_groups) if groups is None else groups
            return reader.read_row_groups(list(groups), columns=[key], use_threads=False).column(key)

    def peek(key: str) -> bytes | None:
        cells = read_column(0, key, [0]) if footers[0].num_row_groups else []
        return encoded_in(cells[0].as_py()) if len(cells) else None

    try:
        chosen = choose_columns(schemas, column, labels, peek)
        image = chosen.image
        blocks = _blocks(footers, image)
        chosen, coding, left_out = _classes(chosen, schemas, footers, blocks, labels, name, read_column)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"cannot read {name} as parquet: {line(error)}") from error
    if not blocks:
        raise DataError(f"{name} has no pictures")
    return Shards(
        name,
        files,
        blocks,
        image,
        chosen.label,
        coding.classes,
        filesystem,
        footers,
        coding.codes,
        chosen.notes,
        chosen.why,
        left_out,
    )


def _blocks(footers: Sequence[Any], image: str) -> list[Block]:
    """The row groups that have rows. image: the column whose bytes count. Raises ValueError where there are too many."""
    blocks = []
    for number, footer in enumerate(footers):
        first = 0
        for group in range(footer.num_row_groups):
            row_group = footer.row_group(group)
            if not 0 <= row_group.num_rows <= MAX_BLOCK_ROWS:
                raise ValueError(f"its footer gives a row group {row_group.num_rows:,} rows")
            size = sum(
                column.total_uncompressed_size
                for column in map(row_group.column, range(row_group.num_columns))
                if column.path_in_schema.split(".")[0] == image
            )
            if row_group.num_rows:
                blocks.append(Block(number, group, first, row_group.num_rows, size))
            first += row_group.num_rows
    return blocks


def _numbered(column: Any, codes: Mapping[Any, int]) -> np.ndarray:
    """Labels (N,) int64 of an arrow column; -1 for those without a class."""
    return np.array([codes.get(value, -1) for value in column.to_pylist()], np.int64)


def _statistics(footer: Any, column: str) -> list[Any]:
    """What a footer knows of the values of a column, for each of its row groups that has rows. Raises ValueError where it
    gives the column another type than its schema does, over which arrow ends the process."""
    found = []
    for group in (footer.row_group(k) for k in range(footer.num_row_groups)):
        for k in range(group.num_columns if group.num_rows else 0):
            if group.column(k).path_in_schema == column:
                if group.column(k).physical_type != footer.schema.column(k).physical_type:
                    raise ValueError(f"its footer contradicts itself on the column {column!r}")
                found.append(group.column(k).statistics)
    return found


def _classes(
    chosen: Columns,
    schemas: Sequence[Schema],
    footers: Sequence[Any],
    blocks: Sequence[Block],
    labels: Labels,
    name: str,
    read_column: Callable[..., Any],
) -> tuple[Columns, Coding, Mapping[tuple[int, int], np.ndarray]]:
    """The classes of shards, how each file numbers them, and the rows that are left out since they have none: see
    `Shards`. Where classes are not insisted on, such rows make the whole set unlabelled, and the columns say why.

    Numbers that have names are known from the statistics in the footers, and where there are none they are believed;
    of others, and where classes are insisted on, the whole column is read.
    """
    nothing = Coding([], [])
    label = chosen.label
    if label is None:
        return chosen, nothing, {}

    def values(file: int) -> tuple[list[Any], bool]:
        """Those that occur in a file, and whether a row has none."""
        schema, footer = schemas[file], footers[file]
        if label not in schema.types:
            return [], footer.num_rows > 0
        named = bool(schema.names.get(label))
        if named and not labels and "int" in schema.types[label]:
            known = [s for s in _statistics(footer, label) if s is not None]
            ends = [end for s in known if s.has_min_max for end in (s.min, s.max)]
            return ends, any(s.null_count for s in known) or min(ends, default=0) < 0
        there = read_column(file, label).unique().to_pylist()
        below = named or not isinstance(labels, str)
        kept = [v for v in present(there) if not (below and isinstance(v, int | float) and v < 0)]
        return present(there), len(kept) < len(there)

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
    chosen = replace(chosen, notes=[*chosen.notes, *coding.notes])
    lacking = [file for file, (_, lost) in enumerate(found) if lost]
    if not lacking and rows:
        return chosen, coding, {}
    why = f"no class in the column {label!r} of {few([schemas[file].file for file in lacking])}"
    if not labels or not any(coding.codes):
        some = any(codes.keys() & there for codes, (there, _) in zip(coding.codes, found))
        remedy = f"; to leave these rows out, set data.labels={label}" if some else ""
        return replace(chosen, label=None, why=f"rows have {why}{remedy}"), nothing, {}
    left_out = {}
    for file in lacking:
        there = label in schemas[file].types
        column = _numbered(read_column(file, label), coding.codes[file]) if there else None
        for block in blocks:
            if block.file == file:
                part = np.full(block.rows, -1) if column is None else column[block.first :][: block.rows]
                left_out[file, block.group] = np.flatnonzero(part < 0)
    count = sum(map(len, left_out.values()))
    if count == rows:
        return replace(chosen, label=None, why=f"rows have {why}"), nothing, {}
    note = f"left out: {count:,} of {rows:,} rows {'has' if count == 1 else 'have'} {why}"
    return replace(chosen, notes=[*chosen.notes, note]), coding, left_out
