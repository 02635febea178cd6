"""Enlarging: a picture of known block means, which are the pixels of the small one."""

import torch
from torch import Tensor

from mezzotint.diffusion.inverse import super_resolution
from mezzotint.tasks.task import Task


def enlarge(small: Tensor, factor: int, returns: int = 1) -> Task:
    """small: codes (1, C, H / factor, W / factor), the means of every factor x factor block of what is made."""
    return Task(operator=super_resolution(factor), y=small, returns=returns)


def with_means(things: Tensor, small: Tensor, factor: int) -> Tensor:
    """The nearest pictures whose blocks have exactly the means of `small`, at 8 bit.

    things: uint8 (B, C, H, W); small: uint8 (C, H / factor, W / factor). In each block c is added to all pixels, within 0 to 255, so that the
    mean is right (the projection onto both); then as many pixels as it takes, those with the largest fractions, are rounded up.
    """
    height, width = things.shape[-2:]
    blocks = (
        things.double().unflatten(-1, (-1, factor)).unflatten(-3, (-1, factor)).movedim(-3, -2).flatten(-2)
    )
    total = small.double()[None, ..., None] * factor**2
    blocks = shifted(blocks, torch.ones(factor**2, dtype=torch.float64), total)
    whole = blocks.floor()
    missing = (total - whole.sum(-1, keepdim=True)).round()
    rank = (blocks - whole).argsort(dim=-1, descending=True, stable=True).argsort(dim=-1)
    whole = (whole + (rank < missing)).clamp(0, 255)
    rows = whole.unflatten(-1, (factor, factor)).movedim(-2, -3)
    return rows.flatten(-2).flatten(-3, -2).reshape(*things.shape[:2], height, width).to(torch.uint8)


def shifted(values: Tensor, weights: Tensor, total: Tensor) -> Tensor:
    """values + c, kept in [0, 255], with the one c for which the weighted sum over the last axis is `total` (..., 1).

    By bisection; the sum rises with c. Values with the right sum come back as they are, to rounding.
    """
    low = torch.full((*values.shape[:-1], 1), -255.0, dtype=values.dtype)
    high = -low
    for _ in range(60):
        middle = (low + high) / 2
        above = ((values + middle).clamp(0, 255) * weights).sum(-1, keepdim=True) > total
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return (values + (low + high) / 2).clamp(0, 255)
