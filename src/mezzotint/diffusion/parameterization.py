"""What does the network predict?  Three coefficients, x0 = c_skip x + c_out F(c_in x), and nothing else (EDM eq. 7).

Each parameterization is one function of (alpha, sigma). The training target of F is *derived* from the same three
numbers, so that no code anywhere asks which parameterization it has.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.diffusion.process import Process


class Coefficients(NamedTuple):
    """c_skip, c_out, c_in of one parameterization at the given levels; float64, of the shape of alpha."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor


Parameterization = Callable[[Tensor, Tensor], Coefficients]


def eps(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """F = eps, the noise: x0 = (x - sigma eps) / alpha (DDPM, Ho et al. 2020). Undefined at pure noise, where alpha = 0."""
    return Coefficients(1 / alpha, -sigma / alpha, (alpha**2 + sigma**2).rsqrt())


def x0(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """F = x0, the picture itself."""
    return Coefficients(torch.zeros_like(alpha), torch.ones_like(alpha), (alpha**2 + sigma**2).rsqrt())


def v(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """F = v = alpha eps - sigma x0 (Salimans & Ho 2022): x0 = (alpha x - sigma v) / (alpha^2 + sigma^2)."""
    power = alpha**2 + sigma**2
    return Coefficients(alpha / power, -sigma / power, power.rsqrt())


def velocity(alpha: Tensor, sigma: Tensor) -> Coefficients:
    """F = eps - x0, the velocity dx/dt of a straight flow (Lipman et al. 2023): x0 = (x - sigma F) / (alpha + sigma)."""
    total = alpha + sigma
    return Coefficients(1 / total, -sigma / total, torch.ones_like(alpha))


def edm(alpha: Tensor, sigma: Tensor, sigma_data: float = 0.5) -> Coefficients:
    """EDM's preconditioning (Karras et al. 2022, table 1), for x in any process: unit-variance input and target.

    sigma_data is the standard deviation of the data.
    """
    power = sigma**2 + (sigma_data * alpha) ** 2
    return Coefficients(sigma_data**2 * alpha / power, sigma * sigma_data * power.rsqrt(), power.rsqrt())


def target_mix(parameterization: Parameterization, process: Process, logsnr: Tensor) -> tuple[Tensor, Tensor]:
    """The target of F as a mix of picture and noise, target = a x0 + b eps; returns (a, b), float64, shaped like logsnr.

    Solving x0 = c_skip (alpha x0 + sigma eps) + c_out F for F gives a = (1 - c_skip alpha) / c_out and
    b = -c_skip sigma / c_out. Done on the float64 coefficients: the same division on float32 pictures would lose
    all digits where c_out is small.
    """
    alpha, sigma = process(logsnr)
    c = parameterization(alpha, sigma)
    return (1 - c.c_skip * alpha) / c.c_out, -c.c_skip * sigma / c.c_out
