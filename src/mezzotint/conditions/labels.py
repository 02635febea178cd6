"""Classes: their names and numbers in people's words, to labels."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.conditions.text import numbers
from mezzotint.errors import ConfigError
from mezzotint.randomness import CLASS, uniform

Label = int | str | Sequence[int | str] | None


def conditions(label: Label, classes: Sequence[str], seeds: Tensor, empty: Sequence[int] = ()) -> Cond:
    """What things of seeds (n,) int64 on the CPU are asked to be: labels (n,) int64, or NO_COND without classes.

    label: a name, a number, a list (cycled), "all" (every class in turn), "none" (the null label), or None: thing i has a
    class drawn from its seed, all classes equally often. empty: numbers of classes that had nothing to train on: they are
    not drawn, and are not among "all". A name wins over a number and over "all" and "none", since
    classes may be named so. Raises ConfigError for unknown classes.
    """
    n, full = len(seeds), torch.tensor([k for k in range(len(classes)) if k not in empty], dtype=torch.int64)
    if not classes:
        if label is not None:
            raise ConfigError("this model was trained without classes; leave the class out")
        return NO_COND
    if label is None:
        return Cond(label=full[(uniform(seeds, 0, CLASS, 1)[:, 0] * len(full)).long()])
    if label == "none" and label not in classes:
        return nothing(classes).expand(n)
    if label == "all":
        numbers = full
    else:
        words = [label] if isinstance(label, str) or not isinstance(label, Iterable) else label
        numbers = torch.tensor([_number(word, classes) for word in words], dtype=torch.int64)
    if not len(numbers):
        raise ConfigError("the list of classes is empty; name one, or leave it out")
    return Cond(label=numbers.repeat(-(-n // len(numbers)))[:n])


def nothing(classes: Sequence[str], length: int = 0) -> Cond:
    """Nothing asked, one row: the null label where there are classes, the empty text where there are `length` places for one."""
    label = torch.tensor([len(classes)]) if classes else None
    return Cond(label=label, text=numbers([""], (), length) if length else None)


def split(text: str | None, classes: Sequence[str]) -> str | list[int | str] | None:
    """One word of a command line or an address to what `conditions` takes: a list where there are commas, but in a class's
    name."""
    if text is None or "," not in text or text in classes:
        return text
    return [word.strip() for word in text.split(",")]


def _number(word: int | str, classes: Sequence[str]) -> int:
    name = str(word)
    if name in classes:
        return list(classes).index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    listed = ", ".join(classes[:12]) + (" ..." if len(classes) > 12 else "")
    raise ConfigError(f"there is no class {name!r}; give a name or a number below {len(classes)}: {listed}")
