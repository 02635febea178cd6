"""The denoising loss: noise a picture to a random level, ask the network, compare.

A weight is a function (logsnr, u) -> (B,) of the level and of the u it was drawn at. It is stated on the error of the
belief, |x0_hat - x0|^2, where papers can be compared, and turned into the network's own target by c_out^2. "simple"
is 1 on the target itself, whatever the parameterization (Ho et al. 2020, eq. 14).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.parameterization import target_mix
from mezzotint.diffusion.process import add_noise, per_row
from mezzotint.diffusion.schedule import Schedule, Table

Weight = Callable[[Tensor, Tensor], Tensor]
Distance = Callable[[Tensor, Tensor], Tensor]


def snr(logsnr: Tensor, u: Tensor) -> Tensor:
    """SNR: the plain loss on eps, since |eps_hat - eps|^2 = SNR |x0_hat - x0|^2."""
    return logsnr.exp()


def min_snr(gamma: float = 5.0) -> Weight:
    """min(SNR, gamma) (Hang et al. 2023)."""
    return lambda logsnr, u: logsnr.exp().clamp(max=gamma)


def p2(gamma: float = 1.0, k: float = 1.0) -> Weight:
    """SNR / (k + SNR)^gamma: the eps loss with less weight where little noise is left (Choi et al. 2022)."""
    return lambda logsnr, u: logsnr.exp() / (k + logsnr.exp()) ** gamma


def edm(sigma_data: float = 0.5) -> Weight:
    """(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 with sigma / alpha for sigma: 1 on EDM's target (Karras et al. 2022)."""
    return lambda logsnr, u: logsnr.exp() + sigma_data**-2


def jit(limit: float = 400.0) -> Weight:
    """min((1 + alpha / sigma)^2, limit): the plain loss on the velocity of the straight flow, |u_hat - u|^2 = (alpha + sigma)^2 /
    sigma^2 |x0_hat - x0|^2, for a network that predicts x0 (Li & He 2025, "JiT"; their sigma >= 0.05 is the limit of 400)."""
    return lambda logsnr, u: (1 + (logsnr / 2).exp()).square().clamp(max=limit)


def vlb(schedule: Schedule) -> Weight:
    """T / 2 (SNR(t - 1) - SNR(t)): the terms of the variational bound, in nats (Kingma et al. 2021, eq. 13).

    On a table the discrete bound itself; on a continuous schedule the bound of T = 10,000 steps. The first step, which
    has no cleaner neighbour, counts as a Gaussian decoder: T / 2 SNR(0). Finite only for levels above pure noise.
    """
    steps = len(schedule) if isinstance(schedule, Table) else 10_000

    def weight(logsnr: Tensor, u: Tensor) -> Tensor:
        cleaner = schedule((u - 1 / steps).clamp(min=1 / (2 * steps))).exp()
        here = logsnr.exp()
        return steps / 2 * torch.where(u < 1 / steps, here, cleaner - here)

    return weight


def l2(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).square()


def l1(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).abs()


def huber(prediction: Tensor, target: Tensor) -> Tensor:
    """Quadratic up to 1, linear beyond, scaled to continue `l2`."""
    return 2 * F.huber_loss(prediction, target, reduction="none")


def stratified(u: Tensor) -> Tensor:
    """Spreads a batch over the levels: row i of B moves to (i + u_i) / B, each still uniform once rows are shuffled by
    the data order (Kingma et al. 2021, appendix I.1). u: (B,) float64 in the open interval (0, 1)."""
    spread = (torch.arange(len(u), dtype=torch.float64) + u) / len(u)
    return spread.clamp(max=1 - 2**-53)  # the last row's sum may have rounded up to B


@dataclass(frozen=True)
class DenoisingLoss:
    """What training minimises; bound to a denoiser (network, process, parameterization) and a density of levels.

    weight: None is "simple". distance: elementwise, on the network's target.
    """

    denoiser: Denoiser
    schedule: Schedule
    weight: Weight | None = None
    distance: Distance = l2

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond = NO_COND) -> Tensor:
        """The loss of every picture, (B,) float32, mean over its elements.

        x0, eps: (B, *D) on the network's device; u: (B,) float64 on the CPU, in (0, 1). ValueError for eps-prediction
        at pure noise.
        """
        denoiser = self.denoiser
        logsnr = self.schedule(u)
        a, b = target_mix(denoiser.parameterization, denoiser.process, logsnr)
        if not (a.isfinite() & b.isfinite()).all():
            raise ValueError(
                "eps cannot be learned from pure noise, logsnr -inf: train with v, x0 or velocity, "
                "or on a schedule without zero terminal SNR"
            )
        x = add_noise(denoiser.process, x0, eps, logsnr)
        target = per_row(a, x0) * x0 + per_row(b, x0) * eps
        error = self.distance(denoiser.predict(x, logsnr, cond), target).flatten(1).mean(1)
        if self.weight is None:
            return error
        c_out = denoiser.parameterization(*denoiser.process(logsnr)).c_out
        return error * (self.weight(logsnr, u) * c_out**2).to(error.device, error.dtype, non_blocking=True)
