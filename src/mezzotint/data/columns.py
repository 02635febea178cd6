"""Which columns of a table hold pictures and labels."""

import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from mezzotint.data.endings import FORMATS, few, spoken
from mezzotint.errors import DataError

IMAGE_COLUMNS = ("image", "img", "picture")
LABEL_COLUMNS = ("label", "labels", "fine_label", "class", "target")


@dataclass(frozen=True)
class Schema:
    """The columns of a file. types: as words of arrow, by name. images: those that the hub calls pictures. names: of the
    classes, by column."""

    file: str
    types: dict[str, str]
    images: Sequence[str] = ()
    names: dict[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Columns:
    """image: the column of the pictures. label: of their classes, None for none. why: why there are none, where some might
    have been expected. notes: a line for every guess."""

    image: str
    label: str | None
    why: str = ""
    notes: Sequence[str] = ()


def schema_of(schema: Any, file: str) -> Schema:
    """What an arrow schema says, with what the hub has written into its metadata."""
    try:
        content = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = dict((content.get("info") or {}).get("features") or {})
    except (ValueError, AttributeError, TypeError, RecursionError):
        features = {}
    types = {column.name: str(column.type) for column in schema}
    kinds = {key: value for key, value in features.items() if isinstance(value, dict) and key in types}
    return Schema(
        file,
        types,
        [key for key, value in kinds.items() if value.get("_type") in ("Image", "Video")],
        {key: _names(value) for key, value in kinds.items() if value.get("_type") == "ClassLabel"},
    )


def _names(feature: dict[str, Any]) -> Sequence[str]:
    """The names of classes, where they are a list of words."""
    names = feature.get("names")
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else ()


def choose_columns(
    schemas: Sequence[Schema],
    column: str | None,
    labels: bool | str | None,
    peek: Callable[[str], bytes | None],
) -> Columns:
    """The columns of a list of files, guessed where they are not named.

    column, labels: as of `load_pictures`. peek: the first picture of a column, encoded. Raises DataError where it cannot
    be told which column is meant, or where files do not fit together.
    """
    types: dict[str, str] = {}
    for schema in schemas:
        types |= {key: kind for key, kind in schema.types.items() if types.get(key, "null") == "null"}
    where, notes = schemas[0].file, list[str]()
    image = _image(schemas, types, column, where, peek, notes)
    for schema in schemas:
        if image not in schema.types:
            raise DataError(f"{schema.file} has no column {image!r}, which {where} has")
        if not _is_picture(schema.types[image]) and schema.types[image] != "null":
            raise DataError(
                f"{schema.file} has a column {image!r} of {schema.types[image]}, and {where} one of "
                f"{schemas[0].types[image]}; write it as binary, or leave the file out"
            )
    label, why = _label(schemas, {k: t for k, t in types.items() if k != image}, labels, where, notes)
    for schema in schemas if label else ():
        kind = schema.types.get(label or "", "null")
        if kind != "null" and not _is_label(kind, asked=True):
            fits = [s.file for s in schemas if _is_label(s.types.get(label or "", ""), asked=True)]
            other = f", and {fits[0]} one of {types[label or '']}" if fits else ""
            remedy = (
                "write both alike"
                if fits
                else "no classes can be read of it: name another, data.labels=COLUMN"
            )
            raise DataError(
                f"{schema.file} has a column {label!r} of {kind}{other}; {remedy}, or set data.labels=false"
            )
    return Columns(image, label, why, notes)


def _image(
    schemas: Sequence[Schema],
    types: dict[str, str],
    column: str | None,
    where: str,
    peek: Callable[[str], bytes | None],
    notes: list[str],
) -> str:
    listed = ", ".join(map(spoken, types))
    if column is not None:
        if column not in types:
            raise DataError(f"{where} has no column {column!r}; its columns are {listed}")
        if not _is_picture(types[column]):
            raise DataError(f"column {column!r} of {where} holds no encoded pictures but {types[column]}")
        return column
    featured = list(dict.fromkeys(key for schema in schemas for key in schema.images))
    binary = [key for key, kind in types.items() if _is_picture(kind)]
    if not binary and not featured:
        raise DataError(f"{where} has no column of encoded pictures; its columns are {listed}")
    for candidates in (featured, binary):
        usual = [key for key in candidates if key.casefold() in IMAGE_COLUMNS]
        chosen = usual[:1] or (candidates if len(candidates) == 1 else [])
        if not chosen and len(candidates) > 1:
            seen = [key for key in candidates if _opens(peek(key))]
            chosen = seen if len(seen) == 1 else []
        if chosen:
            if others := [key for key in binary if key != chosen[0]]:
                sure = candidates is featured and len(featured) == 1
                notes.append(
                    f"pictures are those of the column {chosen[0]!r}, and not {few(others)}"
                    + ("" if sure else "; set data.column where another is meant")
                )
            return chosen[0]
    raise DataError(
        f"{where} has several columns that may be its pictures, {', '.join(binary)}; set data.column={binary[0]} or another"
    )


def _label(
    schemas: Sequence[Schema], types: dict[str, str], labels: bool | str | None, where: str, notes: list[str]
) -> tuple[str | None, str]:
    """The column of the classes, or None and why not."""
    if labels is False:
        return None, ""
    if isinstance(labels, str):
        if labels not in types:
            raise DataError(
                f"{where} has no column {labels!r}; its columns are {', '.join(map(spoken, types))}"
            )
        if not _is_label(types[labels], asked=True):
            raise DataError(f"column {labels!r} of {where} holds {types[labels]}, which cannot name classes")
        return labels, ""
    named = [key for schema in schemas for key in schema.names if key in types]
    named = list(dict.fromkeys(named))
    usual = [key for key in LABEL_COLUMNS if key in types]
    numbers = [key for key in usual if re.fullmatch(r"u?int\d+", types[key])]
    words = [key for key in usual if key not in numbers and _is_label(types[key], asked=False)]
    found = list(dict.fromkeys([*named, *numbers, *words]))
    if found:
        if len(found) > 1:
            notes.append(
                f"classes are those of the column {found[0]!r}, and not {few(found[1:])}; set data.labels where another "
                "is meant"
            )
        return found[0], ""
    for key in usual:
        if types[key] != "null":
            return None, f"the column {key!r} holds {types[key]}; if these are classes, set data.labels={key}"
    possible = [key for key, kind in types.items() if _is_label(kind, asked=True)]
    if not possible:
        return None, ""
    shown = few([f"{spoken(key)} ({types[key]})" for key in possible])
    return (
        None,
        f"no column is called {', '.join(LABEL_COLUMNS)}; if classes are in {shown}, set data.labels={possible[0]}",
    )


def _is_picture(kind: str) -> bool:
    """Whether a type can hold encoded pictures, or lists of them."""
    return bool(re.search(r"(^|bytes: |^(large_)?list<\w+: )(large_)?binary", kind))


def _is_label(kind: str, *, asked: bool) -> bool:
    """Whether a type can hold classes: whole numbers, words and categories; asked for by name, also others."""
    if kind.startswith("dictionary<"):
        kind = kind.removeprefix("dictionary<values=").partition(",")[0]
    if re.fullmatch(r"u?int\d+|(large_)?string(_view)?", kind):
        return True
    return asked and bool(
        re.fullmatch(r"bool|half_?float|float|double|date\d+.*|timestamp.*|decimal.*", kind)
    )


def _opens(encoded: bytes | None) -> bool:
    """Whether bytes are those of a picture."""
    try:
        with Image.open(io.BytesIO(encoded or b""), formats=FORMATS):
            return True
    except Exception:  # Pillow raises nearly anything for what is no picture
        return False
