"""Consistency models (Song et al. 2023) by ECT's schedule (Geng et al. 2024, "Consistency models made easy").

f(x, s) = J(x, s -> clean) is the same all along a trajectory. So the student at s is drawn to itself at a slightly cleaner m,
without a gradient, and m comes nearer during training. Without a teacher, picture and noise give the x at
m (consistency training, and tuning, where the network has been a denoiser before); else the teacher (distillation). Sample
with `consistency`.
"""

import math

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.denoiser import Denoise, Denoiser
from mezzotint.diffusion.flowmap import jump
from mezzotint.diffusion.process import add_noise, per_row
from mezzotint.diffusion.schedule import lognormal
from mezzotint.train.objectives import same_dropout

MEAN, STD = -1.1, 2.0  # of log sigma, where the student learns
Q, DOUBLINGS = 2.0, 8  # the gap to the cleaner level shrinks by Q, so often in a training
STEEP = 8.0  # of n(sigma) = 1 + STEEP sigmoid(-sigma), by which the gap is smaller at low noise


class ConsistencyLoss:
    """|f(x_s, s) - f(x_m, m)| / (sigma_s - sigma_m), with sigma / alpha for sigma; the norm is that of a mean over elements.

    student: with a parameterization whose c_out is 0 at clean (`edm`, `v`, `velocity`). teacher: None trains from data.
    """

    def __init__(self, student: Denoiser, teacher: Denoise | None = None) -> None:
        clean = torch.tensor([math.inf], dtype=torch.float64)
        if student.parameterization(*student.process(clean)).c_out.abs() > 0:
            raise ValueError(
                "a consistency model must return x itself at the clean end; predict v, velocity or edm, not x0 or eps"
            )
        self.student, self.teacher, self.doubling = student, teacher, 0
        self.levels = lognormal(MEAN, STD)

    def at(self, step: int, until: int, *, learns: bool = True) -> None:
        """Before every step: sets the distance of the cleaner level."""
        self.doubling = step * DOUBLINGS // until

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        """(B,) float32. x0, eps: (B, *D) on the device; u: (B,) float64 on the CPU in (0, 1)."""
        process, s = self.student.process, self.levels(u)
        sigma = (-s / 2).exp()
        ratio = 1 - (1 + STEEP / (1 + sigma.exp())) / Q ** (self.doubling + 1)
        m = s - 2 * ratio.clamp(min=0).log()  # clean where the ratio is 0
        x = add_noise(process, x0, eps, s)
        with same_dropout(x.device) as again:
            with torch.no_grad():
                nearer = (
                    add_noise(process, x0, eps, m) if self.teacher is None else self._moved(x, s, m, cond)
                )
                target = self.student(nearer, m, cond)
            again()
            belief = self.student(x, s, cond)
        error = (belief - target).square().flatten(1).mean(1).float()
        distance = (error + 1e-12).sqrt()  # whose slope at 0 would be infinite
        return distance / per_row(sigma - (-m / 2).exp(), distance)

    def _moved(self, x: Tensor, s: Tensor, m: Tensor, cond: Cond) -> Tensor:
        """One step of Heun's rule in sigma / alpha by the teacher (see `solvers.heun`); to clean, one of the first order."""
        assert self.teacher is not None
        process, x0 = self.student.process, self.teacher(x, s, cond)
        ended = m == math.inf
        near = m.where(~ended, s)
        ahead = self.teacher(jump(process, x, x0, s, near), near, cond)
        bend = torch.where(ended, 0.0, ((near - s) / 2).exp() / 2)
        return jump(process, x, x0 + per_row(bend, x) * (ahead - x0), s, m)
