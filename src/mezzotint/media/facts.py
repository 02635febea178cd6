"""What the data decided."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Facts:
    """What the data decided: the shape of one thing, (C, H, W) or (2,), and the names of its classes."""

    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()

    @property
    def pictures(self) -> bool:
        return len(self.shape) == 3

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(content: dict[str, Any]) -> "Facts":
        return Facts(tuple(content["shape"]), tuple(content["classes"]))
