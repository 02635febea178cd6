"""From a data set to batches for training: order, augmentation, range, device; and the part held out of it."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import PurePosixPath
from typing import Any, assert_never

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Batch, Cond
from mezzotint.config import Data
from mezzotint.data import texts, toy
from mezzotint.data.batches import Augmentation, ahead, check_ranks, positions
from mezzotint.data.clips import ClipSource, Reels, check_keys, open_clips
from mezzotint.data.drawn import Drawn, open_bouncing, open_scenes
from mezzotint.data.endings import count as count_of
from mezzotint.data.endings import few
from mezzotint.data.held_out import MAX_HELD_OUT, split_set
from mezzotint.data.images import OnDemand, Pictures, load_pictures
from mezzotint.data.order import Order
from mezzotint.data.stream import StreamSource, open_stream
from mezzotint.data.texts import CLASSES, Rows
from mezzotint.errors import ConfigError
from mezzotint.media.codec import Codec
from mezzotint.media.facts import Facts

POINTS_AN_EPOCH = 10_000  # 2-D sets are unlimited


@dataclass(frozen=True)
class Points:
    """A 2-D set: every batch is fresh."""

    name: str
    facts: Facts
    device: torch.device
    codec: Codec
    total: int = POINTS_AN_EPOCH
    count: str = "unlimited"
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @staticmethod
    def open(data: Data, device: torch.device) -> "Points":
        """Raises ConfigError for keys that are for pictures."""
        where = (
            "path",
            "size",
            "channels",
            "limit",
            "only",
            "split",
            "column",
            "captions",
            "stream",
            "frames",
        )
        unused = (*where, "reading", "encoder", "background", "flip", "crop", "colour")
        if wrong := [key for key in unused if getattr(data, key) != Data.model_fields[key].default]:
            raise ConfigError(f"data.{wrong[0]} is for pictures, and {data.name} is a 2-D set; leave it out")
        classes = () if data.labels is False else tuple(toy.class_names(data.name))
        if data.labels and not classes:
            raise ConfigError(f"{data.name} has no classes; leave data.labels out")
        facts = Facts((2,), classes, "points")
        return Points(data.name, facts, device, facts.medium.codec)

    def batches(self, seed: int, size: int, step: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end; each a function of (seed, step).

        Of `world` processes, each is given the rows rank, rank + world, ... of the same batch of `size`.
        """
        check_ranks(size, world)

        def make(step: int) -> Batch:
            x0, cond = self._batch(size, (seed, step))
            return Batch(x0[rank::world], cond.map(lambda column: column[rank::world]))

        return map(make, count(step))

    def held_out(self, size: int) -> list[Batch]:
        # numpy reads a seed as 32-bit words followed by zeros: (seed, step) of training never has a fourth
        return [self._batch(size, (0, step, 0, 1)) for step in range(max(1, MAX_HELD_OUT // size))]

    def preview(self, count: int) -> Batch:
        """Examples as the network sees them."""
        return self._batch(count, (0, 0))

    def _batch(self, size: int, seed: tuple[int, ...]) -> Batch:
        x, label = toy.points(self.name, size, seed)
        cond = Cond(label=label.to(self.device)) if self.facts.classes else NO_COND
        return Batch(self.codec.encode(x.to(self.device)), cond)


@dataclass(frozen=True)
class PictureSource:
    """Pictures, shuffled afresh every epoch and augmented on the device."""

    pictures: Pictures
    facts: Facts
    device: torch.device
    augmentation: Augmentation
    kept: Tensor  # numbers of the pictures to train on, ascending
    held: Tensor  # and of those held out
    codec: Codec
    captions: Rows | None = None  # of each picture

    @property
    def total(self) -> int:
        return len(self.kept)

    @property
    def count(self) -> str:
        return f"{len(self.kept):,} to train on, {len(self.held):,} held out"

    @property
    def skipped(self) -> list[str]:
        return self.pictures.skipped

    @property
    def notes(self) -> list[str]:
        """Lines on what was guessed or left out, "what; what to do about it" where something can be done."""
        return self.pictures.notes

    def batches(self, seed: int, size: int, step: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end; each a function of (seed, step).

        Of `world` processes, each is given the rows rank, rank + world, ... of the same batch of `size`.
        """
        check_ranks(size, world)
        order = Order(self.total, seed)

        def make(step: int) -> Batch:
            raw, cond = self._take(self.kept[order(step * size, size)[rank::world]], self.kept)
            things = self.augmentation(raw, seed, positions(step, size, rank, world))
            return Batch(self.codec.encode(things), cond)

        return ahead(make, step) if isinstance(self.pictures.images, OnDemand) else map(make, count(step))

    def held_out(self, size: int) -> list[Batch]:
        taken = [self._take(index, self.held) for index in self.held.split(size) if len(index)]
        return [Batch(self.codec.encode(raw), cond) for raw, cond in taken]

    def preview(self, count: int) -> Batch:
        """Examples as the network sees them, augmented."""
        return next(self.batches(0, min(count, self.total), 0))

    def _take(self, index: Tensor, part: Tensor) -> tuple[Tensor, Cond]:
        """Pictures, bytes, and their conditions; for one that cannot be read, another of its part, trained on or held out."""
        where = self.pictures.images.device if isinstance(self.pictures.images, Tensor) else index.device
        raw, used = self.pictures.read(index.to(where), part)
        return raw.to(self.device, non_blocking=True), self.conditions(used)

    def conditions(self, used: Tensor) -> Cond:
        """What is told of pictures of these numbers."""
        label = None
        if self.facts.classes and self.pictures.labels is not None:
            label = self.pictures.labels[used.to(self.pictures.labels.device)]
        cond = replace(NO_COND if self.captions is None else self.captions[used], label=label)
        return cond.map(lambda column: column.to(self.device))


Source = Points | Drawn | PictureSource | ClipSource | StreamSource


def fingerprint(source: Source) -> int:
    """A checksum of what is trained on: a run that goes on over other data would not be the run that was interrupted.
    Of large sets the number of pictures and their labels alone, or the names and sizes of the shards."""
    match source:
        case Points():
            return zlib.crc32(source.name.encode())
        case Drawn():
            return zlib.crc32(source.content, zlib.crc32(source.name.encode()))
        case StreamSource():
            names = [PurePosixPath(file).name for file in source.shards.files]
            return zlib.crc32(json.dumps([names, source.rows]).encode())
        case PictureSource():
            total = zlib.crc32(json.dumps([source.total, *source.facts.shape]).encode())
            told = [] if source.captions is None else source.captions.numbers
            for tensor in (source.pictures.images, source.pictures.labels, *told):
                if isinstance(tensor, Tensor):
                    total = zlib.crc32(tensor.cpu().contiguous().numpy().data, total)
            return total
        case ClipSource():
            total = zlib.crc32(json.dumps([source.total, *source.facts.shape]).encode())
            known = [source.clips.frames, source.clips.starts] if isinstance(source.clips, Reels) else []
            for tensor in known if source.labels is None else [*known, source.labels]:
                total = zlib.crc32(tensor.contiguous().numpy().data, total)
            return total
        case _:
            assert_never(source)


def open_source(data: Data, device: torch.device) -> Source:
    """The data of a configuration, with the usual codec. Raises DataError or ConfigError in one line."""
    if data.name in toy.TOYS:
        return Points.open(data, device)
    if data.name == "scenes":
        return open_scenes(data, device)
    if data.name == "bouncing":
        return open_bouncing(data, device)
    if data.frames is not None:
        check_keys(data)
    texts.check(data)
    if data.stream:
        return open_stream(data, device)
    if data.frames is not None:
        return open_clips(data, device)
    pictures = load_pictures(
        data.name,
        data.path,
        split=data.split,
        column=data.column,
        size=data.size,
        channels=data.channels,
        limit=data.limit,
        only=data.only,
        labels=data.labels,
        captions=data.captions,
        background=data.background,
        memory_limit=int(data.memory_gb * 2**30),
    )
    classes = tuple(pictures.classes) if pictures.labels is not None else ()
    if isinstance(pictures.images, Tensor):  # a small set lives on the device, decoded
        labels = None if pictures.labels is None else pictures.labels.to(device)
        pictures = replace(pictures, images=pictures.images.to(device), labels=labels)
    parts = split_set(len(pictures), data.holdout)
    empty: tuple[int, ...] = ()
    if classes and pictures.labels is not None:
        counts = torch.bincount(pictures.labels.cpu()[parts.train], minlength=len(classes))
        empty = tuple((counts == 0).nonzero()[:, 0].tolist())
    if empty:
        names = few([classes[k] for k in empty])
        pictures.notes.append(
            f"{count_of(len(empty), 'class', 'classes')} without a picture to train on, never drawn: {names}"
        )
    told: dict[str, Any] = {}
    rows = None
    if pictures.captions is not None:
        language, notes = texts.learn(data, pictures.captions, device)
        pictures.notes.extend(notes)
        rows = Rows.of(pictures.captions, language, int(data.memory_gb * 2**30))
        learnt = [pictures.captions[i] for i in parts.train.tolist()]
        told = texts.columns(language, learnt, whole=data.captions == CLASSES)
    facts = Facts((pictures.channels, *pictures.size), classes, "pictures", empty, **told)
    return PictureSource(
        pictures, facts, device, Augmentation.of(data), parts.train, parts.held, facts.medium.codec, rows
    )
