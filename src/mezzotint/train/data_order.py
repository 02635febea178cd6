"""The order of the data, as a pure function of (seed, position): the same after a resume and on any number of workers."""

import torch
from torch import Tensor

from mezzotint.diffusion.noise import bits


class Order:
    """A fresh shuffle every epoch of `total` things. Position p, counted from the start of training, is entry p mod
    total of the permutation of epoch p // total; no state but a cache."""

    def __init__(self, total: int, seed: int) -> None:
        assert total > 0
        self.total, self.seed = total, seed
        self._epoch, self._permutation = -1, torch.empty(0, dtype=torch.int64)

    def __call__(self, start: int, count: int) -> Tensor:
        """Which things stand at positions start ... start + count - 1: (count,) int64 in [0, total)."""
        parts = []
        while count:
            epoch, offset = divmod(start, self.total)
            part = self.permutation(epoch)[offset : offset + count]
            parts.append(part)
            start, count = start + len(part), count - len(part)
        return torch.cat(parts)

    def permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            keys = bits(torch.tensor([self.seed]), epoch, ORDER, self.total)[0]
            self._epoch, self._permutation = epoch, keys.argsort(stable=True)
        return self._permutation


# What a random draw of training is for; the `draw` of `diffusion.noise`. Each has numbers of its own.
EPS, LEVEL, LABEL_DROP, AUGMENT, ORDER, DROPOUT = range(6)
