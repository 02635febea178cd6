"""A flow map from a teacher's walk: one student for 1, 2, 4, ... calls.

A frozen, guided teacher walks its usual way from noise to clean in N = 2^K steps, by any solver. Every
stretch of that walk of N, N / 2, N / 4, ..., 1 steps is a hop whose belief is known, its secant: by the identity of
`diffusion.flowmap`, what its steps compose to. The student learns them all.

Where shortcut models (Frans et al. 2024) and Boffi et al. 2025 take the longer hops from the student's own average, here
they all come from the teacher: nothing is inherited from a student that has yet to learn, and the student learns the
teacher's *sampler*, of few good steps, rather than its exact flow, which can be worse (docs/LOG.md).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.flowmap import FlowMap, secant
from mezzotint.diffusion.process import per_row
from mezzotint.diffusion.sampler import sample, start
from mezzotint.diffusion.solvers import Solver


@dataclass(frozen=True)
class WalkLoss:
    """Squared error of the student's prediction on every hop of a dyadic size that contains the row's time.

    A hop of a share d of the walk weighs sqrt(d): between 1, which is fair to the predictions, and d, which is fair to the
    error that all hops of the size leave in the picture.

    teacher: its belief, guided and clipped as it samples. solver, grid: how it samples; grid (N + 1,) float64 levels, N a
    power of two. The student may then be asked in 1, 2, 4, ... N steps of that grid.
    """

    student: FlowMap
    teacher: Denoise
    solver: Solver
    grid: Tensor

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        """(B,) float32, mean over elements, weighted mean over hop sizes. Of the data only its conditions are used: the walks begin at eps.

        x0, eps: (B, *D) on the device; u: (B,) float64 on the CPU in (0, 1), where in the walk, 0 at its clean end.
        """
        walk, student, steps = self.walk(eps, cond), self.student, len(self.grid) - 1
        counts = [2**k for k in range(steps.bit_length())]  # of the hops of each size: 1, 2, 4, ... N
        begin = torch.cat([((1 - u) * n).long().clamp(max=n - 1) * (steps // n) for n in counts])
        end = begin + torch.tensor([steps // n for n in counts]).repeat_interleave(len(u))
        rows, s, t = torch.arange(len(u)).repeat(len(counts)), self.grid[begin], self.grid[end]
        x, y = (walk[stop.to(walk.device), rows.to(walk.device)] for stop in (begin, end))
        c = student.parameterization(*student.process(s))
        target = (secant(student.process, x, y, s, t) - per_row(c.c_skip, x) * x) / per_row(c.c_out, x)
        prediction = student.predict(x, s, Cond.cat([cond] * len(counts)), to=t)  # one call for all sizes
        error = (prediction - target).square().flatten(1).mean(1).float().view(len(counts), -1)
        weight = torch.tensor(counts).rsqrt().to(error.device)
        return weight @ error / weight.sum()

    def walk(self, eps: Tensor, cond: Cond) -> Tensor:
        """The teacher's states (N + 1, B, *D) at the stops of the grid, from the noise eps (B, *D)."""
        process = self.student.process
        first = start(process, self.grid[0], eps)
        steps = sample(self.solver, process, first, self.grid, lambda interval, draw: torch.zeros_like(eps))
        return torch.stack([first, *(state.x for state in alone(self.teacher, steps, cond))])
