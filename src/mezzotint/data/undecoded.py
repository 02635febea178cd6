"""A set of pictures that are not decoded yet, with their classes, and what was guessed or left out on the way there."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from mezzotint.data.decode import WHITE
from mezzotint.data.ranges import Ranges

Captions = bool | str | None  # whether to read captions, or the column that has them
Labels = (
    bool | str | None
)  # whether there must be classes, or the column that has them; None: where there are any


class Keys(NamedTuple):
    """What is read of each picture, by the keys of a configuration that say so; see `images.load_pictures`."""

    column: str | None = None  # of a table, the pictures
    labels: Labels = None
    captions: Captions = None


@dataclass(frozen=True)
class Undecoded:
    """A set of pictures that are opened on demand.

    open: index -> Pillow image, or a `Film` of a set of clips; raises whatever is wrong with that picture; threads may call it at once.
    where: index -> words that name the picture in a message.
    labels: the class of each picture, (N,) int64, or None. classes: their names, each once, in the order of the labels.
    notes: lines on what was guessed or left out, "what; what to do about it" where something can be done.
    why: why there are no classes, in the same form; "" where none were to be expected.
    captions: of each picture, "" where it has none; None where they are not wanted. background: what transparent parts are laid over.
    given_ranges: of pictures whose format does not say what white is: of the whole set, whichever of it are selected.
    cell: index -> what a table holds of it, encoded; None where there is no table. stride: of clips, how far apart frames are taken.
    """

    count: int
    open: Callable[[int], Any]
    where: Callable[[int], str]
    labels: np.ndarray | None = None
    classes: Sequence[str] = ()
    notes: Sequence[str] = ()
    why: str = ""
    given_ranges: Ranges | None = None
    captions: Sequence[str] | None = None
    background: str = WHITE
    cell: Callable[[int], Any] | None = None
    stride: int = 1

    @cached_property
    def ranges(self) -> Ranges:
        return self.given_ranges or Ranges(self.count, self.open)

    def select(self, index: np.ndarray) -> "Undecoded":
        """The pictures at `index` (M,), in that order."""
        return replace(
            self,
            count=len(index),
            open=lambda i: self.open(int(index[i])),
            where=lambda i: self.where(int(index[i])),
            labels=None if self.labels is None else self.labels[index],
            given_ranges=self.ranges,
            captions=None if self.captions is None else [self.captions[int(i)] for i in index],
            cell=None if self.cell is None else lambda i: self.cell(int(index[i])),  # type: ignore[misc]
        )
