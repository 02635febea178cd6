"""Features of pictures, which metrics compare: numbers from a network that was not made to flatter the model it judges.

Distances between features of different networks, weights, resizes or numbers of pictures cannot be compared. So an
extractor says what it is, down to a hash of its weights, and that is written beside every number.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint import cache

Progress = Callable[[int, int], None]  # (pictures done, of so many), before the first batch and after each


BATCH = 250  # pictures in a call


class Features(NamedTuple):
    """pool: (B, d) float32 on the CPU. logits: (B, K) float32 on the CPU, or None where the network has no classes."""

    pool: Tensor
    logits: Tensor | None


@dataclass(frozen=True)
class Extractor:
    """A network as metrics use it: pictures uint8 (B, C, H, W) in, `Features` out.

    name: what it is called. version: a hash of its weights. resize: what is done to pictures first, in words.
    width: d, how many features. labels: whether its logits are the classes of the data set it judges.
    """

    name: str
    version: str
    resize: str
    width: int
    labels: bool
    compute: Callable[[Tensor], Features]

    def __call__(self, images: Tensor) -> Features:
        return self.compute(images)

    def __str__(self) -> str:
        return f"{self.name} {self.version}, {self.width} features, resize {self.resize}"


Batch = tuple[int, Tensor]  # its number, and its things
Spread = Callable[[Sequence[Batch], Callable[[Batch], Sequence[Tensor]]], list[Sequence[Tensor]]]


def alone(batches: Sequence[Batch], work: Callable[[Batch], Sequence[Tensor]]) -> list[Sequence[Tensor]]:
    """Runs items one after the other in this process."""
    return [work(one) for one in batches]


def seen(
    see: Callable[[Tensor], Features],
    things: Tensor,
    spread: Spread = alone,
    *,
    batch: int = BATCH,
    progress: Progress = lambda done, total: None,
) -> Features:
    """Features of all things (N, ...), so many at a time. see: what is made of a batch, such as by an extractor. spread: who looks at which batch, such
    as `Ranks.spread`; equal to the bit however many processes there are, since batches are dealt out whole."""

    def look(part: Batch) -> Sequence[Tensor]:
        number, some = part
        pool, logits = see(some)
        progress(min((number + 1) * batch, len(things)), len(things))
        return (pool,) if logits is None else (pool, logits)

    progress(0, len(things))
    parts = list(enumerate(things.split(batch)))
    pool, *logits = (torch.cat(column) for column in zip(*spread(parts, look)))
    return Features(pool, logits[0] if logits else None)


def extract(
    extractor: Extractor, images: Tensor, *, batch: int = BATCH, progress: Progress = lambda done, total: None
) -> Features:
    """Features of all pictures, uint8 (N, C, H, W), so many at a time."""
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(f"extractors take bytes (N, C, H, W), not {images.dtype} {tuple(images.shape)}")
    return seen(extractor, images, batch=batch, progress=progress)


def cached_features(
    extractor: Extractor, images: Tensor, data: str, *, progress: Progress = lambda done, total: None
) -> Features:
    """`extract`, once: the features are kept in the cache under a hash of the extractor and of the data.

    data: `cache.digest` of the pictures.
    """
    name = f"features-{cache.digest(extractor.name, extractor.version, extractor.resize, data)}"
    if tensors := cache.load(name):
        return Features(tensors["pool"], tensors.get("logits"))
    features = extract(extractor, images, progress=progress)
    cache.keep(name, {key: value for key, value in features._asdict().items() if value is not None})
    return features


def in_colour(images: Tensor) -> Tensor:
    """(B, 1 or 3, H, W) to (B, 3, H, W): grey pictures as networks trained on colours take them."""
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
