"""A set in the words of a model that learned before: its classes and words first, and that model's own samples among the rows.

What a network was trained on alone it does soon forget ("catastrophic forgetting", McCloskey & Cohen 1989). Samples of what it was
before, learnt again beside what is new, keep it ("pseudo-rehearsal", Robins 1995; of diffusion models "prior preservation", Ruiz et al.
2023, "DreamBooth", section 3.2).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count

import torch
from torch import Tensor

from mezzotint.cond import Batch, Cond
from mezzotint.conditions.text import FIRST, PADDING
from mezzotint.data.batches import check_ranks
from mezzotint.data.latents import CodedSource
from mezzotint.data.open import Source
from mezzotint.data.order import Order
from mezzotint.data.texts import MAX_EXAMPLES
from mezzotint.media.codec import Codec
from mezzotint.media.facts import Facts
from mezzotint.randomness import REPLAY, uniform


@dataclass(frozen=True)
class Replay:
    """Samples of the model that a training begins with. x0: (R, *D) as the network sees them, cond: R rows, both on the device.
    share: of every batch."""

    x0: Tensor
    cond: Cond
    share: float

    def rows(self, size: int) -> int:
        """How many rows of a batch are samples: the share of it, one at least, and not all."""
        return min(size - 1, max(1, round(self.share * size)))

    def take(self, seed: int, start: int, rows: int) -> Batch:
        """Those at positions start ... start + rows - 1 of an endless order, shuffled afresh each time through."""
        index = Order(len(self.x0), seed + 1)(start, rows).to(self.x0.device)
        return Batch(self.x0[index], self.cond.map(lambda column: column[index]))


def joined(before: Facts, here: Facts, replayed: bool) -> Facts:
    """What a set is, in the words of a model of `before` that goes on with it: its classes and words, then those that are new;
    places for the longer texts. Classes that this set has nothing of are `empty`, unless samples of them are `replayed`: they are
    not drawn, and may be asked for. Without classes of its own a set has none; without captions it keeps the language, and its
    pictures are asked nothing."""
    facts = here
    if here.classes:
        classes = before.classes + tuple(name for name in here.classes if name not in before.classes)
        filled = {name for k, name in enumerate(here.classes) if k not in here.empty}
        if replayed:
            filled |= {name for k, name in enumerate(before.classes) if k not in before.empty}
        facts = replace(
            facts, classes=classes, empty=tuple(k for k, name in enumerate(classes) if name not in filled)
        )
    if before.length:
        facts = replace(
            facts,
            words=tuple(sorted({*before.words, *here.words})),
            length=max(before.length, here.length),
            examples=(here.examples + (before.examples if replayed else ()))[:MAX_EXAMPLES],
            reading=before.reading,
            digest=before.digest,
            width=before.width,
        )
    return facts


def renumbered(before: Facts, after: Facts) -> tuple[Tensor, Tensor]:
    """The new numbers of the labels of a set, "none" included, (K + 1,) int64, and those of its words, PADDING and START included."""
    labels = [after.classes.index(name) for name in before.classes] + [len(after.classes)]
    table = {word: number for number, word in enumerate(after.words, FIRST)}
    words = [*range(FIRST), *(table[word] for word in before.words)]
    return torch.tensor(labels), torch.tensor(words)


@dataclass(frozen=True)
class Continued:
    """source: what is new. facts: `joined`. nothing: one row of a text that asks nothing, in the language of `facts`, for pictures
    without captions. replay: samples among the rows, or None."""

    source: Source | CodedSource
    facts: Facts
    nothing: Cond
    replay: Replay | None = None

    @property
    def codec(self) -> Codec:
        return self.source.codec

    @property
    def total(self) -> int:
        """Rows of an epoch, in which all that is new comes once, and samples beside it."""
        share = 0.0 if self.replay is None else self.replay.share
        return round(self.source.total / (1 - share))

    @property
    def count(self) -> str:
        beside = "" if self.replay is None else f", beside {len(self.replay.x0):,} samples"
        return f"{self.source.count}{beside}"

    @property
    def skipped(self) -> list[str]:
        return list(self.source.skipped)

    @property
    def notes(self) -> list[str]:
        return list(self.source.notes)

    def batches(self, seed: int, size: int, step: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end; each a function of (seed, step).

        Of `world` processes, each is given the rows rank, rank + world, ... of the same batch of `size`. With samples among them
        each makes the whole batch first: rows are then sorted by noise level, and must come in an order that knows no kinds.
        """
        check_ranks(size, world)
        if self.replay is None:
            yield from map(self._told, self.source.batches(seed, size, step, rank, world))
            return
        again = self.replay.rows(size)
        for number, new in zip(count(step), self.source.batches(seed, size - again, step)):
            old = self.replay.take(seed, number * again, again)
            x0, cond = self._told(new)
            whole = Batch(torch.cat([x0, old.x0]), Cond.cat([cond, old.cond]))
            dealt = uniform(torch.tensor([seed]), number, REPLAY, size)[0].argsort()[rank::world]
            yield _rows(whole, dealt.to(x0.device))

    def held_out(self, size: int) -> list[Batch]:
        return [self._told(batch) for batch in self.source.held_out(size)]

    def preview(self, count: int) -> Batch:
        """Examples of what is new, as the network sees them, augmented."""
        return self._told(self.source.preview(count))

    def _told(self, batch: Batch) -> Batch:
        """A batch of the source, with what it is asked to be in the words of `facts`."""
        x0, cond = batch
        labels, words = renumbered(self.source.facts, self.facts)
        if cond.label is not None:
            cond = replace(cond, label=labels.to(cond.label.device)[cond.label])
        if not self.source.facts.length:
            unsaid = self.nothing.map(lambda column: column.to(x0.device)).expand(len(x0))
            return Batch(x0, replace(unsaid, label=cond.label, image=cond.image, grain=cond.grain))
        if cond.text is not None:
            text = cond.text if self.facts.reading == "bytes" else words.to(cond.text.device)[cond.text]
            longer = text.new_full((len(text), self.facts.length - text.shape[1]), PADDING)
            cond = replace(cond, text=torch.cat([text, longer], 1))
        return Batch(x0, cond)


def _rows(batch: Batch, index: Tensor) -> Batch:
    taken: Callable[[Tensor], Tensor] = lambda column: column[index]  # noqa: E731
    return Batch(taken(batch.x0), batch.cond.map(taken))
