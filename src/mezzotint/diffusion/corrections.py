"""Corrections of predictions. A correction is a function of one request's x0, applied after the shared network call, so that
requests with and without clipping, and those that fill in a picture, share their calls (see `engine.answer`).

Solvers derive eps from the belief, so eps follows the corrected x0. `inverse.ddnm` is another one.
"""

import math
from collections.abc import Callable

from torch import Tensor

from mezzotint.diffusion.process import per_row

Correction = Callable[[Tensor], Tensor]  # x0 (B, *D) -> x0 (B, *D), row by row


def clip(low: float = -1.0, high: float = 1.0) -> Correction:
    """Keeps x0 in the range of the data."""
    return lambda x0: x0.clamp(low, high)


def dynamic_threshold(ratio: float = 0.995, largest: float = math.inf) -> Correction:
    """Dynamic thresholding (Imagen, Saharia et al. 2022, section 2.3): x0 clipped to [-s, s] and divided by s.

    s is the `ratio` quantile of |x0| of each picture, in [1, largest], so that a saturated picture is pressed back into
    the range [-1, 1] of the data instead of cut off; with largest = 1 it is `clip`.
    """

    def thresholded(x0: Tensor) -> Tensor:
        s = per_row(x0.abs().flatten(1).quantile(ratio, dim=1).clamp(1, largest), x0)
        return x0.clamp(-s, s) / s

    return thresholded
