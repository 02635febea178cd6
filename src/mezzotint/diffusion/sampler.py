"""Samplers ask, engines answer.

`sample` walks one request down (and up) its grid and yields what it wants to know; `alone` answers one request,
`together` answers many with shared network calls. A request never sees who else is on board: it keeps its own grid,
history, seeds and conditioning.
"""

import math
from collections.abc import Callable, Generator, Hashable, Iterator, MutableMapping
from itertools import pairwise
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from mezzotint.diffusion.denoiser import NO_COND, Cond, Denoise
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.process import Process, renoise
from mezzotint.diffusion.schedule import LOWEST
from mezzotint.diffusion.solvers import Ask, Solver, dpmpp_2m, first_order, heun


class State(NamedTuple):
    """After a step. x: (B, *D), the state; x0: the belief it moved by, for previews; step: steps done, from 1."""

    x: Tensor
    x0: Tensor
    step: int


Steps = Generator[Ask | State, Tensor | None, None]
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
    gain: float = 1.0,
) -> Steps:
    """One request over its whole grid: yields `Ask` (send back x0) and, after every step, `State`.

    x: (B, *D) at grid[0]. grid: (N + 1,) float64 levels; an interval towards noise is `renoise`, at no call. eta: the
    share of fresh noise inside a step, for the SDE solvers. gain: scale of the fresh noise of intervals that go up.
    """
    history: Any = None
    step, began = 0, grid[0]
    for i, (s, t) in enumerate(pairwise(grid)):
        if t > s:
            # The ends belong here: from (nearly) pure noise, where x says nothing, and to clean, where steps are
            # infinitely long in logsnr, every solver takes the first-order step.
            solve = first_order if s < LOWEST or t == math.inf else solver
            hop = Hop(process, torch.tensor(eta, dtype=torch.float64), lambda draw, i=i: noise(i, draw))  # type: ignore[misc]
            x, x0, history = yield from solve(hop, x, s, t, history)
            step, began = step + 1, s
            yield State(x, x0, step)
        elif t < s:
            x = renoise(process, x, s, t, noise(i, 0), gain)
            if t <= began:  # a restart: the past belongs to the path that was left
                history = None


def ancestral(grid: Tensor, eta: float = 1.0) -> Tensor:
    """Makes a sampler stochastic by its grid: every stop t becomes "further down, then up to t with fresh noise".

    Further down is t - log(1 - eta^2 + eta^2 exp(s - t)), which is DDPM's posterior for eta = 1 (Ho et al. 2020,
    eq. 7), DDIM's sigma(eta) (Song et al. 2021, eq. 16), and k-diffusion's ancestral step (Karras et al. 2022).
    """
    stops = [grid[:1]]
    for s, t in pairwise(grid):
        down = t - (1 - eta**2 + eta**2 * (s - t).exp()).log()
        stops.append(t[None] if t == math.inf or eta == 0 else torch.stack([down, t]))
    return torch.cat(stops)


Key = TypeVar("Key", bound=Hashable)


class Run(NamedTuple):
    """A request on its way: its steps and what its pictures are asked to be."""

    steps: Steps
    cond: Cond = NO_COND


def alone(denoise: Denoise, steps: Steps, cond: Cond = NO_COND) -> Iterator[State]:
    """Answers one request: a for loop over its states, for previews, progress bars and stopping early."""
    for _, state in together(denoise, {0: Run(steps, cond)}):
        yield state


@torch.no_grad()
def together(denoise: Denoise, runs: MutableMapping[Key, Run]) -> Iterator[tuple[Key, State]]:
    """THE ENGINE. Every tick asks what each run wants to know, answers all with one call, and yields the new states.

    runs: live. A run added while iterating joins at the next tick; one removed, or whose steps are closed, leaves; a
    finished one is removed. All runs have pictures of one shape.
    """
    asks: dict[Steps, Ask] = {}
    while runs:
        for key, run in list(runs.items()):
            if run.steps not in asks:
                yield from _advance(runs, asks, key, run, None)
        waiting = [(key, run) for key, run in runs.items() if run.steps in asks]
        asks = {run.steps: asks[run.steps] for _, run in waiting}
        if not waiting:
            continue
        sizes = [len(ask.x) for ask in asks.values()]
        x0 = denoise(
            torch.cat([ask.x for ask in asks.values()]),
            torch.cat([ask.level.expand(size) for ask, size in zip(asks.values(), sizes)]),
            Cond.cat(run.cond for _, run in waiting),
        )
        for (key, run), part in zip(waiting, x0.split(sizes)):
            yield from _advance(runs, asks, key, run, part)


def _advance(
    runs: MutableMapping[Key, Run], asks: dict[Steps, Ask], key: Key, run: Run, x0: Tensor | None
) -> Iterator[tuple[Key, State]]:
    """Sends an answer to one run and hands on its states, up to its next question or its end.

    While a state is out, its receiver may have removed this run, or put another in its place.
    """
    if runs.get(key) is not run:
        return
    try:
        out = next(run.steps) if x0 is None else run.steps.send(x0)
        while isinstance(out, State):
            yield key, out
            if runs.get(key) is not run:
                return
            out = next(run.steps)
        asks[run.steps] = out
    except StopIteration:
        runs.pop(key, None)


class Sampler(NamedTuple):
    """One row of the table of samplers."""

    solver: Solver
    order: int
    calls: int  # network calls a step
    stochastic: bool
    when: str
    paper: str
    fresh: float | None = None  # ancestral noise (eta of the grid); None: eta is the user's, 0 by default


SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(
        first_order, 1, 1, True, "the original; good with hundreds of steps", "Ho et al. 2020", 1.0
    ),
    "ddim": Sampler(first_order, 1, 1, False, "simple and robust; eta adds noise", "Song et al. 2021"),
    "euler_a": Sampler(
        first_order, 1, 1, True, "lively pictures in 20 to 50 steps", "Karras et al. 2022", 1.0
    ),
    "heun": Sampler(heun, 2, 2, False, "accurate; two calls a step", "Karras et al. 2022, algorithm 2"),
    "dpmpp_2m": Sampler(
        dpmpp_2m, 2, 1, False, "the best of few steps: 10 to 25", "Lu et al. 2022, algorithm 2"
    ),
}
