"""A picture to the noise that a sampler makes it from: DDIM walked backwards, step by step, by solving each step."""

from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.sampler import AfterStep, Steps, start
from mezzotint.diffusion.solvers import Ask
from mezzotint.tasks.task import Way

ROUNDS = 10  # questions a step
KEPT = 5  # points of the iteration that are remembered


@dataclass(frozen=True, eq=False)
class Invert:
    """picture: codes (n or 1, *D) float32 on the CPU. rounds: network calls per step.

    A step of DDIM from a noisy s to a cleaner t is x_t = hop(x_s, D(x_s)). Its inverse is implicit: D is asked at the x_s
    that is sought, and x_s is found by iteration, as in ReNoise (Garibi et al. 2024):

        x_s <- x_s + (alpha_s / alpha_t) (x_t - hop(x_s, D(x_s))),

    which is Newton's step where D believes what it sees, dD/dx = 1 / alpha; Anderson's mixture of the points so far makes up for where it
    does not, the middle levels, in which a plain iteration of some pictures hardly comes nearer. ("Naive" DDIM inversion asks at x_t, once, and does
    not come back.) The states are ever noisier; the last is the noise, as `Task` takes it. It needs a first order, steps that are short where
    noise is low (spacings by sigma, not by time), and a smooth D: no guidance above 1, no clipping.
    """

    picture: Tensor
    rounds: int = ROUNDS

    def steps(self, way: Way, seeds: Tensor) -> Steps:
        stops = way.levels().flip(0)
        hop = Hop(way.process, torch.zeros((), dtype=torch.float64), lambda draw: torch.empty(0))
        x = x0 = self.picture.to(seeds.device).expand(len(seeds), *way.shape)
        for step, (t, s) in enumerate(pairwise(stops), 1):
            wanted = x
            gain = float(way.process(s)[0] / way.process(t)[0])
            x = gain * x if t == torch.inf else hop(x, x0, t, s)  # as if the belief were still the last one
            points: list[Tensor] = []
            errors: list[Tensor] = []
            for _ in range(self.rounds):
                answer = yield Ask(x, s, t)
                assert answer is not None
                x0 = answer
                points, errors = [*points, x][-KEPT:], [*errors, gain * (wanted - hop(x, x0, s, t))][-KEPT:]
                x = _mixed(points, errors)
            if step == len(stops) - 1:
                x = x / start(way.process, s, torch.ones((), dtype=torch.float64))  # of variance 1
            yield AfterStep(x, x0, step)

    def cond(self, cond: Cond) -> Cond:
        return cond

    def count(self, steps: int) -> int:
        return steps

    def part(self, begin: int, end: int) -> "Invert":
        return self if len(self.picture) == 1 else replace(self, picture=self.picture[begin:end])


def _mixed(points: list[Tensor], errors: list[Tensor]) -> Tensor:
    """The next point of an iteration x <- x + error(x), by Anderson (1965; Walker & Ni 2011, equation 2.2): the mixture of the
    points so far, weights summing to 1, whose error would be smallest if it were linear, moved by that error. Row by row."""
    x, error = points[-1], errors[-1]
    if len(points) == 1:
        return x + error
    bends = [(error - other).flatten(1).double() for other in errors[:-1]]
    moves = [(x - other).flatten(1).double() for other in points[:-1]]
    products = torch.stack([torch.stack([(a * b).sum(1) for b in bends], -1) for a in bends], -2)
    right = torch.stack([(a * error.flatten(1)).sum(1) for a in bends], -1)
    # Where it has converged the errors are rounding, and their products singular.
    ridge = 1e-9 * products.diagonal(dim1=1, dim2=2).amax(1) + 1e-30
    products = products + ridge[:, None, None] * torch.eye(len(bends), dtype=torch.float64, device=x.device)
    weights = torch.linalg.solve(products, right)
    step = sum(w[:, None] * (move + bend) for w, move, bend in zip(weights.unbind(1), moves, bends))
    return (x + error - step.reshape(x.shape)).to(x.dtype)
