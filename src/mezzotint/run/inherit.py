"""From one network to another: weights by name and shape, tables of classes and words by what their rows stand for."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mezzotint.conditions.text import FIRST
from mezzotint.media.facts import Facts

LEAST = 0.5  # share of a network's numbers that must be taken: with fewer it begins as another one
TABLE, OFFSET = (
    "conditioning.table",
    "conditioning.outer.bias",
)  # added to each other, see `nets.embed.Conditioning`
OF_CLASSES = (TABLE, "tokens")  # a row for each class, and a last one for none
OF_WORDS, OF_PLACES = "encoder.table", "encoder.places"  # see `nets.text.TextEncoder`


class Inheritance(NamedTuple):
    """What a network has of another one. share: of its numbers. lines: one for each weight that could not be taken, or begins
    otherwise than there. other: names of weights that are not those of the other one, to the bit."""

    share: float
    lines: list[str]
    other: list[str]


@torch.no_grad()
def inherit(net: nn.Module, theirs: dict[str, Tensor], here: Facts, there: Facts, source: str) -> Inheritance:
    """Fills a network of things `here` with the weights of one of things `there`, called `source`.

    A weight is taken where name and shape are the same. Rows of tables follow the names of classes and words; a new class or word begins as
    the mean of the old ones, a new place of a text as the last one. A model without classes begins as the other one asked for
    none; a model with classes as one without, for each of them.
    """
    mine, lines, taken = net.state_dict(), [], set[str]()
    theirs = {name: tensor.to(next(iter(mine.values())).device) for name, tensor in theirs.items()}
    rows = _rows(theirs, here, there)
    if TABLE in mine and TABLE not in theirs and OFFSET in theirs:  # of no class there
        rows[TABLE] = torch.zeros_like(mine[TABLE])
    if TABLE in theirs and TABLE not in mine and OFFSET in theirs:
        rows[OFFSET] = theirs[OFFSET] + theirs[TABLE][-1]
        lines.append(f"without classes, beginning as {source} asked for none")
    for name, tensor in mine.items():
        new = rows.get(name, theirs.get(name))
        if new is not None and new.shape == tensor.shape:
            tensor.copy_(new)
            taken.add(name)
        elif new is not None:
            sizes = ("x".join(map(str, part.shape)) or "one number" for part in (new, tensor))
            lines.append("{} is not taken: {} there, and {} here".format(name, *sizes))
    if new_classes := [name for name in here.classes if name not in there.classes]:
        old = f"at the mean of the {len(there.classes)} old ones" if there.classes else "all alike"
        lines.append(f"{_count(new_classes, 'class', 'classes')}, beginning {old}")
    if there.words and (new_words := [word for word in here.words if word not in there.words]):
        lines.append(f"{_count(new_words, 'word', 'words')}, beginning at the mean of the old ones")
    if there.length and here.length > there.length and OF_PLACES in mine:
        lines.append(
            f"texts of {here.length - 1} words; places beyond {there.length - 1} begin as the last one"
        )
    left = [name for name in theirs if name not in mine and name != TABLE]
    lines += [f"{names} not taken: there is none here" for names in in_short(left, theirs)]
    beside = [name for name in mine if name not in taken and name not in rows and name not in theirs]
    lines += [f"{names} as in a fresh network: {source} has none" for names in in_short(beside, mine)]
    total = sum(tensor.numel() for tensor in mine.values())
    share = sum(mine[name].numel() for name in taken) / max(total, 1)
    other = [name for name in mine if name not in taken or name in rows]
    return Inheritance(share, lines, other)


def _count(names: list[str], one: str, many: str) -> str:
    shown = ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")
    return f"{len(names)} new {one if len(names) == 1 else many} ({shown})"


def in_short(names: Sequence[str], others: Iterable[str]) -> list[str]:
    """Some of all names, a module of which all weights are meant as "module.*"."""
    some, rest = set(names), set(others).difference(names)
    short: dict[str, None] = {}  # in order, each once
    for name in names:
        parts = name.split(".")
        modules = (".".join(parts[:k]) + "." for k in range(1, len(parts)))
        whole = (module for module in modules if not any(other.startswith(module) for other in rest))
        module = next(whole, None)
        alone = module is None or sum(one.startswith(module) for one in some) == 1
        short[name if alone else f"{module}*"] = None
    return list(short)


def _rows(theirs: dict[str, Tensor], here: Facts, there: Facts) -> dict[str, Tensor]:
    """Tables whose rows stand for other things here than there, by name."""
    found: dict[str, Tensor] = {}
    for name in OF_CLASSES:
        if name in theirs and here.classes != there.classes:
            found[name] = by_class(theirs[name], here.classes, there.classes)
    if OF_WORDS in theirs and here.words != there.words:
        old = theirs[OF_WORDS]
        table = {word: old[number] for number, word in enumerate(there.words, FIRST)}
        mean = old[FIRST:].mean(0)
        found[OF_WORDS] = torch.stack([*old[:FIRST], *(table.get(word, mean) for word in here.words)])
    if OF_PLACES in theirs and here.length > len(theirs[OF_PLACES]):
        old = theirs[OF_PLACES]
        found[OF_PLACES] = torch.cat([old, old[-1:].expand(here.length - len(old), -1)])
    return found


def by_class(table: Tensor, here: tuple[str, ...], there: tuple[str, ...]) -> Tensor:
    """A table (K + 1, ...) with a row for each class `there` and a last one for none, as one for classes `here`: new ones are the
    mean of the old, or like none where there were none."""
    old = dict(zip(there, table))
    mean = table[:-1].mean(0) if there else table[-1]
    return torch.stack([*(old.get(name, mean) for name in here), table[-1]])
