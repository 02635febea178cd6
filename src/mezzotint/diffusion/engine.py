"""Samplers ask, engines answer: `alone` answers one request, `together` many with shared network calls."""

from collections.abc import Hashable, Iterator, MutableMapping
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.sampler import AfterStep, Steps
from mezzotint.diffusion.solvers import Ask

Key = TypeVar("Key", bound=Hashable)


class Walk(NamedTuple):
    """A request on its way: its steps and what its pictures are asked to be."""

    steps: Steps
    cond: Cond = NO_COND


def alone(denoise: Denoise, steps: Steps, cond: Cond = NO_COND) -> Iterator[AfterStep]:
    """Answers one request: a for loop over its states, for previews, progress bars and stopping early."""
    for _, state in together(denoise, {0: Walk(steps, cond)}):
        yield state


@torch.no_grad()
def together(denoise: Denoise, runs: MutableMapping[Key, Walk]) -> Iterator[tuple[Key, AfterStep]]:
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
    runs: MutableMapping[Key, Walk], asks: dict[Steps, Ask], key: Key, run: Walk, x0: Tensor | None
) -> Iterator[tuple[Key, AfterStep]]:
    """Sends an answer to one run and hands on its states, up to its next question or its end.

    While a state is out, its receiver may have removed this run, or put another in its place.
    """
    if runs.get(key) is not run:
        return
    try:
        out = next(run.steps) if x0 is None else run.steps.send(x0)
        while isinstance(out, AfterStep):
            yield key, out
            if runs.get(key) is not run:
                return
            out = next(run.steps)
        asks[run.steps] = out
    except StopIteration:
        runs.pop(key, None)
