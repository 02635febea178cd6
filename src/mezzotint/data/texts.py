"""Captions of a set, as networks are told of them: how they are read, and a row for each picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions import frozen
from mezzotint.conditions.frozen import Frozen
from mezzotint.conditions.text import Bytes, Language, Words
from mezzotint.config import Data
from mezzotint.data.endings import count, few
from mezzotint.errors import ConfigError

CLASSES = "classes"  # data.captions: the names of the classes are the captions
EXAMPLES_SHOWN = 16  # captions that are asked for where nobody asks for others
MAX_EXAMPLES = 1000  # in a header


@dataclass(frozen=True)
class Rows:
    """What networks are told of each picture of a set. cond: a row for each caption that there is; which: (N,) int64, the row
    of each picture."""

    cond: Cond
    which: Tensor

    @staticmethod
    def of(captions: Sequence[str], language: Language, memory_limit: int) -> "Rows":
        """Raises ConfigError where they would take more bytes than memory_limit."""
        unique = {caption: k for k, caption in enumerate(dict.fromkeys(captions))}
        if isinstance(language, Frozen):
            needed = 4 * len(unique) * language.length * language.width
            if needed > memory_limit:
                raise ConfigError(
                    f"the vectors of {len(unique):,} captions take {needed / 2**30:.2g} GB of memory; raise data.memory_gb, or use a "
                    "smaller encoder"
                )
        which = torch.tensor([unique[caption] for caption in captions], dtype=torch.int64)
        return Rows(language.cond(list(unique)), which)

    def __getitem__(self, index: Tensor) -> Cond:
        """Of the pictures at `index` (B,) int64, on the CPU."""
        which = self.which[index.to(self.which.device)]
        return self.cond.map(lambda column: column[which])

    @property
    def numbers(self) -> list[Tensor]:
        """All that tells these rows from others, for a checksum."""
        if self.cond.text is not None:
            return [self.cond.text[self.which]]
        return [*self.cond.inputs().values(), self.which]


def check(data: Data) -> None:
    """Raises ConfigError for keys on captions that say nothing where there are none, or contradict each other."""
    if not data.captions:
        for key in ("reading", "encoder"):
            if getattr(data, key) != Data.model_fields[key].default:
                raise ConfigError(
                    f"data.{key} is for captions, and data.captions is not set; set it, or leave data.{key} out"
                )
    if data.encoder is not None and data.reading != "words":
        raise ConfigError(
            "captions are read with data.encoder or with data.reading=bytes; leave one of them out"
        )


def learn(data: Data, captions: Sequence[str], device: torch.device | str) -> tuple[Language, list[str]]:
    """How the captions of a set are read, those of pictures held out among them, whose loss is asked for; and lines about it."""
    if data.encoder is not None:
        return frozen.learn(captions, data.encoder, device)
    if data.reading == "words":
        return Words.learn(captions), []
    language = Bytes.learn(captions)
    cut = sum(not language.fits(caption) for caption in captions)
    many = f"{count(cut, 'caption')} of more than {language.length - 1} letters, cut there"
    return language, [many] if cut else []


def columns(language: Language, learnt: Sequence[str], whole: bool = False) -> dict[str, Any]:
    """What `Facts` says of a language and its examples. learnt: captions of pictures to train on; whole: all of them are examples."""
    if whole:
        examples = list(dict.fromkeys(text for text in learnt if text))[:MAX_EXAMPLES]
    else:
        spread = torch.linspace(0, len(learnt) - 1, min(EXAMPLES_SHOWN, len(learnt))).round().long().tolist()
        examples = list(dict.fromkeys(learnt[i] for i in spread if learnt[i]))
    said: dict[str, Any] = {"examples": tuple(examples)}
    match language:
        case Words(words, length):
            return said | {"words": words, "length": length}
        case Bytes(length):
            return said | {"reading": "bytes", "length": length}
        case Frozen():
            same = {name: getattr(language, name) for name in ("length", "digest", "width")}
            return said | {"reading": "encoder", **same}
    raise AssertionError(language)


def named(classes: Sequence[str]) -> list[str]:
    """Captions that are names of classes: with spaces where names of folders have underscores. Raises ConfigError where two
    become one."""
    texts = [" ".join(name.replace("_", " ").split()) for name in classes]
    if doubled := [text for text in texts if texts.count(text) > 1]:
        raise ConfigError(
            f"two classes would have the same name as captions ({few(doubled[:1])}); rename one, or train with data.captions=false"
        )
    return texts
