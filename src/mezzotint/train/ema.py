"""Averages of the weights over training, which sample better than the last weights.

The power-function profile of EDM2 (Karras et al. 2024, section 3.1) weighs step tau of t by tau^gamma, so that the
average always covers the same *share* of training: one length suits a run of a minute and one of a week. Snapshots of
two of them give any other length afterwards, see `posthoc`.
"""

import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn


def gamma_of(length: float) -> float:
    """The exponent of the profile whose standard deviation is `length` as a share of training, 0 < length < 0.288.

    Solves length^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)) (EDM2, algorithm 2).
    """
    t = length**-2
    return float(np.roots([1, 7, 16 - t, 12 - t]).real.max())


@dataclass(frozen=True)
class Power:
    """The power-function profile: beta = (1 - 1 / step)^(gamma + 1), 0 at the first step."""

    length: float

    def __str__(self) -> str:
        return f"{self.length:g}"

    @cached_property
    def gamma(self) -> float:
        return gamma_of(self.length)

    def beta(self, step: int) -> float:
        return (1 - 1 / step) ** (self.gamma + 1)


@dataclass(frozen=True)
class Decay:
    """A constant decay with warm-up: beta = min(rate, (step - 1) / (step + 9)), 0 at the first step."""

    rate: float

    def __str__(self) -> str:
        return f"decay {self.rate:g}"

    def beta(self, step: int) -> float:
        return min(self.rate, (step - 1) / (step + 9))


@dataclass(frozen=True)
class Held:
    """No average: weights that stay fixed until they are set, saved beside the averages."""

    def __str__(self) -> str:
        return "held"

    def beta(self, step: int) -> float:
        return 1.0


class Ema:
    """A copy of a network whose weights follow it. `net` is in eval mode and needs no gradient: sample with it.

    profile: the length of a power-function profile, 0 < length < 0.288, a `Decay`, or `Held`.
    """

    def __init__(self, net: nn.Module, profile: float | Decay | Held) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.profile = profile if isinstance(profile, Decay | Held) else Power(profile)
        self._mine: list[Tensor] = list(self.net.parameters())

    @torch.no_grad()
    def update(self, net: nn.Module, step: int) -> None:
        """After optimiser step `step` (from 1). The first update is a copy of the trained weights, never of random
        ones. Buffers (the statistics of a batch norm) are copied."""
        torch._foreach_lerp_(self._mine, list(net.parameters()), 1 - self.profile.beta(step))
        for mine, theirs in zip(self.net.buffers(), net.buffers()):
            mine.copy_(theirs)

    def named(self) -> dict[str, Tensor]:
        """All tensors of the average, by "profile/name"."""
        return {f"{self.profile}/{name}": tensor for name, tensor in self.net.state_dict().items()}
