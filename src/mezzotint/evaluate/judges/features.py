"""What a metric sees of a picture: numbers from a network that was not made to flatter the model it judges.

Distances between features of different networks, weights, resizes or numbers of pictures cannot be compared. So an
extractor says what it is, down to a hash of its weights, and that is written beside every number.
"""

from collections.abc import Callable
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


def extract(
    extractor: Extractor, images: Tensor, *, batch: int = BATCH, progress: Progress | None = None
) -> Features:
    """Features of all pictures, uint8 (N, C, H, W), so many at a time."""
    if images.dtype != torch.uint8 or images.ndim != 4:
        raise ValueError(f"extractors take bytes (N, C, H, W), not {images.dtype} {tuple(images.shape)}")
    parts: list[Features] = []
    if progress:
        progress(0, len(images))
    for part in images.split(batch):
        parts.append(extractor(part))
        if progress:
            progress(sum(len(one.pool) for one in parts), len(images))
    logits = [part.logits for part in parts if part.logits is not None]
    return Features(torch.cat([part.pool for part in parts]), torch.cat(logits) if logits else None)


def cached_features(
    extractor: Extractor, images: Tensor, data: str, *, progress: Progress | None = None
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
