"""The training loop: a generator that yields after every optimiser step.

Everything random is a pure function of (seed, step, row) (see `diffusion.noise`), so that a run resumed from a
checkpoint is the run that was never interrupted.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mezzotint.diffusion.denoiser import Cond
from mezzotint.diffusion.loss import Objective, stratified
from mezzotint.diffusion.noise import bits, noise, uniform
from mezzotint.train.data_order import DROPOUT, EPS, LABEL_DROP, LEVEL
from mezzotint.train.ema import Ema

Batch = tuple[
    Tensor, Tensor | None
]  # x0 (B, *D) float32 in [-1, 1] (points: about unit variance), label (B,) | None


@dataclass
class State:
    """What training changes; what a checkpoint holds. step: optimiser steps done, whatever the accumulation."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema
    step: int = 0


class Progress(NamedTuple):
    """After a step. loss and grad_norm stay 0-d tensors on the device: reading them waits for it."""

    step: int
    loss: Tensor
    grad_norm: Tensor
    lr: float


def train(
    objective: Objective,
    state: State,
    batches: Iterable[Batch],
    *,
    until: int,
    lr: Callable[[float], float],
    seed: int = 0,
    clip: float | None = 1.0,
    accumulate: int = 1,
    label_drop: float = 0.0,
    null: int = 0,
) -> Iterator[Progress]:
    """Trains to step `until`, or as far as the batches reach; yields after the optimiser and the average of weights.

    Seeds torch's global generators at every step (for dropout). batches: from step state.step on. lr: share of the budget done -> learning rate. clip: largest norm of the
    gradient. accumulate: the batch is computed in so many parts; the step is that of the whole batch. label_drop: share
    of labels replaced by `null`, which teaches the unconditional model that guidance needs (Ho & Salimans 2022).
    """
    state.net.train()
    parameters = [p for p in state.net.parameters() if p.requires_grad]
    for x0, label in islice(batches, until - state.step):
        rate = lr((state.step + 0.5) / until)  # the middle of the step, so that neither end is a rate of 0
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(int(bits(torch.tensor([seed]), state.step, DROPOUT, 1)))
        eps, u, label = draw(seed, state.step, x0, label, label_drop, null)
        loss = torch.zeros((), device=x0.device)
        for first in range(accumulate):
            part = slice(first, None, accumulate)  # rows are sorted by level: every part has all levels
            cond = Cond(label=None if label is None else label[part])
            each = objective(x0[part], eps[part], u[part], cond).sum() / len(x0)
            each.backward()
            loss += each.detach()
        norm = nn.utils.clip_grad_norm_(parameters, clip if clip is not None else float("inf"), foreach=True)
        state.optimizer.step()
        state.optimizer.zero_grad()
        state.step += 1
        state.ema.update(state.net, state.step)
        yield Progress(state.step, loss, norm, rate)


def draw(
    seed: int, step: int, x0: Tensor, label: Tensor | None, label_drop: float = 0.0, null: int = 0
) -> tuple[Tensor, Tensor, Tensor | None]:
    """The noise (B, *D), the u of the levels (B,) and the labels, some dropped, of one step."""
    numbers = step * len(x0) + torch.arange(len(x0))
    seeds = torch.full_like(numbers, seed)
    eps = noise(seeds.to(x0.device), numbers.to(x0.device), EPS, x0.shape[1:]).to(x0.dtype)
    u = stratified(uniform(seeds, numbers, LEVEL, 1)[:, 0])
    if label is not None and label_drop > 0:
        dropped = uniform(seeds, numbers, LABEL_DROP, 1)[:, 0] < label_drop
        label = label.masked_fill(dropped.to(label.device, non_blocking=True), null)
    return eps, u, label


@torch.no_grad()
def held_out_loss(objective: Objective, batches: Iterable[Batch], seed: int = 0) -> float:
    """The mean loss over batches, at levels and noise that are the same at every call, so that its curve is smooth.
    The network is taken as it is: give one in eval mode, such as the average's."""
    total, count = 0.0, 0
    for step, (x0, label) in enumerate(batches):
        eps, u, label = draw(seed, step, x0, label)
        total += float(objective(x0, eps, u, Cond(label=label)).sum())
        count += len(x0)
    return total / max(count, 1)
