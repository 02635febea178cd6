"""What is the noise at a level?  A process maps a log signal-to-noise ratio to (alpha, sigma).

Every process noises a picture as  x = alpha x0 + sigma eps,  eps ~ N(0, I),  and a level is named by
logsnr = log(alpha^2 / sigma^2): +inf is clean, -inf is pure noise. This is the one coordinate of the package
(twice the lambda of DPM-Solver); it does not depend on the schedule, and its formulas are finite at both ends.

Written with 1 / (1 + exp(-x)) rather than `sigmoid`, whose vectorised kernel rounds differently for different
batch shapes: a request must get the same levels alone and in a batch.
"""

from collections.abc import Callable

import torch
from torch import Tensor

Process = Callable[[Tensor], tuple[Tensor, Tensor]]


def vp(logsnr: Tensor) -> tuple[Tensor, Tensor]:
    """Variance preserving: alpha^2 + sigma^2 = 1 (Ho et al. 2020; Song et al. 2021).

    logsnr: any shape, in [-inf, inf]. Returns (alpha, sigma) of its shape, in [0, 1].
    """
    return (1 / (1 + (-logsnr).exp())).sqrt(), (1 / (1 + logsnr.exp())).sqrt()


def ve(logsnr: Tensor) -> tuple[Tensor, Tensor]:
    """Variance exploding: alpha = 1, sigma = exp(-logsnr / 2) (Song & Ermon 2019; EDM, Karras et al. 2022).

    Pure noise (-inf) has no finite state here: start at a large finite sigma.
    """
    return torch.ones_like(logsnr), (-logsnr / 2).exp()


def flow(logsnr: Tensor) -> tuple[Tensor, Tensor]:
    """Straight lines: alpha + sigma = 1, so sigma is the time t of rectified flow (Liu et al. 2023; Lipman et al. 2023)."""
    return 1 / (1 + (-logsnr / 2).exp()), 1 / (1 + (logsnr / 2).exp())


def logsnr_of(alpha: Tensor, sigma: Tensor) -> Tensor:
    """The level of given coefficients: log(alpha^2 / sigma^2), float64; +inf where sigma = 0, -inf where alpha = 0."""
    return 2 * (alpha.double().log() - sigma.double().log())


def per_row(coefficient: Tensor, like: Tensor) -> Tensor:
    """Readies a float64 coefficient on the CPU to multiply `like` (B, *D): one a picture, (B,), takes its shape, dtype
    and device; a 0-d one stays where it is, as PyTorch takes it for a plain number (no copy, no sync)."""
    if coefficient.ndim == 0:
        return coefficient
    coefficient = coefficient.to(like.device, like.dtype, non_blocking=True)
    return coefficient.reshape(-1, *[1] * (like.ndim - 1))


def add_noise(process: Process, x0: Tensor, eps: Tensor, logsnr: Tensor) -> Tensor:
    """Draws from q(x | x0) by reparameterization: alpha x0 + sigma eps (DDPM eq. 4).

    x0, eps: (B, *D). logsnr: (B,) or 0-d. Returns (B, *D). ValueError for pictures that are whole numbers.
    """
    if not x0.is_floating_point():
        raise ValueError(
            f"x0 is {x0.dtype}; noise is added to floats in [-1, 1]: data.to_model(x0) makes them"
        )
    alpha, sigma = process(logsnr)
    return per_row(alpha, x0) * x0 + per_row(sigma, x0) * eps


def renoise(
    process: Process, x: Tensor, s: Tensor, t: Tensor, noise: Tensor, gain: float | Tensor = 1.0
) -> Tensor:
    """Moves x up from level s to a noisier level t < s: a draw from q(x_t | x_s), at no network call.

    x_t = k x_s + sigma_t sqrt(1 - exp(t - s)) z  with  k = alpha_t / alpha_s. One rule for EDM's churn, RePaint,
    restarts, and the fresh noise of every ancestral sampler. `gain` scales the fresh noise (S_noise in EDM; above 1
    in DDPM's "fixed large" variance). s and t: 0-d float64.
    """
    alpha_t, sigma_t = process(t)
    keep = alpha_t / process(s)[0]
    fresh = sigma_t * (-torch.expm1(t - s)).sqrt()
    return per_row(keep, x) * x + per_row(gain * fresh, x) * noise
