"""Captions of pictures: a text file beside each, a table of them in the folder, or a column."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mezzotint.data.endings import CAPTIONS, TABLE_OF_CAPTIONS, count, few, one_form, spoken
from mezzotint.errors import DataError

PLACES = ("file_name", "file", "image", "name")  # columns of a table that name a picture
TEXTS = ("text", "caption", "prompt")  # and those that hold its caption
MAX_CAPTION = 2000  # characters


def beside(files: Sequence[Path], root: Path) -> tuple[list[str], list[str]]:
    """A caption for each picture file, and lines on those that have none, which are asked nothing.

    Of `name.png` it is what `name.txt` (or .caption) says, else the row of `captions.csv|jsonl` or `metadata.csv|jsonl` in
    the root that names the file. Raises DataError where no picture has one.
    """
    table = _table(root)
    texts = []
    for file in files:
        found = next((file.with_suffix(end) for end in CAPTIONS if file.with_suffix(end).is_file()), None)
        if found is not None:
            texts.append(_read(found))
        else:
            texts.append(
                table.get(one_form(file.relative_to(root).as_posix()), table.get(one_form(file.name), ""))
            )
    texts = [one_caption(text) for text in texts]
    return texts, _missing(
        texts, spoken(root), "write them into NAME.txt beside NAME.png, or into captions.csv"
    )


def column_of(schemas: Sequence[Sequence[str]]) -> str:
    """The column of captions where none is named, of tables with these columns: caption where all have it, else text."""
    return "caption" if all("caption" in schema for schema in schemas) else "text"


def of_column(tables: Sequence[Any], column: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The captions in a column of arrow tables, and lines on rows that have none. Raises DataError."""
    texts: list[str] = []
    for table, name in zip(tables, names):
        if column not in table.column_names:
            raise DataError(
                f"{name} has no column {column!r} for data.captions; it has {few(table.column_names)}"
            )
        cells = table.column(column).to_pylist()
        wrong = [cell for cell in cells if cell is not None and not isinstance(cell, str)]
        if wrong:
            raise DataError(
                f"the column {column!r} of {name} holds values that are not texts, such as {wrong[0]!r:.60}"
            )
        texts += map(one_caption, cells)
    return texts, _missing(texts, names[0], "choose another column by data.captions")


def one_caption(cell: str | None) -> str:
    """A caption with its spaces run together; "" for none."""
    return " ".join((cell or "").split())[:MAX_CAPTION]


def _missing(texts: Sequence[str], where: str, remedy: str) -> list[str]:
    without = sum(not text for text in texts)
    if without == len(texts):
        raise DataError(f"{where} has no captions; {remedy}, or leave data.captions out")
    return [f"{count(without, 'picture')} without a caption, learnt as asked nothing"] if without else []


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the caption {spoken(file)} cannot be read ({error}); save it as UTF-8") from error


def _table(root: Path) -> dict[str, str]:
    """Captions by the names of files; empty where there is no table."""
    names = [name for name in TABLE_OF_CAPTIONS if (root / name).is_file()]
    if not names:
        return {}
    file = root / names[0]
    try:
        lines = _read(file).splitlines()
        rows = (
            [json.loads(line) for line in lines if line.strip()]
            if file.suffix == ".jsonl"
            else list(csv.DictReader(lines))
        )
        place = next(key for key in PLACES if rows and key in rows[0])
        text = next(key for key in TEXTS if key in rows[0])
        return {one_form(str(row[place])): str(row[text] or "") for row in rows}
    except (ValueError, KeyError, TypeError, StopIteration, csv.Error) as error:
        raise DataError(
            f"{spoken(file)} is not a table of captions: each row needs one of {', '.join(PLACES)} and one of {', '.join(TEXTS)}"
        ) from error
