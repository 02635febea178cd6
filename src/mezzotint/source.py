"""From a data set to batches for training: order, augmentation, range, device; and the part held out of it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mezzotint.build import Facts
from mezzotint.config import Config, Data
from mezzotint.data import toy
from mezzotint.data.images import OnDemand, Pictures, load_pictures
from mezzotint.data.known import flips_by_default
from mezzotint.data.transforms import augment, to_model
from mezzotint.diffusion.noise import uniform
from mezzotint.errors import ConfigError
from mezzotint.train.data_order import AUGMENT, Order
from mezzotint.train.loop import Batch

MOST_HELD_OUT = 1000
POINTS_AN_EPOCH = 10_000  # 2-D sets are unlimited


class Points:
    """A 2-D set: every batch is fresh."""

    count, skipped = "unlimited", ()

    def __init__(self, data: Data, device: torch.device) -> None:
        unused = ("path", "size", "channels", "limit", "only", "flip", "crop", "colour")
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

    def batches(self, seed: int, size: int, step: int) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end; each a function of (seed, step)."""
        while True:
            yield self._batch(size, (seed, step))
            step += 1

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
    flip: bool
    crop: int
    colour: float
    kept: Tensor  # numbers of the pictures to train on
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

    def batches(self, seed: int, size: int, step: int) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end; each a function of (seed, step)."""
        order = Order(self.total, seed)

        def make(step: int) -> Batch:
            raw, label = self._take(self.kept[order(step * size, size)])
            if self.flip or self.crop or self.colour:
                numbers = step * size + torch.arange(size)
                random = uniform(torch.full_like(numbers, seed), numbers, AUGMENT, 8).float().to(self.device)
                raw = augment(raw, random, flip=self.flip, crop=self.crop, colour=self.colour)
            return to_model(raw), label

        if not isinstance(self.pictures.images, OnDemand):
            while True:
                yield make(step)
                step += 1
        with ThreadPoolExecutor(1) as worker:  # decode the next batch while the network works on this one
            coming = worker.submit(make, step)
            while True:
                step += 1
                ready, coming = coming.result(), worker.submit(make, step)
                yield ready

    def held_out(self, size: int) -> list[Batch]:
        parts = [part for part in self.held.split(size) if len(part)]
        return [(to_model(raw), label) for raw, label in map(self._take, parts)]

    def preview(self, count: int) -> tuple[Tensor, Tensor | None]:
        """Examples as the network sees them, augmented: x0 (N, C, H, W) in [-1, 1], label (N,) | None."""
        return next(self.batches(0, min(count, self.total), 0))

    def _take(self, index: Tensor) -> tuple[Tensor, Tensor | None]:
        where = self.pictures.images.device if isinstance(self.pictures.images, Tensor) else index.device
        raw, label = self.pictures.batch(index.to(where))
        label = label.to(self.device) if self.facts.classes and label is not None else None
        return raw.to(self.device, non_blocking=True), label


Source = Points | PictureSource


def open_source(config: Config, device: torch.device) -> Source:
    """The data of a configuration. Raises DataError or ConfigError in one line."""
    data = config.data
    if data.name in toy.TOYS:
        return Points(data, device)
    pictures = load_pictures(
        data.name,
        data.path,
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
    return PictureSource(
        pictures,
        Facts((pictures.channels, *pictures.size), classes),
        device,
        flip=flips_by_default(data.name) if data.flip is None else data.flip,
        crop=data.crop,
        colour=data.colour,
        kept=shuffled[held:].sort().values,
        held=shuffled[:held].sort().values,
    )
