"""Pictures that were coded once, as batches of codes for training: the same order, flips and conditions as of the pictures."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor

from mezzotint.cond import Batch
from mezzotint.data.batches import check_ranks, positions
from mezzotint.data.open import PictureSource
from mezzotint.data.order import Order
from mezzotint.media.codec import Latents
from mezzotint.media.facts import Facts
from mezzotint.randomness import AUGMENT, uniform


@dataclass(frozen=True)
class CodedSource:
    """pictures: what was coded. codes: (copies, N, *code) float16 on the CPU, as the autoencoder gives them, of all N pictures of
    the set, those held out included; a second copy is of mirrored pictures. used: (N,) int64, the picture that each is of: of
    those that cannot be read others take the place."""

    pictures: PictureSource
    codes: Tensor
    used: Tensor
    codec: Latents

    @property
    def facts(self) -> Facts:
        return self.pictures.facts

    @property
    def total(self) -> int:
        return self.pictures.total

    @property
    def count(self) -> str:
        return self.pictures.count

    @property
    def skipped(self) -> list[str]:
        return self.pictures.skipped

    @property
    def notes(self) -> list[str]:
        return self.pictures.notes

    def batches(self, seed: int, size: int, step: int, rank: int = 0, world: int = 1) -> Iterator[Batch]:
        """Batches from optimiser step `step` on, without end, as of `PictureSource`."""
        check_ranks(size, world)
        order = Order(self.total, seed)

        def make(step: int) -> Batch:
            index = self.pictures.kept[order(step * size, size)[rank::world]]
            where = positions(step, size, rank, world)
            mirrored = torch.zeros(len(index), dtype=torch.int64)
            if len(self.codes) > 1:  # by the number that flips pictures, see `media.pictures.augment`
                mirrored = (
                    uniform(torch.full_like(where, seed), where, AUGMENT, 8)[:, 0].float() < 0.5
                ).long()
            return self._take(index, mirrored)

        return map(make, count(step))

    def held_out(self, size: int) -> list[Batch]:
        held = self.pictures.held
        return [self._take(index, torch.zeros_like(index)) for index in held.split(size) if len(index)]

    def preview(self, count: int) -> Batch:
        """Examples as the network sees them, augmented."""
        return next(self.batches(0, min(count, self.total), 0))

    def _take(self, index: Tensor, copy: Tensor) -> Batch:
        device = self.pictures.device
        raw = self.codes[copy, index].to(device, non_blocking=True).float()
        return Batch(self.codec.standard(raw), self.pictures.conditions(self.used[index]))
