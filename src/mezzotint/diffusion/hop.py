"""How does a belief move x?  `Hop` carries x from one level to a cleaner one, given a belief about x0."""

from collections.abc import Callable

import torch
from torch import Tensor

from mezzotint.diffusion.process import Process, per_row


class Hop:
    """One interval of a grid, as the solvers see it.

    hop(x, x0, s, t) is DDIM's step (Song et al. 2021, eq. 12) from level s to a cleaner t, in any process:
        x_t = alpha_t x0 + sigma_t (sqrt(1 - share^2) eps + share z),   eps = (x - alpha_s x0) / sigma_s,
    which is also Euler's step in sigma and on the flow. With eta = 0 it solves the probability-flow ODE for a constant
    x0; with eta > 0 it solves the SDE that adds fresh noise at rate eta, share^2 = 1 - exp(-eta (t - s)) (SDE-DPM-
    Solver++, Lu et al. 2022); at 0 and 1 that is DDIM's eta, between them it is not. A caller may give the share itself.

    eta: 0-d float64. noise: draw number -> z, shaped like x; each call of a hop that adds noise takes the next draw.
    """

    def __init__(self, process: Process, eta: Tensor, noise: Callable[[int], Tensor]) -> None:
        self.process, self.eta, self.noise, self.draws = process, eta, noise, 0

    def h(self, s: Tensor, t: Tensor) -> Tensor:
        """The length of the step, -log of the share of x that is kept: (1 + eta) (t - s) / 2, with t - s in logsnr."""
        return (1 + self.eta) * (t - s) / 2

    def eps(self, x: Tensor, x0: Tensor, s: Tensor) -> Tensor:
        """The noise in x at level s, if the picture is x0."""
        alpha, sigma = self.process(s)
        return (x - per_row(alpha, x) * x0) / per_row(sigma, x)

    def x0(self, x: Tensor, eps: Tensor, s: Tensor) -> Tensor:
        """The picture in x at level s, if the noise is eps."""
        alpha, sigma = self.process(s)
        return (x - per_row(sigma, x) * eps) / per_row(alpha, x)

    def __call__(self, x: Tensor, x0: Tensor, s: Tensor, t: Tensor, share: Tensor | None = None) -> Tensor:
        if t == torch.inf:
            return x0
        alpha, sigma = self.process(t)
        if share is None:
            share = (
                (-torch.expm1(-self.eta * (t - s))).sqrt()
                if self.eta
                else torch.zeros((), dtype=torch.float64)
            )
        y = per_row(alpha, x) * x0 + per_row(sigma * (1 - share**2).sqrt(), x) * self.eps(x, x0, s)
        if share == 0:
            return y
        self.draws += 1
        return y + per_row(sigma * share, x) * self.noise(self.draws - 1)
