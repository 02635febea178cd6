"""A picture to the noise that a sampler makes it from: DDIM walked backwards, step by step, by solving each step."""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.corrections import Correction
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.sampler import AfterStep, Steps, start
from mezzotint.diffusion.solvers import Ask
from mezzotint.tasks.task import Way

ROUNDS = 12  # questions a step


@dataclass(frozen=True, eq=False)
class Invert:
    """picture: codes (n or 1, *D) float32 on the CPU. rounds: questions that each step is solved by.

    A step of DDIM from a noisy s to a cleaner t is x_t = hop(x_s, D(x_s)). Its inverse is implicit: D is asked at the x_s
    that is sought, and x_s is found by iteration, as in ReNoise (Garibi et al. 2024):

        x_s <- x_s + (alpha_s / alpha_t) (x_t - hop(x_s, D(x_s))),

    which is Newton's step where D believes what it sees, dD/dx = 1 / alpha. ("Naive" DDIM inversion asks at x_t, once, and does
    not come back.) The states are ever noisier; the last is the noise, as `Task` takes it. It needs a first order, steps that are short where
    noise is low (spacings by sigma, not by time), and a smooth D: no guidance above 1, no clipping.
    """

    picture: Tensor
    rounds: int = ROUNDS

    def steps(self, way: Way, seeds: Tensor) -> Steps:
        stops = way.levels().flip(0)
        hop = Hop(way.process, torch.zeros((), dtype=torch.float64), lambda draw: torch.empty(0))
        x = self.picture.to(seeds.device).expand(len(seeds), *way.shape)
        for step, (t, s) in enumerate(pairwise(stops), 1):
            wanted, x0 = x, x
            gain = float(way.process(s)[0] / way.process(t)[0])
            for _ in range(self.rounds):
                answer = yield Ask(x, s, t)
                assert answer is not None
                x0 = answer
                x = x + gain * (wanted - hop(x, x0, s, t))
            if step == len(stops) - 1:
                x = x / start(way.process, s, torch.ones((), dtype=torch.float64))  # of variance 1
            yield AfterStep(x, x0, step)

    def corrections(self, device: torch.device) -> list[Correction]:
        return []

    def cond(self, cond: Cond) -> Cond:
        return cond

    def count(self, steps: int) -> int:
        return steps

    def part(self, begin: int, end: int) -> "Invert":
        return self if len(self.picture) == 1 else replace(self, picture=self.picture[begin:end])
