"""What the sources of batches share: the rows that a process is given, their augmentation, and the work done ahead."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.cond import Batch
from mezzotint.config import Data
from mezzotint.data.known import flips_by_default
from mezzotint.errors import ConfigError
from mezzotint.media.pictures import augment
from mezzotint.randomness import AUGMENT, uniform


def check_ranks(size: int, world: int) -> None:
    """Whether a batch divides among the processes: their gradients are averaged, so all need as many rows."""
    if size % world:
        fits = [n for n in (size - size % world, size + world - size % world) if n]
        raise ConfigError(
            f"train.batch_size {size} cannot be divided among {world} processes; "
            f"use {' or '.join(map(str, fits))}"
        )


def positions(step: int, size: int, rank: int = 0, world: int = 1) -> Tensor:
    """Where the rows of a step stand in the order of the data, from the start of training: (size / world,) int64.

    Of `world` processes each is given every world-th row of the same batch: rows are sorted by noise level later, and
    so all have all levels.
    """
    return step * size + torch.arange(rank, size, world)


@dataclass(frozen=True)
class Augmentation:
    """Random flips, shifts and colours (see `media.pictures.augment`); the randomness of a row is a function of
    (seed, position)."""

    flip: bool
    crop: int
    colour: float

    @staticmethod
    def of(data: Data) -> "Augmentation":
        return Augmentation(
            flips_by_default(data.name) if data.flip is None else data.flip, data.crop, data.colour
        )

    def __call__(self, images: Tensor, seed: int, positions: Tensor) -> Tensor:
        """images: (B, C, H, W) on any device, or clips (B, C, T, H, W), whose frames are all changed alike. positions: (B,) on the CPU."""
        if not (self.flip or self.crop or self.colour):
            return images
        if images.ndim == 5:
            length = images.shape[2]
            frames = self(images.transpose(1, 2).flatten(0, 1), seed, positions.repeat_interleave(length))
            return frames.unflatten(0, (-1, length)).transpose(1, 2)
        random = uniform(torch.full_like(positions, seed), positions, AUGMENT, 8).float().to(images.device)
        return augment(images, random, flip=self.flip, crop=self.crop, colour=self.colour)


WHERE = 6  # which of a row's random numbers says where a part of a clip begins; those before are of `media.pictures.augment`


def begins(seed: int, positions: Tensor) -> Tensor:
    """Where in their clips the parts at positions (B,) of the order begin, of all places that leave room: (B,) float64 in (0, 1)."""
    return uniform(torch.full_like(positions, seed), positions, AUGMENT, WHERE + 1)[:, WHERE]


def ahead(
    make: Callable[[int], Batch], step: int, done: Callable[[], None] = lambda: None
) -> Iterator[Batch]:
    """make(step), make(step + 1), ...: the next one is made in a thread while the network works on the last. `done` is
    called when nobody wants any more."""
    try:
        with ThreadPoolExecutor(1) as worker:
            coming = worker.submit(make, step)
            while True:
                step += 1
                ready, coming = coming.result(), worker.submit(make, step)
                yield ready
    finally:
        done()
