"""Data sets that are drawn as they are needed: without end, every batch fresh."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mezzotint.cond import Batch, Cond
from mezzotint.conditions.text import Words
from mezzotint.config import Data
from mezzotint.data import bouncing, scenes, texts
from mezzotint.data.batches import ahead, check_ranks, positions
from mezzotint.data.held_out import MAX_HELD_OUT
from mezzotint.data.images import load_pictures
from mezzotint.errors import ConfigError
from mezzotint.media.codec import Codec
from mezzotint.media.facts import Facts

AN_EPOCH = 10_000  # what is called an epoch of a set without end
HELD_OUT, EXAMPLES = 10**9, 10**9 + 1  # seeds of what no training has

Draw = Callable[
    [int, Sequence[int]], tuple[Tensor, Cond]
]  # of a seed and numbers: things, uint8, and what each is


@dataclass(frozen=True)
class Drawn:
    """things: what draws them, a pure function of seed and number. held: how many are held out. content: of the data, beside the
    name, for `fingerprint`."""

    name: str
    facts: Facts
    device: torch.device
    codec: Codec
    things: Draw
    held: int
    content: bytes = b""
    total: int = AN_EPOCH
    count: str = "unlimited"
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def batches(self, seed: int, size: int, step: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end; each a function of (seed, step).

        Of `world` processes, each is given the rows rank, rank + world, ... of the same batch of `size`.
        """
        check_ranks(size, world)
        return ahead(lambda step: self._batch(seed, positions(step, size, rank, world).tolist()), step)

    def held_out(self, size: int) -> list[Batch]:
        spans = [range(begin, min(begin + size, self.held)) for begin in range(0, self.held, size)]
        return [self._batch(HELD_OUT, span) for span in spans]

    def preview(self, count: int) -> Batch:
        """Examples as the network sees them."""
        return self._batch(0, range(count))

    def _batch(self, seed: int, index: Sequence[int]) -> Batch:
        things, cond = self.things(seed, index)
        return Batch(
            self.codec.encode(things.to(self.device)), cond.map(lambda column: column.to(self.device))
        )


def _check_unused(data: Data, what: str, unused: Sequence[str]) -> None:
    """Raises ConfigError for keys that are for pictures on a disk."""
    if wrong := [key for key in unused if getattr(data, key) != Data.model_fields[key].default]:
        raise ConfigError(
            f"data.{wrong[0]} is for pictures on a disk, and {what} are drawn by a program; leave it out, or set data.{wrong[0]}=null where a recipe has it"
        )


def open_scenes(data: Data, device: torch.device) -> Drawn:
    """Captioned scenes. Raises ConfigError for keys that are for pictures on a disk."""
    where = ("path", "size", "channels", "limit", "only", "split", "column", "captions", "stream", "labels")
    _check_unused(
        data, "scenes", (*where, "reading", "encoder", "frames", "background", "flip", "crop", "colour")
    )
    vocabulary = tuple(scenes.vocabulary())
    examples = tuple(str(scenes.scene(EXAMPLES, i).whole) for i in range(texts.EXAMPLES_SHOWN))
    facts = Facts((3, scenes.SIDE, scenes.SIDE), (), "pictures", (), vocabulary, scenes.LENGTH, examples)
    words = Words(vocabulary, scenes.LENGTH)

    def things(seed: int, index: Sequence[int]) -> tuple[Tensor, Cond]:
        drawn = [scenes.scene(seed, i) for i in index]
        told = words.cond([one.caption for one in drawn])
        return torch.from_numpy(np.stack([one.pixels for one in drawn])), told

    return Drawn("scenes", facts, device, facts.medium.codec, things, MAX_HELD_OUT)


def open_bouncing(data: Data, device: torch.device) -> Drawn:
    """Clips of digits that bounce: of those in the package, or of the set at data.path, such as MNIST.

    Raises ConfigError for keys that are for pictures on a disk, and where nothing there is bright ink on black.
    """
    unused = (
        "size",
        "captions",
        "encoder",
        "stream",
        "enlarge",
        "window",
        "frames",
        "stride",
        "flip",
        "crop",
        "colour",
    )
    _check_unused(data, "clips", unused)
    glyphs = glyphs_of(data)
    classes = () if data.labels is False else glyphs.classes
    facts = Facts((1, bouncing.FRAMES, bouncing.SIDE, bouncing.SIDE), classes, "clips")

    def things(seed: int, index: Sequence[int]) -> tuple[Tensor, Cond]:
        drawn = [bouncing.clip(seed, i, glyphs) for i in index]
        label = torch.tensor([one.label for one in drawn]) if classes else None
        return torch.from_numpy(np.stack([one.pixels for one in drawn])), Cond(label=label)

    held = MAX_HELD_OUT // bouncing.FRAMES  # as many frames as of pictures
    content = glyphs.labels.tobytes()
    return Drawn("bouncing", facts, device, facts.medium.codec, things, held, content)


def glyphs_of(data: Data) -> bouncing.Glyphs:
    """What bounces in the clips of a configuration."""
    if data.path is None:
        return bouncing.bundled()
    found = load_pictures(
        "mnist", data.path, split=data.split, limit=data.limit, only=data.only, channels=1, column=data.column
    )
    if found.labels is None:
        raise ConfigError(f"the pictures at {data.path} have no classes, and bouncing needs them")
    everything = torch.arange(len(found))
    images, _ = found.read(everything)
    try:
        return bouncing.Glyphs.of(
            images[:, 0].cpu().numpy(), found.labels.cpu().numpy(), tuple(found.classes)
        )
    except ValueError as error:
        raise ConfigError(f"{data.path}: {error}") from None
