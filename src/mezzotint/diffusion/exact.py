"""Denoisers that are exact: E[x0 | x] in closed form. The truth that samplers and networks are measured against.

`Gaussian` and `Mixture` are smooth, `Empirical` is the ideal denoiser of a finite set, and `exact_flow` solves the
probability-flow ODE of any of them to about twelve digits.
"""

import math

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.process import Process, per_row


class Mixture:
    """The exact denoiser of a mixture of Gaussians, and its density under noise.

    With x = alpha x0 + sigma eps, component k is N(alpha m_k, S_k), S_k = alpha^2 C_k + sigma^2 I, its posterior
    r_k ~ w_k N(x; alpha m_k, S_k), and E[x0 | x] = sum_k r_k (m_k + alpha C_k S_k^-1 (x - alpha m_k)). Noise does not
    turn the axes of C_k = U diag(c) U^T, so that S_k^-1 is diagonal in them, at every level.

    weights: (K,); means: (K, d); covariances: (K, d, d), positive definite, or their diagonals (K, d); all float64.
    Pictures are flattened to d numbers.
    """

    def __init__(self, process: Process, weights: Tensor, means: Tensor, covariances: Tensor) -> None:
        self.process, self.weights, self.means = process, weights, means
        self.axes: Tensor | None  # None: those of the space itself
        self.variances, self.axes = covariances, None
        if covariances.ndim == 3:
            self.variances, self.axes = torch.linalg.eigh(covariances)

    def _turn(self, away: Tensor, back: bool = False) -> Tensor:
        """(B, K, d) into the axes of each component, or back."""
        if self.axes is None:
            return away
        return torch.einsum("bke,kde->bkd" if back else "bkd,kde->bke", away, self.axes)

    def _at(self, x: Tensor, logsnr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """alpha (B,1,1); in the axes, x - alpha m and the variances of S, both (B,K,d)."""
        x = x.to(self.means.dtype).flatten(1)[:, None]
        alpha, sigma = (per_row(c.reshape(-1), x) for c in self.process(logsnr))
        return alpha, self._turn(x - alpha * self.means), alpha**2 * self.variances + sigma**2

    def _log_joint(self, away: Tensor, spread: Tensor) -> Tensor:
        """log(w_k N(x; alpha m_k, S_k)) (B,K), of what `_at` gives."""
        log_normal = -0.5 * (away**2 / spread + (2 * math.pi * spread).log()).sum(-1)
        return self.weights.log() + log_normal

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND) -> Tensor:
        """E[x0 | x] (B, *D) in the dtype of x. x: (B, *D); logsnr: (B,) or 0-d float64, in [-inf, inf]."""
        alpha, away, spread = self._at(x, logsnr)
        each = self.means + self._turn(alpha * self.variances / spread * away, back=True)
        if len(self.weights) > 1:  # of one component the posterior is 1
            each = self._log_joint(away, spread).softmax(1)[..., None] * each
        return each.sum(1).reshape(x.shape).to(x.dtype)

    def log_prob(self, x: Tensor, logsnr: Tensor) -> Tensor:
        """log density of x at the level, in nats, (B,)."""
        return self._log_joint(*self._at(x, logsnr)[1:]).logsumexp(1)


class Gaussian(Mixture):
    """The exact denoiser of N(mean, covariance): the Wiener filter m + alpha C (alpha^2 C + sigma^2 I)^-1 (x - alpha m).

    mean: (d,); covariance: (d, d), or its diagonal (d,), which is enough for large pictures; float64.
    """

    def __init__(self, process: Process, mean: Tensor, covariance: Tensor) -> None:
        super().__init__(process, torch.ones_like(mean[:1]), mean[None], covariance[None])

    def flow(self, x: Tensor, s: Tensor, t: Tensor) -> Tensor:
        """The probability-flow ODE from level s to t, either way, (B, *D): along each axis, the distance from the mean
        grows like the standard deviation. To clean (t = inf) it is the ideal consistency function. s, t: 0-d float64."""
        _, away, before = self._at(x, s)
        alpha, sigma = self.process(t)
        after = alpha**2 * self.variances + sigma**2
        moved = alpha * self.means + self._turn((after / before).sqrt() * away, back=True)
        return moved.reshape(x.shape).to(x.dtype)


class Empirical:
    """The ideal denoiser of a finite set: the ideal that copies.

    No denoiser has a smaller loss on the data it was fitted to: E[x0 | x] = sum_i softmax_i(-|x - alpha x_i|^2 /
    (2 sigma^2)) x_i. A sampler led by it can only end at one of the x_i, so whatever else a network makes is its
    own invention. The mean of the data at pure noise, the nearest of them at clean.

    data: (N, *D), any float dtype, on the device that computes. Works through `chunk` of them at a time, in float64.
    """

    def __init__(self, process: Process, data: Tensor, chunk: int = 4096) -> None:
        self.process, self.data, self.chunk = process, data, chunk

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND) -> Tensor:
        """E[x0 | x] (B, *D) in the dtype of x. x: (B, *D); logsnr: (B,) or 0-d float64, in [-inf, inf]."""
        point = x.double().flatten(1)
        alpha, sigma = (per_row(c.reshape(-1), point) for c in self.process(logsnr))
        parts = self.data.split(self.chunk)
        # |x - alpha x_i|^2 / 2 without |x|^2 / 2, which all have in common; smallest 0, so that sigma may be 0
        energy = torch.cat([_energy(point, alpha, part.double().flatten(1)) for part in parts], 1)
        energy = energy - energy.amin(1, keepdim=True)
        weights = torch.where(energy > 0, -energy / sigma**2, 0.0).softmax(1)
        mixed = [w @ part.double().flatten(1) for w, part in zip(weights.split(self.chunk, 1), parts)]
        return torch.stack(mixed).sum(0).reshape(x.shape).to(x.dtype)


def _energy(x: Tensor, alpha: Tensor, data: Tensor) -> Tensor:
    return alpha**2 * data.square().sum(1) / 2 - alpha * (x @ data.T)


STAGES = (2, 4, 6, 8, 10, 12, 14, 16)


@torch.no_grad()
def exact_flow(
    exact: Mixture | Empirical, x: Tensor, s: Tensor, t: Tensor, tolerance: float = 1e-13
) -> Tensor:
    """The probability-flow ODE of an exact denoiser from level s to t, either way, ends included: (B, *D).

    Solved in the angle a = atan(sigma / alpha) of the variance-preserving process, where x = cos(a) x0 + sin(a) eps
    moves at dx/da = cos(a) eps - sin(a) x0: finite from pure noise, pi / 2, to clean, 0. Gragg, Bulirsch and Stoer's
    method (Hairer, Nørsett & Wanner 1993, section II.9): midpoint rules with 2, 4, ..., 16 stages over one step,
    extrapolated to none in the squared stage, are of order 16; the last two extrapolations tell the error.

    x: (B, *D) float64 in the exact denoiser's process, which must be finite at s and t. s, t: 0-d float64. tolerance:
    of one step, where x has the size of data.
    """

    def size(level: Tensor) -> Tensor:
        alpha, sigma = exact.process(level)
        return (alpha**2 + sigma**2).sqrt()

    def velocity(x: Tensor, angle: Tensor) -> Tensor:
        if angle == 0:
            return torch.zeros_like(x)  # eps = 0, as all of x is picture, if its density is smooth
        level = -2 * angle.tan().log()
        return (angle.cos() * x - exact(size(level) * x, level)) / angle.sin()

    x = x / size(s)
    here, end = ((-level / 2).exp().atan() for level in (s, t))
    step = (end - here) / 8
    while here != end:
        last = bool(step.abs() >= (end - here).abs())
        step = end - here if last else step
        first = velocity(x, here)
        row: list[Tensor] = []
        for j, stages in enumerate(STAGES):
            h = step / stages
            before, now = x, x + h * first
            for i in range(1, stages):
                before, now = now, before + 2 * h * velocity(now, here + i * h)
            above, row = row, [now]
            for k in range(j):
                row.append(row[k] + (row[k] - above[k]) / ((stages / STAGES[j - k - 1]) ** 2 - 1))
        error = (row[-1] - row[-2]).abs().max()
        if error > tolerance:
            step = step / 2
            if step.abs() < 1e-8:
                raise ArithmeticError("the exact flow is too sharp here: end at a noisier level")
        else:
            x, here = row[-1], end if last else here + step
            step = step * 1.5 if error < tolerance / 100 else step
    return x * size(t)
