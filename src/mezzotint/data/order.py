"""The order of the data, as a pure function of (seed, position): the same after a resume and on any number of workers."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.randomness import ORDER, WINDOW, bits


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


class Window(NamedTuple):
    """A part of a streamed order: at position start + i stands row row[i] of block block[i]."""

    start: int
    block: list[int]
    row: list[int]

    @property
    def stop(self) -> int:
        return self.start + len(self.block)


class WindowedOrder:
    """A fresh shuffle every epoch of rows that lie in blocks, of which few are needed at a time.

    An epoch shuffles the blocks, cuts their sequence into windows of about equal weight, and shuffles the rows of each
    window together. Every row stands in an epoch once; the window of any position is known without those before it. A
    set that fits one window is shuffled as well as by `Order`; of a larger one, neighbours in a block stay within a
    window of each other, beside rows of blocks from all over the set.
    """

    def __init__(self, rows: Sequence[int], weights: Sequence[int], most: int, seed: int) -> None:
        """rows, weights: of each block, whole numbers. most: the weight of a window, but for its last block."""
        self.rows, self.weights = torch.tensor(rows), torch.tensor(weights)
        self.total, self.seed = int(self.rows.sum()), seed
        assert self.total > 0
        weight = int(self.weights.sum())
        self.width = max(1, -(-weight // max(1, -(-weight // most))))  # so that none is left a small rest
        self._epoch = -1

    def window(self, position: int) -> Window:
        """The window that holds a position, counted from the start of training."""
        epoch, offset = divmod(position, self.total)
        if epoch != self._epoch:
            self._keys = bits(torch.tensor([self.seed]), epoch, ORDER, len(self.rows))[0]
            self._blocks = self._keys.argsort(stable=True)
            weights = self.weights[self._blocks]
            self._number = (weights.cumsum(0) - weights) // self.width  # of the window of each block
            self._stop = self.rows[self._blocks].cumsum(0)
            self._epoch = epoch
        number = self._number[torch.searchsorted(self._stop, offset, right=True)]
        first, last = torch.searchsorted(self._number, torch.stack([number, number + 1])).tolist()
        blocks = self._blocks[first:last]
        rows = self.rows[blocks]
        count = int(rows.sum())
        shuffled = bits(self._keys[blocks[:1]], epoch, WINDOW, count)[0].argsort(stable=True)
        row = torch.arange(count) - (rows.cumsum(0) - rows).repeat_interleave(rows)
        start = epoch * self.total + int(self._stop[last - 1]) - count
        return Window(start, blocks.repeat_interleave(rows)[shuffled].tolist(), row[shuffled].tolist())
