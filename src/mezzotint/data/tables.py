"""Pictures in parquet files, in the layout of the dataset hub or with a binary column; `columns` says which count, `classes` numbers the labels."""

import bisect
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.data.captions import column_of, of_column
from mezzotint.data.cells import encoded_in, extra, frames_in, line, open_cell
from mezzotint.data.classes import FileLabels, code_labels, refuse_many
from mezzotint.data.columns import choose_columns, schema_of
from mezzotint.data.endings import few, spoken
from mezzotint.data.undecoded import Keys, Labels, Undecoded
from mezzotint.errors import DataError, MissingExtra


def parquet(files: Sequence[Path], memory_limit: int, keys: Keys) -> Undecoded:
    """Parquet files in the layout of the dataset hub, or with a binary column of encoded pictures.

    Up to `memory_limit` bytes of files are held in memory; more are memory-mapped, from an uncompressed
    copy that `datasets` keeps in its cache.
    """
    reader = extra("pyarrow.parquet")
    name = spoken(files[0]) if len(files) == 1 else spoken(files[0].parent)
    captions = keys.captions
    if captions is True:
        captions = column_of([reader.read_schema(file).names for file in files])
    mapped = sum(file.stat().st_size for file in files) > memory_limit

    def peek(key: str) -> bytes | None:
        table = reader.ParquetFile(files[0]).read_row_group(0, columns=[key], use_threads=False)
        return encoded_in(table.column(key)[0].as_py()) if len(table) else None

    try:
        schemas = [reader.read_schema(file) for file in files]
        known = [schema_of(schema, spoken(file)) for schema, file in zip(schemas, files)]
        chosen = choose_columns(known, keys.column, keys.labels, peek)
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
    return joined(tables, known, chosen.image, chosen.label, names, keys.labels, notes, chosen.why, texts)


def joined(
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
