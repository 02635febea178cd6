"""Pictures from a part of them: linear inverse problems y = A x0 without noise, solved by projecting the belief."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.diffusion.corrections import Correction
from mezzotint.diffusion.process import Process, per_row
from mezzotint.diffusion.sampler import Steps, reworded
from mezzotint.diffusion.solvers import Ask

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
PUSH = 1.5  # standard deviations of the noise by which the known part is moved, for an error of one (docs/LOG.md)
MEMORY = 0.5  # share of it that stays for the next question


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


def steered(steps: Steps, process: Process, operator: Operator, y: Tensor) -> Steps:
    """The same steps, which keep to A x0 = y by `ddnm` and ask their questions where the network comes closer to it by itself.

    A belief that is corrected afterwards knows of y by way of x alone. Better is the belief at an x moved within what is
    known until A x0 = y without any correction: for Gaussian data that is E[x0 | A x0 = y, the rest of x], exactly, since the rest
    of x0 depends on the known part of x by way of that of x0 alone, and linearly. So questions are asked at

        x + PUSH sigma A+ b,    b <- MEMORY b + (y - A x0),

    where x0 are answers before they are corrected: the noise of the known part is moved against the errors that it led to. That is a
    step of the iteration at every question, and no further call. y: as of `ddnm`.
    """
    correct = ddnm(operator, y)
    error: Tensor | None = None

    def ask(question: Ask) -> Ask:
        if error is None:
            return question
        sigma = per_row(process(question.level)[1], question.x)
        return question._replace(x=question.x + PUSH * sigma * operator.pinv(error))

    def hear(question: Ask, x0: Tensor) -> Tensor:
        nonlocal error
        left = y - operator.forward(x0)
        error = left if error is None else MEMORY * error + left
        return correct(x0)

    return reworded(steps, ask, hear)
