"""The training loop: a generator that yields after every optimiser step.

Everything random is a pure function of (seed, step, row) (see `randomness`), so that a run resumed from a
checkpoint is the run that was never interrupted.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.cond import NO_COND, Batch, Cond
from mezzotint.diffusion.loss import stratified
from mezzotint.randomness import DROPOUT, EPS, LABEL_DROP, LEVEL, bits, noise, uniform
from mezzotint.train.distributed import Ranks
from mezzotint.train.ema import Ema
from mezzotint.train.objectives import Objective, Timed, core

LEVELS = 8  # parts of (0, 1) that the u of the noise levels are told apart in


@dataclass
class State:
    """The state of training, as in a checkpoint. step: optimiser steps done, whatever the accumulation.

    ema: the average used for sampling. tracked_emas: further ones, for lengths chosen afterwards (see `posthoc`)."""

    net: nn.Module
    optimizer: torch.optim.Optimizer
    ema: Ema
    step: int = 0
    tracked_emas: tuple[Ema, ...] = ()

    @property
    def averages(self) -> tuple[Ema, ...]:
        return (self.ema, *self.tracked_emas)


class Progress(NamedTuple):
    """After a step. Tensors stay on the device: reading them waits for it."""

    step: int
    loss: Tensor  # 0-d
    levels: Tensor  # (2, LEVELS): the losses by equal parts of u, their sum and their number
    grad_norm: Tensor  # 0-d, before clipping
    skipped: Tensor  # 0-d, 1 where loss or gradient were not finite, and the weights stayed as they were
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
    drop: float = 0.0,
    null: Cond = NO_COND,
    ranks: Ranks | None = None,
) -> Iterator[Progress]:
    """Trains to step `until`, or as far as the batches reach; yields after the optimiser and the average of weights.

    Seeds torch's global generators at every step (for dropout). batches: from step state.step on, rows in random order
    (row i of B is noised to a level near i / B, see `stratified`); of several `ranks`, each is given its rows. lr: share of the budget done -> learning rate. clip: largest norm of the gradient.
    accumulate: the batch is computed in so many parts; the step is that of the whole batch. drop: share of rows whose
    condition is replaced by the one row of `null`, "nothing asked", which teaches the unconditional model that guidance needs (Ho & Salimans 2022).

    A step whose loss or gradient is not finite changes neither weights nor moments: the device itself decides, and
    nothing waits for it. The averages go on over weights that did not move.
    """
    ranks = ranks or Ranks()
    state.net.train()
    parameters = [p for p in state.net.parameters() if p.requires_grad]
    statistics = [b for b in state.net.buffers() if b.is_floating_point()]  # of a batch norm
    for x0, cond in islice(batches, until - state.step):
        if isinstance(inside := core(objective), Timed):
            inside.at(state.step, until)
        rate = lr((state.step + 0.5) / until)  # the middle of the step, so that neither end is a rate of 0
        for group in state.optimizer.param_groups:
            group["lr"] = rate
        torch.manual_seed(int(bits(torch.tensor([seed]), state.step, DROPOUT, ranks.rank + 1)[0, -1]))
        eps, u, cond = draw(seed, state.step, x0, cond, drop, null, ranks)
        before = [b.clone() for b in statistics]
        each = torch.empty(len(x0), device=x0.device)
        for first in range(accumulate):
            part = slice(first, None, accumulate)  # rows are sorted by level: every part has all levels
            with ranks.local() if first < accumulate - 1 else nullcontext():
                rows = cond.map(lambda column, part=part: column[part])  # type: ignore[misc]
                loss = objective(x0[part], eps[part], u[part], rows)
                (loss.sum() / len(x0)).backward()
            each[part] = loss.detach().float()
        levels = ranks.sum(by_level(each, u))
        mean = levels[0].sum() / levels[1].sum()
        norm = nn.utils.clip_grad_norm_(parameters, clip if clip is not None else float("inf"), foreach=True)
        skipped = (~(norm.isfinite() & mean.isfinite())).float()
        _step_unless(skipped, state.optimizer, parameters)
        for now, was in zip(statistics, before):
            now.copy_(torch.where(skipped.bool(), was, now))
        state.optimizer.zero_grad()
        state.step += 1
        for average in state.averages:
            average.update(state.net, state.step)
        yield Progress(state.step, mean, levels, norm, skipped, rate)


def _step_unless(skipped: Tensor, optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter]) -> None:
    """One step of the optimiser, or none where the 0-d tensor `skipped` is 1; the host does not learn which."""
    if getattr(optimizer, "_step_supports_amp_scaling", False):  # fused kernels look at the flag themselves
        optimizer.grad_scale, optimizer.found_inf = None, skipped  # type: ignore[attr-defined]
    else:  # others see a gradient of zero
        for p in parameters:
            if p.grad is not None:
                p.grad.masked_fill_(skipped.bool(), 0)
    optimizer.step()


def by_level(each: Tensor, u: Tensor) -> Tensor:
    """Losses (B,) drawn at u (B,) by equal parts of u: (2, LEVELS), their sum and their number. On the usual schedules
    the first part has the cleanest pictures."""
    part = F.one_hot((u * LEVELS).long(), LEVELS).T.to(each.device, each.dtype, non_blocking=True)
    return torch.stack([part @ each, part.sum(1)])


def draw(
    seed: int,
    step: int,
    x0: Tensor,
    cond: Cond = NO_COND,
    drop: float = 0.0,
    null: Cond = NO_COND,
    ranks: Ranks | None = None,
) -> tuple[Tensor, Tensor, Cond]:
    """The noise (B, *D), the u of the levels (B,) and the conditions, some dropped for `null`, of one step: of the rows
    that are this rank's, out of a global batch of B * ranks.count."""
    ranks = ranks or Ranks()
    total = len(x0) * ranks.count
    mine = slice(ranks.rank, None, ranks.count)
    numbers = step * total + torch.arange(total)
    seeds = torch.full_like(numbers, seed)
    u = stratified(uniform(seeds, numbers, LEVEL, 1)[:, 0])[mine]
    seeds, numbers = seeds[mine], numbers[mine]
    eps = noise(seeds.to(x0.device), numbers.to(x0.device), EPS, x0.shape[1:]).to(x0.dtype)
    if cond.inputs() and drop > 0:
        cond = cond.where(uniform(seeds, numbers, LABEL_DROP, 1)[:, 0] < drop, null)
    return eps, u, cond


class HeldOut(NamedTuple):
    """A loss on data kept out of training: the mean, and the means by equal parts of u (nan where nothing was drawn)."""

    loss: float
    levels: list[float]


@torch.no_grad()
def held_out_loss(
    objective: Objective, batches: Sequence[Batch], seed: int = 0, ranks: Ranks | None = None
) -> HeldOut:
    """The loss over batches, at levels and noise that are the same at every call, so that its curve is smooth.
    The network is taken as it is: give one in eval mode, such as the average's. Of several ranks each takes its share
    of the batches, and all get the answer."""
    ranks = ranks or Ranks()
    total = torch.zeros(2, LEVELS, dtype=torch.float64)
    for step in range(ranks.rank, len(batches), ranks.count):
        x0, cond = batches[step]
        eps, u, _ = draw(seed, step, x0)
        total += by_level(objective(x0, eps, u, cond).cpu().double(), u)
    sums, numbers = ranks.sum(total)
    return HeldOut(float(sums.sum() / numbers.sum()), (sums / numbers).tolist())
