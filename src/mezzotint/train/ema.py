"""An average of the weights over training, which samples better than the last weights.

The power-function profile of EDM2 (Karras et al. 2024, section 3.1) weighs step tau of t by tau^gamma, so that the
average always covers the same *share* of training: one length suits a run of a minute and one of a week.
"""

import copy

import numpy as np
import torch
from torch import nn


def gamma_of(length: float) -> float:
    """The exponent of the profile whose standard deviation is `length` as a share of training, 0 < length < 0.288.

    Solves length^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)) (EDM2, algorithm 2).
    """
    t = length**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


class Ema:
    """A copy of a network whose weights follow it. `net` is in eval mode and needs no gradient: sample with it."""

    def __init__(self, net: nn.Module, length: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.length, self.gamma = length, gamma_of(length)

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """After optimiser step `step` (from 1): beta = (1 - 1 / step)^(gamma + 1), so the first update is a copy of
        the trained weights, never of random ones. Buffers (the statistics of a batch norm) are copied."""
        beta = (1 - 1 / step) ** (self.gamma + 1)
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), 1 - beta)
        for mine, theirs in zip(self.net.buffers(), net.buffers()):
            mine.copy_(theirs)
