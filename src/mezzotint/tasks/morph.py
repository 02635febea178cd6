"""Morphing: the noises of two seeds, mixed on the sphere where noise lies, and the beliefs of two classes."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.process import per_row
from mezzotint.diffusion.sampler import Steps, reworded
from mezzotint.diffusion.solvers import Ask
from mezzotint.randomness import noise
from mezzotint.tasks.task import Task, Way


def slerp(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """Spherical interpolation (Shoemake 1985), sin((1 - w) o) / sin(o) a + sin(w o) / sin(o) b with o the angle between
    a and b: the length stays that of noise, where a straight line would pass through shorter, paler ones.

    a, b: (B, *D). share: w, (B,) in [0, 1]; 0 is a and 1 is b, to the bit. Parallel ones are mixed on the straight line.
    """
    flat_a, flat_b, w = a.flatten(1).double(), b.flatten(1).double(), share.to(a.device).double()[:, None]
    cosine = (flat_a * flat_b).sum(1, keepdim=True) / (flat_a.norm(dim=1) * flat_b.norm(dim=1))[:, None]
    angle = cosine.clamp(-1, 1).acos()
    straight = angle.sin() < 1e-6
    safe = torch.where(straight, 1.0, angle)
    left = torch.where(straight, 1 - w, ((1 - w) * safe).sin() / safe.sin())
    right = torch.where(straight, w, (w * safe).sin() / safe.sin())
    mixed = (left * flat_a + right * flat_b).to(a.dtype).reshape(a.shape)
    ends = per_row(share, a)
    return torch.where(ends == 0, a, torch.where(ends == 1, b, mixed))


@dataclass(frozen=True, eq=False)
class Morph:
    """The way from the thing of one seed to that of another. share: (n,) float64 on the CPU, the position of each sample, 0 to 1.

    begin, end: the two seeds. asked: the condition of the end, n rows, where it differs from that of the beginning; both are then
    evaluated, in rows of their own, and their beliefs are mixed. Fresh noise of stochastic samplers is that of the beginning, for all.
    """

    share: Tensor
    begin: int
    end: int
    asked: Cond | None = None

    def steps(self, way: Way, seeds: Tensor) -> Steps:
        first, last = (torch.full_like(seeds, seed) for seed in (self.begin, self.end))
        mixed = slerp(noise(first, 0, 0, way.shape), noise(last, 0, 0, way.shape), self.share)
        steps = Task(noise=mixed).steps(way, first)
        return steps if self.asked is None else _both(steps, self.share)

    def cond(self, cond: Cond) -> Cond:
        return cond if self.asked is None else Cond.cat([cond, self.asked])

    def count(self, steps: int) -> int:
        return steps

    def part(self, begin: int, end: int) -> "Morph":
        asked = None if self.asked is None else self.asked.map(lambda column: column[begin:end])
        return replace(self, share=self.share[begin:end], asked=asked)


def _both(steps: Steps, share: Tensor) -> Steps:
    """The same steps, which ask in rows of their own what is believed under both conditions, and move by the mixture."""

    def hear(question: Ask, x0: Tensor) -> Tensor:
        one, other = x0.chunk(2)
        w = per_row(share, one)
        return torch.where(w == 0, one, torch.where(w == 1, other, one + w * (other - one)))

    return reworded(steps, lambda question: question._replace(x=torch.cat([question.x, question.x])), hear)
