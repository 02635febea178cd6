"""Conditions of networks, one row a picture; and a training batch, pictures with their conditions."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cond:
    """Conditions of pictures as inputs of networks, one row a picture. `Guidance` is separate.

    label: (B,) int64, the class; K (the number of classes) is "none". text: (B, L) int64, the words of a text by their
    numbers, see `conditions.text`. context: (B, L, D) float32, vectors of a text by an encoder that was trained elsewhere, and
    context_mask: (B, L) bool, which of them are there, see `conditions.frozen`. image: (B, C, H, W), a picture as a condition, and
    grain: (B,), its noise, see `conditions.image`.

    "Nothing asked" is a `Cond` of one row, such as
    Cond(label=tensor([K])): guidance steers away from it, and training replaces dropped rows by it.
    """

    label: Tensor | None = None
    text: Tensor | None = None
    context: Tensor | None = None
    context_mask: Tensor | None = None
    image: Tensor | None = None
    grain: Tensor | None = None

    @property
    def asked(self) -> "Cond":
        """The condition without the picture."""
        return replace(self, image=None, grain=None)

    def instead(self, other: "Cond") -> "Cond":
        """The condition of `other`, with the pictures of this one."""
        return replace(other, image=self.image, grain=self.grain)

    def inputs(self) -> dict[str, Tensor]:
        """The network's inputs, by keyword."""
        return {name: value for name, value in self._columns() if value is not None}

    def map(self, function: Callable[[Tensor], Tensor]) -> "Cond":
        """The same with a function applied to every field that is set: indexing, repeating, moving."""
        return Cond(**{name: function(value) for name, value in self.inputs().items()})

    def expand(self, n: int) -> "Cond":
        """One row for n rows; n rows as they are."""
        return self.map(lambda column: column.expand(n, *column.shape[1:]))

    def where(self, mask: Tensor, other: "Cond") -> "Cond":
        """These rows, and where mask (B,) bool on the CPU is True those of `other`, of B rows or of one row.

        The pictures stay. Raises ValueError where `other` lacks a field that is set here.
        """

        def mixed(mine: Tensor, theirs: Tensor) -> Tensor:
            here = mask.to(mine.device, non_blocking=True).reshape(-1, *[1] * (mine.ndim - 1))
            return torch.where(here, theirs.to(mine.device, non_blocking=True), mine)

        mine, theirs = self.asked.inputs(), other.inputs()
        if missing := [name for name in mine if name not in theirs]:
            raise ValueError(
                f"{missing[0]} is set here but not in the condition that replaces it; set it there, too"
            )
        return self.instead(Cond(**{name: mixed(value, theirs[name]) for name, value in mine.items()}))

    @staticmethod
    def cat(conds: Iterable["Cond"]) -> "Cond":
        """Several requests' rows below each other. A field is set in all of them or in none, else ValueError."""
        columns = list(zip(*(cond._columns() for cond in conds)))
        fields_set: dict[str, Tensor] = {}
        for column in columns:
            name, values = column[0][0], [value for _, value in column if value is not None]
            if values and len(values) < len(column):
                raise ValueError(f"{name} is set for some requests but not for others; set it for all")
            if values:
                fields_set[name] = torch.cat(values)
        return Cond(**fields_set)

    def _columns(self) -> list[tuple[str, Tensor | None]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self)]


NO_COND = Cond()


class Batch(NamedTuple):
    """x0: (B, *D) float32 on the device, encoded for the network: pictures in [-1, 1], points of about unit
    variance. cond: their conditions."""

    x0: Tensor
    cond: Cond = NO_COND
