"""Samplers ask, engines answer.

`sample` walks one request down (and up) its grid and yields what it wants to know; `alone` answers one request,
`together` answers many with shared network calls. A request does not depend on the others: it keeps its own grid,
history, seeds and conditioning.
"""

import math
from collections.abc import Callable, Generator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mezzotint.diffusion import solvers
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.process import Process, renoise
from mezzotint.diffusion.schedule import LOWEST
from mezzotint.diffusion.solvers import Ask, Solver


class AfterStep(NamedTuple):
    """After a step. x: (B, *D), the state that the next question is about, fresh noise included; x0: the belief it moved
    by, for previews; step: steps done, from 1."""

    x: Tensor
    x0: Tensor
    step: int


Steps = Generator[Ask | AfterStep, Tensor | None, None]
Noise = Callable[[int, int], Tensor]  # (interval of the grid, draw) -> z, shaped like x


def start(process: Process, level: Tensor, noise: Tensor) -> Tensor:
    """The first state: noise of the variance that data of variance 1 has at this level, sqrt(alpha^2 + sigma^2) z."""
    alpha, sigma = process(level)
    return (alpha**2 + sigma**2).sqrt() * noise


def sample(
    solver: Solver,
    process: Process,
    x: Tensor,
    grid: Tensor,
    noise: Noise,
    *,
    eta: float = 0.0,
    gain: float | Tensor = 1.0,
) -> Steps:
    """One request over its whole grid: yields `Ask` (send back x0) and, after every step, `AfterStep`.

    x: (B, *D) at grid[0]. grid: (N + 1,) float64 levels; an interval towards noise is `renoise`, at no call, and belongs
    to the step before it. The last state is at grid[-1]. eta: the share of fresh noise inside a step, for the SDE solvers.
    gain: scale of the fresh noise of intervals that go up, one for all or one for every interval, (N,).
    """
    history: Any = None
    step, began, x0 = 0, grid[0], x
    gains = torch.as_tensor(gain, dtype=torch.float64).expand(len(grid) - 1)
    for i, (s, t) in enumerate(pairwise(grid)):
        if t > s:
            if step:  # only now: fresh noise may have followed that step
                yield AfterStep(x, x0, step)
            # The ends belong here: from (nearly) pure noise, where x says nothing, and to clean, where steps are
            # infinitely long in logsnr, every solver takes the first-order step.
            solve = solvers.first_order if s < LOWEST or t == math.inf else solver
            hop = Hop(process, torch.tensor(eta, dtype=torch.float64), lambda draw, i=i: noise(i, draw))  # type: ignore[misc]
            x, x0, history = yield from solve(hop, x, s, t, history)
            step, began = step + 1, s
        elif t < s:
            x = renoise(process, x, s, t, noise(i, 0), gains[i])
            if t <= began:  # a restart: the past belongs to the path that was left
                history = None
    if step:
        yield AfterStep(x, x0, step)


def reworded(steps: Steps, ask: Callable[[Ask], Ask], hear: Callable[[Ask, Tensor], Tensor]) -> Steps:
    """The same steps, whose questions are asked in other words: ask(question) goes out in its place, and hear(question, x0) is what they are
    told where the answer to that was x0."""
    try:
        out = next(steps)
        while True:
            if isinstance(out, AfterStep):
                yield out
                out = next(steps)
                continue
            x0 = yield ask(out)
            assert x0 is not None
            out = steps.send(hear(out, x0))
    except StopIteration:
        return
