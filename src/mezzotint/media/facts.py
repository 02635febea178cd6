"""The facts of a data set that all later parts need."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mezzotint.media.medium import MEDIA, Medium, name_by_shape


@dataclass(frozen=True)
class Facts:
    """shape: of one thing, (C, H, W) or (2,), before it is coded for the network. classes: their names, in the order of
    the labels. kind: the row of `MEDIA`; "" takes the one that has such shapes, as model files of format 1 do. empty: the
    numbers of classes that had nothing to train on; they are never drawn. words: the vocabulary of captions, sorted; length:
    places of a text, 0 without captions; examples: some captions, which are asked for where no other is. reading: how texts
    are read, by "words", by "bytes", or by an "encoder" that was trained elsewhere: its digest, and the width of its vectors."""

    shape: tuple[int, ...]
    classes: tuple[str, ...] = ()
    kind: str = ""
    empty: tuple[int, ...] = ()
    words: tuple[str, ...] = ()
    length: int = 0
    examples: tuple[str, ...] = ()
    reading: str = "words"
    digest: str = ""
    width: int = 0

    def __post_init__(self) -> None:
        if not self.kind:
            object.__setattr__(self, "kind", name_by_shape(self.shape))
        if self.kind not in MEDIA:
            raise ValueError(f"there is no medium {self.kind!r}; the media are {', '.join(MEDIA)}")

    @property
    def medium(self) -> Medium:
        return MEDIA[self.kind]

    def __str__(self) -> str:
        """pictures 1x28x28"""
        return f"{self.kind} {'x'.join(map(str, self.shape))}"

    def as_json(self) -> dict[str, Any]:
        content = asdict(self)
        if not self.length:  # as files were before there were captions
            del content["words"], content["length"], content["examples"]
        if self.reading == "words":  # as they were before there were others
            del content["reading"]
        if not self.width:
            del content["digest"], content["width"]
        return content

    @staticmethod
    def from_json(content: dict[str, Any]) -> "Facts":
        empty = tuple(content.get("empty", ()))
        classes = tuple(told_apart(content["classes"]))  # files of 0.1 may have two of one name
        words, length = tuple(content.get("words", ())), content.get("length", 0)
        examples = tuple(content.get("examples", ()))
        return Facts(
            tuple(content["shape"]),
            classes,
            content.get("kind", ""),
            empty,
            words,
            length,
            examples,
            content.get("reading", "words"),
            content.get("digest", ""),
            content.get("width", 0),
        )


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
