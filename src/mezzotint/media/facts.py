"""What the data decided, and every part after it needs to know."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mezzotint.media.medium import MEDIA, Medium, name_by_shape


@dataclass(frozen=True)
class Facts:
    """shape: of one thing, (C, H, W) or (2,), before it is coded for the network. classes: their names, in the order of
    the labels. kind: the row of `MEDIA`; "" takes the one that has such shapes, as model files of format 1 do. empty: the
    numbers of classes that had nothing to train on; they are never drawn."""

    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    kind: str = ""
    empty: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", name_by_shape(self.shape))
        if self.kind not in MEDIA:
            raise ValueError(f"there is no medium {self.kind!r}; there are {', '.join(MEDIA)}")

    @property
    def medium(self) -> Medium:
        return MEDIA[self.kind]

    def __str__(self) -> str:
        """pictures 1x28x28"""
        return f"{self.kind} {'x'.join(map(str, self.shape))}"

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(content: dict[str, Any]) -> "Facts":
        empty = tuple(content.get("empty", ()))
        classes = tuple(told_apart(content["classes"]))  # files of 0.1 may have two of one name
        return Facts(tuple(content["shape"]), classes, content.get("kind", ""), empty)


def told_apart(names: Sequence[str]) -> list[str]:
    """Names of classes, each once: "crane", "crane (2)"."""
    result: list[str] = []
    taken, used, count = set(names), set[str](), dict[str, int]()
    for name in names:
        fresh = name
        while fresh in used or (fresh != name and fresh in taken):
            count[name] = count.get(name, 1) + 1
            fresh = f"{name} ({count[name]})"
        used.add(fresh)
        result.append(fresh)
    return result
