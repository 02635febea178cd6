"""What networks are told: one row a picture. And a batch of training, pictures with what is told of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cond:
    """What the pictures are asked to be; one row a picture.

    label: (B,) int64, the class; K (the number of classes) is "none". The rest steers wrappers such as `cfg`; networks
    never see it. guidance: (B,) float64 on the CPU, the scale g; 1 is off. interval: (B, 2) float64 on the CPU, guidance
    is on for low < sigma / alpha <= high only; (0, inf) is always. For `cfg` alone: negative: (B,) int64, the class to
    guide away from, K unless set. rescale: (B,) float64 on the CPU in [0, 1], the share of CFG rescale; 0 is off.
    """

    label: Tensor | None = None
    guidance: Tensor | None = None
    interval: Tensor | None = None
    negative: Tensor | None = None
    rescale: Tensor | None = None

    def inputs(self) -> dict[str, Tensor]:
        """What the network is given, by keyword."""
        return {} if self.label is None else {"label": self.label}

    def map(self, function: Callable[[Tensor], Tensor]) -> "Cond":
        """The same with a function applied to every field that is set: indexing, repeating, moving."""
        present = {f.name: getattr(self, f.name) for f in fields(self)}
        return Cond(**{name: None if value is None else function(value) for name, value in present.items()})

    @staticmethod
    def cat(conds: Iterable["Cond"]) -> "Cond":
        """Several requests' rows below each other. A field is set in all of them or in none, else ValueError."""
        conds = list(conds)
        fields_set: dict[str, Tensor] = {}
        for name in (f.name for f in fields(Cond)):
            values = [getattr(c, name) for c in conds]
            given = [value for value in values if value is not None]
            if given and len(given) < len(values):
                raise ValueError(f"{name} is set for some requests and not for others; give them all one")
            if given:
                fields_set[name] = torch.cat(given)
        return Cond(**fields_set)

    def without_guidance(self) -> "Cond":
        """What networks are asked: the same without all that steers wrappers."""
        return replace(self, guidance=None, interval=None, negative=None, rescale=None)


NO_COND = Cond()


Batch = tuple[
    Tensor, Tensor | None
]  # x0 (B, *D) float32 in [-1, 1] (points: about unit variance), label (B,) | None
