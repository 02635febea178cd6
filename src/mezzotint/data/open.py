"""From a data set to batches for training: order, augmentation, range, device; and the part held out of it."""

import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import PurePosixPath
from typing import assert_never

import torch
from torch import Tensor

from mezzotint.cond import Batch
from mezzotint.config import Config, Data
from mezzotint.data import toy
from mezzotint.data.batches import Augmentation, ahead, check_ranks, positions
from mezzotint.data.endings import count as count_of
from mezzotint.data.endings import few
from mezzotint.data.images import OnDemand, Pictures, load_pictures
from mezzotint.data.order import Order
from mezzotint.data.stream import StreamSource, open_stream
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.media.pictures import to_model

MOST_HELD_OUT = 1000
POINTS_AN_EPOCH = 10_000  # 2-D sets are unlimited


class Points:
    """A 2-D set: every batch is fresh."""

    count, skipped, notes = "unlimited", (), ()

    def __init__(self, data: Data, device: torch.device) -> None:
        unused = (
            "path",
            "size",
            "channels",
            "limit",
            "only",
            "split",
            "column",
            "flip",
            "crop",
            "colour",
            "stream",
        )
        if wrong := [key for key in unused if getattr(data, key) != Data.model_fields[key].default]:
            raise ConfigError(f"data.{wrong[0]} is for pictures, and {data.name} is a 2-D set; leave it out")
        classes = () if data.labels is False else tuple(toy.class_names(data.name))
        if data.labels and not classes:
            raise ConfigError(f"{data.name} has no classes; leave data.labels out")
        self.name, self.device, self.facts, self.total = (
            data.name,
            device,
            Facts((2,), classes),
            POINTS_AN_EPOCH,
        )

    def batches(self, seed: int, size: int, step: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end; each a function of (seed, step).

        Of `world` processes, each is given the rows rank, rank + world, ... of the same batch of `size`.
        """
        check_ranks(size, world)

        def make(step: int) -> Batch:
            x, label = self._batch(size, (seed, step))
            return x[rank::world], None if label is None else label[rank::world]

        return map(make, count(step))

    def held_out(self, size: int) -> list[Batch]:
        # numpy reads a seed as 32-bit words followed by zeros: (seed, step) of training never has a fourth
        return [self._batch(size, (0, step, 0, 1)) for step in range(max(1, MOST_HELD_OUT // size))]

    def preview(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Examples as the network sees them: x0 (N, 2), label (N,) | None."""
        return self._batch(count, (0, 0))

    def _batch(self, size: int, seed: tuple[int, ...]) -> Batch:
        x, label = toy.points(self.name, size, seed)
        return x.to(self.device), label.to(self.device) if self.facts.classes else None


@dataclass
class PictureSource:
    """Pictures, shuffled afresh every epoch and augmented on the device."""

    pictures: Pictures
    facts: Facts
    device: torch.device
    augmentation: Augmentation
    kept: Tensor  # numbers of the pictures to train on, ascending
    held: Tensor  # and of those held out

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
            raw, label = self._take(self.kept[order(step * size, size)[rank::world]], self.kept)
            return to_model(self.augmentation(raw, seed, positions(step, size, rank, world))), label

        return ahead(make, step) if isinstance(self.pictures.images, OnDemand) else map(make, count(step))

    def held_out(self, size: int) -> list[Batch]:
        taken = [self._take(index, self.held) for index in self.held.split(size) if len(index)]
        return [(to_model(raw), label) for raw, label in taken]

    def preview(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Examples as the network sees them, augmented: x0 (N, C, H, W) in [-1, 1], label (N,) | None."""
        return next(self.batches(0, min(count, self.total), 0))

    def _take(self, index: Tensor, part: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pictures, bytes, and labels; for one that cannot be read, another of its part, trained on or held out."""
        where = self.pictures.images.device if isinstance(self.pictures.images, Tensor) else index.device
        raw, label = self.pictures.batch(index.to(where), part)
        label = label.to(self.device) if self.facts.classes and label is not None else None
        return raw.to(self.device, non_blocking=True), label


Source = Points | PictureSource | StreamSource


def fingerprint(source: Source) -> int:
    """A checksum of what is trained on: a run that goes on over other data would not be the run that was interrupted.
    Of large sets the number of pictures and their labels alone, or the names and sizes of the shards."""
    match source:
        case Points():
            return zlib.crc32(source.name.encode())
        case StreamSource():
            names = [PurePosixPath(file).name for file in source.shards.files]
            return zlib.crc32(json.dumps([names, source.rows]).encode())
        case PictureSource():
            total = zlib.crc32(json.dumps([source.total, *source.facts.shape]).encode())
            for tensor in (source.pictures.images, source.pictures.labels):
                if isinstance(tensor, Tensor):
                    total = zlib.crc32(tensor.cpu().contiguous().numpy().data, total)
            return total
        case _:
            assert_never(source)


def open_source(config: Config, device: torch.device) -> Source:
    """The data of a configuration. Raises DataError or ConfigError in one line."""
    data = config.data
    if data.name in toy.TOYS:
        return Points(data, device)
    if data.stream:
        return open_stream(data, device, MOST_HELD_OUT)
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
        memory_limit=int(data.memory_gb * 2**30),
    )
    classes = tuple(pictures.classes) if pictures.labels is not None else ()
    if isinstance(pictures.images, Tensor):  # a small set lives on the device, decoded
        labels = None if pictures.labels is None else pictures.labels.to(device)
        pictures = replace(pictures, images=pictures.images.to(device), labels=labels)
    total = len(pictures)
    held = min(round(data.holdout * total), MOST_HELD_OUT, total - 1)
    shuffled = Order(total, seed=0).permutation(0)  # whatever the run's seed, so that runs compare
    kept = shuffled[held:].sort().values
    empty: tuple[int, ...] = ()
    if classes and pictures.labels is not None:
        counts = torch.bincount(pictures.labels.cpu()[kept], minlength=len(classes))
        empty = tuple((counts == 0).nonzero()[:, 0].tolist())
    if empty:
        names = few([classes[k] for k in empty])
        pictures.notes.append(
            f"{count_of(len(empty), 'class', 'classes')} without a picture to train on, never drawn: {names}"
        )
    return PictureSource(
        pictures,
        Facts((pictures.channels, *pictures.size), classes, empty),
        device,
        Augmentation.of(data),
        kept=kept,
        held=shuffled[:held].sort().values,
    )
