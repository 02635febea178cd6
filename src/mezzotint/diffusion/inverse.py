"""Pictures from a part of them: linear inverse problems y = A x0 without noise, solved by projecting the belief."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.diffusion.corrections import Correction

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


class Operator(NamedTuple):
    """A linear map of pictures, forward = A, and its Moore-Penrose inverse, pinv = A+, of (B, *D) row by row."""

    forward: Callable[[Tensor], Tensor]
    pinv: Callable[[Tensor], Tensor]


def inpainting(mask: Tensor) -> Operator:
    """Sees the pixels where `mask` is True, and 0 elsewhere. mask: bool, broadcasts with (B, *D). A projection: A+ = A."""

    def seen(x: Tensor) -> Tensor:
        return torch.where(mask, x, 0.0)

    return Operator(seen, seen)


def super_resolution(factor: int) -> Operator:
    """Sees the mean of every factor x factor block: (B, C, H, W) -> (B, C, H / factor, W / factor).

    A A+ = 1, so that A+ = A^T (A A^T)^-1 gives every pixel of a block its mean. Raises ValueError where the factor does
    not divide the size.
    """

    def mean(x: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        if height % factor or width % factor:
            raise ValueError(f"the factor {factor} does not divide {height}x{width}; crop or choose another")
        return x.unflatten(-1, (-1, factor)).unflatten(-3, (-1, factor)).mean((-3, -1))

    def repeat(y: Tensor) -> Tensor:
        return y.repeat_interleave(factor, -2).repeat_interleave(factor, -1)

    return Operator(mean, repeat)


def grey(weights: Sequence[float] = LUMA) -> Operator:
    """Sees the brightness sum_c w_c x_c: (B, C, H, W) -> (B, 1, H, W), by default the luma of ITU-R BT.601.

    One row w a pixel, so that A+ = w^T / |w|^2. The default weights sum to 1, and so keep the range of the data.
    """

    def column(like: Tensor) -> Tensor:
        return torch.tensor(weights, dtype=like.dtype, device=like.device)[:, None, None]

    def brightness(x: Tensor) -> Tensor:
        return (column(x) * x).sum(-3, keepdim=True)

    def colour(y: Tensor) -> Tensor:
        return column(y) / column(y).square().sum() * y

    return Operator(brightness, colour)


def ddnm(operator: Operator, y: Tensor) -> Correction:
    """Belief in pictures with A x0 = y (DDNM, Wang et al. 2023, algorithm 1): A+ y + (1 - A+ A) x0 = x0 + A+ (y - A x0).

    What y sees (the range of A+) is taken from y, what it does not see (the null space of A) from the belief, so that
    A x0 = y to rounding, at every level and at the end; seen pixels are those of y to the bit. Exact, E[x0 | x, y],
    where the two parts are independent in the data; where they are not, the belief knows of y only by way of x, and
    routes that go up again (`routes.repaint`) give the parts time to agree.

    y: (B, *E), one a picture, or (1, *E) for all; no noise. Corrections of range, such as `clip`, come before it.
    """
    return lambda x0: operator.pinv(y) + (x0 - operator.pinv(operator.forward(x0)))
