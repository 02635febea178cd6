"""Objectives of training: the protocol of the loop, and what all objectives share."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, cast, runtime_checkable

import torch
from torch import Tensor, nn

from mezzotint.cond import Cond


class Objective(Protocol):
    """A loss for every row, as `diffusion.loss.DenoisingLoss` is one."""

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond, /) -> Tensor:
        """x0, eps: (B, *D) on the device; u: (B,) float64 on the CPU, in (0, 1), where the noise level is drawn at;
        cond: B rows. Returns (B,) float32, differentiable in the weights that are trained."""
        ...


@runtime_checkable
class Timed(Protocol):
    """An objective that changes as training goes on. It must depend on these numbers and the saved state only, so that a
    resumed run equals an uninterrupted one."""

    def at(self, step: int, until: int, *, learns: bool = True) -> None:
        """Called before every step. step: optimiser steps done, 0 <= step < until. learns: False where the loss is measured
        between steps, and no saved state may change."""
        ...


def core(objective: Objective) -> Objective:
    """The innermost objective, without those that wrap it."""
    while (inside := getattr(objective, "objective", None)) is not None:
        objective = inside
    return objective


def bare(net: Any) -> nn.Module:
    """A network without the wrapper of several processes."""
    return cast(nn.Module, net.module if isinstance(net, nn.parallel.DistributedDataParallel) else net)


@contextmanager
def same_dropout(device: torch.device) -> Iterator[Callable[[], None]]:
    """Gives a function that sets torch's random numbers back to where they were, so that two calls of a network drop the same
    units."""
    host = torch.get_rng_state()
    there = torch.cuda.get_rng_state(device) if device.type == "cuda" else None

    def again() -> None:
        torch.set_rng_state(host)
        if there is not None:
            torch.cuda.set_rng_state(there, device)

    yield again
