"""Samplers ask, engines answer: `alone` answers one request, `together` many with shared network calls.

Both, and the server, use `answer`: one call for what all of them ask. A request does not depend on the others: it keeps
its own grid, history, seeds, conditioning and corrections.
"""

from collections.abc import Hashable, Iterator, MutableMapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.corrections import Correction
from mezzotint.diffusion.denoiser import Denoise, takes_to
from mezzotint.diffusion.guidance import Guidance, Guided
from mezzotint.diffusion.sampler import AfterStep, Steps
from mezzotint.diffusion.solvers import Ask

Key = TypeVar("Key", bound=Hashable)


class Walk:
    """A request in progress: its steps, conditions, guidance and corrections, in that
    order. ask: what it wants to know now; None before it has begun, and after its end."""

    def __init__(
        self,
        steps: Steps,
        cond: Cond = NO_COND,
        guidance: Guidance | None = None,
        corrections: Sequence[Correction] = (),
    ) -> None:
        self.steps, self.cond, self.guidance, self.corrections = steps, cond, guidance, corrections
        self.ask: Ask | None = None

    def go(self, x0: Tensor | None = None) -> Iterator[AfterStep]:
        """Hands on its answer x0, shaped like ask.x, or None to begin; yields the steps that this completes. Afterwards
        `ask` is its next question, or None where it has come to its end."""
        self.ask = None
        try:
            out = next(self.steps) if x0 is None else self.steps.send(x0)
            while isinstance(out, AfterStep):
                yield out
                out = next(self.steps)
            self.ask = out
        except StopIteration:
            return


@torch.no_grad()
def answer(denoise: Denoise | Guided, walks: Sequence[Walk]) -> list[Tensor]:
    """THE ENGINE: what each walk asks, answered by one call for all and corrected for each: x0, shaped like its ask.x.

    All walks ask something, about pictures of one shape. A plain denoiser will do where none of them is guided. A flow map
    is told how far each answer will be held; other denoisers are not.
    """
    asks = [walk.ask for walk in walks if walk.ask is not None]
    sizes = [len(ask.x) for ask in asks]
    x = torch.cat([ask.x for ask in asks])
    level = torch.cat([ask.level.expand(size) for ask, size in zip(asks, sizes)])
    cond = Cond.cat(walk.cond for walk in walks)
    guidance = Guidance.cat((walk.guidance, size) for walk, size in zip(walks, sizes))
    steered = () if guidance is None else (guidance,)
    held: dict[str, Tensor] = {}
    if takes_to(denoise):
        ends = (ask.level if ask.to is None else ask.to for ask in asks)
        held = {"to": torch.cat([to.expand(size) for to, size in zip(ends, sizes)])}
    x0 = denoise(x, level, cond, *steered, **held)
    return [_corrected(part, walk.corrections) for walk, part in zip(walks, x0.split(sizes))]


def _corrected(x0: Tensor, corrections: Sequence[Correction]) -> Tensor:
    for correct in corrections:
        x0 = correct(x0)
    return x0


def alone(
    denoise: Denoise | Guided,
    steps: Steps,
    cond: Cond = NO_COND,
    guidance: Guidance | None = None,
    corrections: Sequence[Correction] = (),
) -> Iterator[AfterStep]:
    """Answers one request: a for loop over its states, for previews, progress bars and stopping early."""
    for _, state in together(denoise, {0: Walk(steps, cond, guidance, corrections)}):
        yield state


@torch.no_grad()
def together(denoise: Denoise | Guided, walks: MutableMapping[Key, Walk]) -> Iterator[tuple[Key, AfterStep]]:
    """Every tick answers what all walks ask with one call, and yields the new states.

    walks: live. One added while iterating joins at the next tick; one removed, or whose steps are closed, leaves; a
    finished one is removed. All have pictures of one shape.
    """
    while walks:
        for key, walk in list(walks.items()):
            if walk.ask is None:
                yield from _advance(walks, key, walk, None)
        waiting = [(key, walk) for key, walk in walks.items() if walk.ask is not None]
        if not waiting:
            continue
        for (key, walk), x0 in zip(waiting, answer(denoise, [walk for _, walk in waiting])):
            yield from _advance(walks, key, walk, x0)


def _advance(
    walks: MutableMapping[Key, Walk], key: Key, walk: Walk, x0: Tensor | None
) -> Iterator[tuple[Key, AfterStep]]:
    """Sends an answer to one walk and hands on its states, up to its next question or its end.

    While a state is out, its receiver may have removed this walk, or put another in its place.
    """
    if walks.get(key) is not walk:
        return
    for state in walk.go(x0):
        yield key, state
        if walks.get(key) is not walk:
            return
    if walk.ask is None:
        walks.pop(key, None)
