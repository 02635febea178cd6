"""What the data decided."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What the data decided: the shape of one thing, (C, H, W) or (2,), and the names of its classes.

    empty: the numbers of classes that had nothing to train on; they are never drawn."""

    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    empty: tuple[int, ...] = ()

    @property
    def drawn(self) -> list[int]:
        """The numbers of the classes that are drawn: all but the empty ones."""
        return [k for k in range(len(self.classes)) if k not in self.empty]

    @property
    def pictures(self) -> bool:
        return len(self.shape) == 3

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(content: dict[str, Any]) -> "Facts":
        return Facts(tuple(content["shape"]), tuple(content["classes"]), tuple(content.get("empty", ())))
