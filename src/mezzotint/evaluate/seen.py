"""What a judge sees of pictures, where several processes look together."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mezzotint.evaluate.judges.features import BATCH, Features, Progress
from mezzotint.train.distributed import Ranks


def seen(
    see: Callable[[Tensor], Features],
    images: Tensor,
    ranks: Ranks,
    progress: Progress = lambda done, total: None,
) -> Features:
    """Features of all pictures (N, ...) in all processes, each of which looks at its share: as `features.extract` makes them,
    to the bit, since its batches are dealt out whole. see: pictures to features, such as an extractor."""
    parts = list(enumerate(images.split(BATCH)))

    def look(part: tuple[int, Tensor]) -> Sequence[Tensor]:
        number, some = part
        pool, logits = see(some)
        progress(min((number + 1) * BATCH, len(images)), len(images))
        return (pool,) if logits is None else (pool, logits)

    progress(0, len(images))
    pool, *logits = (torch.cat(column) for column in zip(*ranks.spread(parts, look)))
    return Features(pool, logits[0] if logits else None)
