"""Classes: from names and numbers to labels and back."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from enum import Enum

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.conditions.text import Language
from mezzotint.errors import ConfigError, printable
from mezzotint.randomness import CLASS, uniform

MAX_DIGITS = 9  # of a class's number


class Word(Enum):
    """Requests that are not a class. Code uses these, so that a class named "all" is never meant; people write
    `word`."""

    ALL = "all"  # every class in turn
    NONE = "none"  # no class, and so no guidance


ALL, NONE = Word.ALL, Word.NONE
Label = int | str | Word | Sequence[int | str] | Tensor | None


def conditions(label: Label, classes: Sequence[str], seeds: Tensor, empty: Sequence[int] = ()) -> Cond:
    """The classes of samples with seeds (n,) int64 on the CPU: labels (n,) int64, or NO_COND without classes.

    label: a name, a number, a list or a tensor of numbers (cycled), ALL (every class in turn), NONE (the null label), the words for these two, or
    None: thing i has a class drawn from its seed, all classes equally often. empty: numbers of classes without training
    pictures: they are not drawn, and are not among "all". A name wins over a number and over a word, since classes may be
    named so. Raises ConfigError for unknown classes.
    """
    n, full = len(seeds), torch.tensor([k for k in range(len(classes)) if k not in empty], dtype=torch.int64)
    if not classes:
        if label is not None:
            raise ConfigError("this model was trained without classes; leave the class out")
        return NO_COND
    if label is None:
        return Cond(label=full[(uniform(seeds, 0, CLASS, 1)[:, 0] * len(full)).long()])
    match _as_word(label, classes):
        case Word.NONE:
            return nothing(classes).expand(n)
        case Word.ALL:
            numbers = full
        case None:
            numbers = torch.tensor(_numbers(label, classes), dtype=torch.int64)
    if not len(numbers):
        raise ConfigError("the list of classes is empty; name one, or leave it out")
    return Cond(label=numbers.repeat(-(-n // len(numbers)))[:n])


def nothing(classes: Sequence[str], language: Language | None = None) -> Cond:
    """Nothing asked, one row: the null label where there are classes, the empty text where there is a language."""
    told = NO_COND if language is None else language.cond([""])
    return replace(told, label=torch.tensor([len(classes)]) if classes else None)


def in_words(label: Label, classes: Sequence[str], n: int) -> str | list[str] | None:
    """What asks for the same n things of this model once more, on a command line, in JSON or in Python: names and words.

    Raises ConfigError for unknown classes.
    """
    if label is None or not classes:
        return None
    if (what := _as_word(label, classes)) is not None:
        return word(what, classes)
    names = [name_of(number, classes) for number in _numbers(label, classes)[:n]]
    return names[0] if len(names) == 1 else names


def name_of(number: int, classes: Sequence[str]) -> str:
    """The word that asks for the class of a label in 0..K: its name, without characters that move a terminal's cursor, or
    the word for none."""
    if number == len(classes):
        return word(NONE, classes)
    name = classes[number]
    shown = printable(name, keep="")
    return shown if shown == name or _find(shown, classes) == number else name


def word(what: Word, classes: Sequence[str]) -> str:
    """ "all" and "none" as people say them: in brackets, "(all)", where a class is called so."""
    return apart(what.value, classes)


def apart(text: str, classes: Sequence[str]) -> str:
    """A text for people that is no class's name: in brackets where one is called so."""
    while text in classes:
        text = f"({text})"
    return text


def split(texts: str | Sequence[str] | None, classes: Sequence[str]) -> str | list[int | str] | None:
    """What a command line or an address says, to what `conditions` takes. One text is a list where it has commas and is no
    class's name; of several, each is one class."""
    texts = [texts] if isinstance(texts, str) else list(texts or ())
    if len(texts) != 1:
        return [*texts] or None
    (text,) = texts
    if "," not in text or _find(text, classes) is not None:
        return text
    return [part.strip() for part in text.split(",")]


def _as_word(label: Label, classes: Sequence[str]) -> Word | None:
    if isinstance(label, Word):
        return label
    return next((what for what in Word if isinstance(label, str) and label == word(what, classes)), None)


def _numbers(label: Label, classes: Sequence[str]) -> list[int]:
    """Of a class or a list of classes. Raises ConfigError."""
    label = label.tolist() if isinstance(label, Tensor) else label
    numbers = []
    for each in label if isinstance(label, Iterable) and not isinstance(label, str) else [label]:
        number = _find(str(each), classes)
        if number is None:
            listed = ", ".join(classes[:12]) + (" ..." if len(classes) > 12 else "")
            raise ConfigError(
                f"there is no class {str(each)!r}; give a name or a number below {len(classes)}: {listed}"
            )
        numbers.append(number)
    return numbers


def _find(text: str, classes: Sequence[str]) -> int | None:
    """The class of a name, of a number, or of a name as it is printed; None where there is none."""
    if text in classes:
        return list(classes).index(text)
    if text.isdecimal() and len(text) <= MAX_DIGITS and int(text) < len(classes):
        return int(text)
    return next(
        (k for k, name in enumerate(classes) if "\\" in text and printable(name, keep="") == text), None
    )
