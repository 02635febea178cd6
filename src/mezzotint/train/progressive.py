"""Progressive distillation (Salimans & Ho 2022): a student of half the steps, and again, and again.

A stage of N steps teaches one step of its grid to do what two of its teacher's do. The first teacher is a guided model; each
next one is what the stage before has become. Needs no new network: a student is an ordinary denoiser that is right on the
few levels of its grid, with `ddim`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from mezzotint.cond import Cond
from mezzotint.diffusion.denoiser import Denoise, Denoiser
from mezzotint.diffusion.flowmap import compose, jump
from mezzotint.diffusion.process import add_noise, per_row
from mezzotint.train.objectives import bare


class ProgressiveLoss:
    """The weight max(SNR, 1) times the squared error of the belief (their truncated SNR, appendix D), in equal stages.

    student: in training. first: the guided teacher of the first stage. last: the student of the stage before, whose network
    `held` is filled anew when a stage begins: keep it with the state that is saved. grids: for every stage the levels
    (2 N + 1,) of its teacher, N halving from stage to stage.
    """

    def __init__(
        self, student: Denoiser, first: Denoise, last: Denoise, held: nn.Module, grids: Sequence[Tensor]
    ) -> None:
        self.student, self.first, self.last, self.held, self.grids = student, first, last, held, grids
        self.stage = 0

    def at(self, step: int, until: int, *, learns: bool = True) -> None:
        """Before every step: which stage it belongs to. At the first of a later stage the student becomes the teacher."""
        self.stage = self._stage(step, until)
        if learns and step and self.stage != self._stage(step - 1, until):
            self.held.load_state_dict(bare(self.student.net).state_dict())

    def _stage(self, step: int, until: int) -> int:
        return min(step * len(self.grids) // until, len(self.grids) - 1)

    def rate(self, rate: Callable[[float], float]) -> Callable[[float], float]:
        """A learning rate over the budget, turned into one over every stage."""
        return lambda share: rate(share * len(self.grids) % 1)

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        """(B,) float32, mean over elements. x0, eps: (B, *D) on the device; u: (B,) float64 on the CPU in (0, 1)."""
        grid, process = self.grids[self.stage], self.student.process
        begin = 2 * ((1 - u) * (len(grid) // 2)).long().clamp(max=len(grid) // 2 - 1)
        s, m, t = grid[begin], grid[begin + 1], grid[begin + 2]
        x = add_noise(process, x0, eps, s)
        teacher = self.last if self.stage else self.first
        with torch.no_grad():
            first = teacher(x, s, cond)
            second = teacher(jump(process, x, first, s, m), m, cond)
            target = compose(first, second, s, m, t)
        error = (self.student(x, s, cond) - target).square().flatten(1).mean(1).float()
        return error * per_row(s.exp().clamp(min=1), error)
