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

from mezzotint.diffusion import solvers
from mezzotint.diffusion.denoiser import NO_COND, Cond, Denoise
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.process import Process, renoise
from mezzotint.diffusion.routes import ancestral, fixed_large, through_clean
from mezzotint.diffusion.schedule import LOWEST
from mezzotint.diffusion.solvers import Ask, Solver


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
    gain: float | Tensor = 1.0,
) -> Steps:
    """One request over its whole grid: yields `Ask` (send back x0) and, after every step, `State`.

    x: (B, *D) at grid[0]. grid: (N + 1,) float64 levels; an interval towards noise is `renoise`, at no call. The last
    state is at grid[-1]. eta: the share of fresh noise inside a step, for the SDE solvers. gain: scale of the fresh noise
    of intervals that go up, one for all or one for every interval, (N,).
    """
    history: Any = None
    step, began = 0, grid[0]
    gains = torch.as_tensor(gain, dtype=torch.float64).expand(len(grid) - 1)
    for i, (s, t) in enumerate(pairwise(grid)):
        if t > s:
            # The ends belong here: from (nearly) pure noise, where x says nothing, and to clean, where steps are
            # infinitely long in logsnr, every solver takes the first-order step.
            solve = solvers.first_order if s < LOWEST or t == math.inf else solver
            hop = Hop(process, torch.tensor(eta, dtype=torch.float64), lambda draw, i=i: noise(i, draw))  # type: ignore[misc]
            x, x0, history = yield from solve(hop, x, s, t, history)
            step, began = step + 1, s
            yield State(x, x0, step)
        elif t < s:
            x = renoise(process, x, s, t, noise(i, 0), gains[i])
            if t <= began:  # a restart: the past belongs to the path that was left
                history = None
            if step and i == len(grid) - 2:  # it ends on its way up, as an ancestral grid of finite end does
                yield State(x, x0, step)


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
    """One row of the table of samplers. shown: in the short list."""

    solver: Solver
    order: int  # of the global error, for smooth denoisers; the weak order 1 where stochastic
    calls: int  # network calls a step
    stochastic: bool
    when: str
    paper: str
    shown: bool = False
    route: Callable[[Tensor], Tensor] | None = None  # how its grid differs from the plain one
    inside: float = 0.0  # eta of the noise inside its steps: the SDE solvers
    gain: Callable[[Tensor], Tensor] | None = None  # of the fresh noise, by interval of the grid

    def stops(self, levels: Tensor) -> Tensor:
        """This sampler's own way over a plain grid of levels."""
        return self.route(levels) if self.route else levels

    def walk(self, process: Process, x: Tensor, stops: Tensor, noise: Noise) -> Steps:
        """`sample` with this row's solver and noise. x: (B, *D) at stops[0]."""
        gain = self.gain(stops) if self.gain else 1.0
        return sample(self.solver, process, x, stops, noise, eta=self.inside, gain=gain)


SAMPLERS: dict[str, Sampler] = {
    "ddpm": Sampler(
        solvers.first_order,
        1,
        1,
        True,
        "the original; good with hundreds of steps",
        "Ho et al. 2020",
        shown=True,
        route=ancestral,
    ),
    "ddpm_large": Sampler(
        solvers.first_order,
        1,
        1,
        True,
        "ddpm with the larger of its two variances, beta_t",
        "Ho et al. 2020, section 3.2",
        shown=True,
        route=ancestral,
        gain=fixed_large,
    ),
    "ddim": Sampler(
        solvers.first_order, 1, 1, False, "simple and robust; eta adds noise", "Song et al. 2021", shown=True
    ),
    "euler_a": Sampler(
        solvers.first_order,
        1,
        1,
        True,
        "lively pictures in 20 to 50 steps",
        "k-diffusion; Karras et al. 2022",
        shown=True,
        route=ancestral,
    ),
    "heun": Sampler(
        solvers.heun,
        2,
        2,
        False,
        "accurate; churn adds noise",
        "Karras et al. 2022, algorithm 2",
        shown=True,
    ),
    "dpmpp_2m": Sampler(
        solvers.dpmpp_2m,
        2,
        1,
        False,
        "the best of few steps: 10 to 25",
        "Lu et al. 2022b, algorithm 2",
        shown=True,
    ),
    "dpmpp_2m_sde": Sampler(
        solvers.dpmpp_2m,
        1,
        1,
        True,
        "like dpmpp_2m, with noise; 20 to 50 steps",
        "Lu et al. 2022b, appendix",
        shown=True,
        inside=1.0,
    ),
    "unipc": Sampler(solvers.unipc, 3, 1, False, "accurate from 8 steps on", "Zhao et al. 2023", shown=True),
    "consistency": Sampler(
        solvers.first_order,
        1,
        1,
        True,
        "1 to 4 steps, of consistency models",
        "Song et al. 2023, algorithm 1",
        shown=True,
        route=through_clean,
    ),
    "euler": Sampler(solvers.first_order, 1, 1, False, "ddim by its other name", "Karras et al. 2022"),
    "dpm2": Sampler(solvers.dpm2, 2, 2, False, "the midpoint rule", "Lu et al. 2022a, algorithm 4"),
    "dpm2_a": Sampler(solvers.dpm2, 1, 2, True, "dpm2 with fresh noise", "k-diffusion", route=ancestral),
    "dpmpp_2s": Sampler(
        solvers.dpmpp_2s, 2, 2, False, "strong guidance in few steps", "Lu et al. 2022b, algorithm 1"
    ),
    "dpmpp_2s_a": Sampler(
        solvers.dpmpp_2s, 1, 2, True, "dpmpp_2s with fresh noise", "k-diffusion", route=ancestral
    ),
    "dpmpp_sde": Sampler(
        solvers.dpmpp_sde, 1, 2, True, "dpmpp_2s with noise inside its steps", "k-diffusion"
    ),
    "dpmpp_3m": Sampler(
        solvers.dpmpp_3m, 3, 1, False, "25 steps and more", "Lu et al. 2022b; order three mended"
    ),
    "dpmpp_3m_published": Sampler(
        solvers.dpmpp_3m_published, 2, 1, False, "to compare with public code", "Lu et al. 2022b"
    ),
    "dpmpp_3m_sde": Sampler(
        solvers.dpmpp_3m_published,
        1,
        1,
        True,
        "like dpmpp_2m_sde; 30 steps and more",
        "k-diffusion",
        inside=1.0,
    ),
    "unipc_3": Sampler(solvers.unipc_3, 4, 1, False, "unipc with one answer more", "Zhao et al. 2023"),
    "lms": Sampler(solvers.lms, 4, 1, False, "classical; 30 steps and more", "k-diffusion; Liu et al. 2022"),
    "deis": Sampler(solvers.deis, 3, 1, False, "like lms, for fewer steps", "Zhang & Chen 2023"),
    "heun_flow": Sampler(
        solvers.heun_flow, 2, 2, False, "heun in the time of the flow", "Lipman et al. 2023"
    ),
}
