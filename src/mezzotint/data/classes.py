"""Labels go by the names of their classes: what stands in a column becomes numbers, the same ones for every file and split."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mezzotint.data.endings import count, few, natural, one_form
from mezzotint.errors import DataError
from mezzotint.media.facts import told_apart

MAX_CLASSES = 10_000  # that are known by their values alone
FEW_VALUES = 20  # of so many, nobody minds that each occurs once or twice


@dataclass(frozen=True)
class FileLabels:
    """What a file says of its labels. values: those that occur, without missing ones. names: of the numbers 0, 1, ..."""

    file: str
    values: Sequence[Any]
    names: Sequence[str] = ()


@dataclass(frozen=True)
class Coding:
    """How labels are numbered. codes: of each file, value -> number; what is missing there has no class."""

    classes: Sequence[str]
    codes: Sequence[Mapping[Any, int]]
    notes: Sequence[str] = ()


def code_labels(files: Sequence[FileLabels], *, keep_negative: bool) -> Coding:
    """One numbering for files that may name their classes differently.

    Where files have names, those of the first that has any count, and others are joined by name. Without names the values
    that occur are numbered in their order, and are the names. keep_negative: of numbers without names; others below 0
    have no class. Raises DataError where a number has no name.
    """
    base = next((file for file in files if file.names), None)
    if base is None:
        return _by_value(files, keep_negative)
    classes = _names(base)
    numbers = {name: k for k, name in enumerate(classes)}
    codes: list[Mapping[Any, int]] = []
    notes = []
    if classes != [one_form(name) for name in base.names]:
        twice = [name for name, times in Counter(map(one_form, base.names)).items() if times > 1]
        notes.append(
            f"{count(len(twice), 'class name')} given to several classes, told apart by numbers: {few(twice)}"
        )
    for file in files:
        names = _names(file) if file.names else classes
        if strangers := [name for name in names if name not in numbers]:
            numbers |= {name: len(numbers) + k for k, name in enumerate(strangers)}
            notes.append(
                f"{file.file} has classes that {base.file} lacks, added at the end: {few(strangers)}"
            )
        if file.names and names != classes and not strangers:
            notes.append(f"{file.file} numbers its classes in another way than {base.file}: joined by name")
        whole = {value: value for value in file.values if isinstance(value, int)}
        highest = max(whole, default=-1)
        if highest >= len(names):
            raise DataError(f"{file.file} has a label {highest} but only {len(names)} class names")
        words = {value: one_form(value) for value in file.values if isinstance(value, str)}
        if unknown := [word for word in words.values() if word not in numbers]:
            raise DataError(
                f"{file.file} has labels that are no classes: {few(unknown)}; train with data.labels=false"
            )
        by_word = {value: numbers[word] for value, word in words.items()}
        codes.append({k: numbers[name] for k, name in enumerate(names)} | by_word)
    return Coding(list(numbers), codes, notes)


def _names(file: FileLabels) -> list[str]:
    """In one Unicode form, each once."""
    return told_apart([one_form(name) for name in file.names])


def _by_value(files: Sequence[FileLabels], keep_negative: bool) -> Coding:
    """The values that occur, numbered in their order: numbers by size, words as files are sorted."""
    named: list[dict[Any, str]] = []
    for file in files:
        values = [v for v in file.values if keep_negative or not isinstance(v, int | float) or v >= 0]
        named.append({value: value_name(value) for value in values})
    found = {value_name(value): value for file in named for value in file}
    if all(isinstance(value, int | float) for value in found.values()):
        classes = sorted(found, key=lambda name: found[name])
    else:
        classes = sorted(found, key=natural)
    numbers = {name: k for k, name in enumerate(classes)}
    return Coding(classes, [{value: numbers[name] for value, name in file.items()} for file in named])


def value_name(value: Any) -> str:
    """A value as the name of a class: whole numbers without a point, words in one Unicode form."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return one_form(str(value))


def refuse_many(classes: int, rows: int, column: str, where: str, *, asked: bool) -> None:
    """Raises DataError where values without names are too many for classes. asked: the column was named by the user."""
    remedy = "set data.labels=false, or data.labels=COLUMN to the column of the classes"
    if classes > MAX_CLASSES:
        raise DataError(
            f"column {column!r} of {where} has {classes:,} different values, more than {MAX_CLASSES:,} classes; {remedy}"
        )
    if not asked and classes > FEW_VALUES and classes > rows / 2:
        raise DataError(
            f"column {column!r} of {where} has {classes:,} different values in {rows:,} rows: it numbers the pictures; "
            f"{remedy}"
        )


def renumbered(labels: np.ndarray, names: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """Labels (N,) int64 that number `names`, as numbers of `classes`: joined by name; -1 where `classes` lack it."""
    numbers = {one_form(name): k for k, name in reversed(list(enumerate(classes)))}
    table = np.array([numbers.get(one_form(name), -1) for name in names] + [-1], np.int64)
    return table[labels]  # a label of -1 is read from the end
