"""Which levels, and how often?  A schedule maps u in [0, 1] to logsnr, from clean (0) to noise (1).

One type for two uses: the density of training levels (u uniform) and, through `grid`, the stops of a sampler.
Discrete tables (DDPM and its kin) and continuous schedules are both such functions; all are float64 on the CPU.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.diffusion.process import logsnr_of

Schedule = Callable[[Tensor], Tensor]
LOWEST = (
    -12.0
)  # below this, a spacing by sigma has no use for levels: exp(6) = 403 times more noise than picture


class Table:
    """A discrete schedule: T levels, index 0 the cleanest, as in DDPM. As a function of u, a staircase: entry floor(u T).

    logsnr: (T,) float64, strictly decreasing; the last may be -inf (zero terminal SNR).
    """

    def __init__(self, logsnr: Tensor) -> None:
        if logsnr.ndim != 1 or not (logsnr.diff() < 0).all() or logsnr[:-1].isinf().any():
            raise ValueError(
                "a schedule's logsnr must fall strictly from clean to noise, finite but for the last entry"
            )
        self.logsnr = logsnr.double()

    def __len__(self) -> int:
        return len(self.logsnr)

    def __call__(self, u: Tensor) -> Tensor:
        return self.logsnr[(u * len(self)).long().clamp(0, len(self) - 1)]

    @property
    def angle(self) -> Tensor:
        """atan2(sigma, alpha), (T,), in (0, pi / 2]: finite and increasing to the very end, so it is fit to interpolate in."""
        return (-self.logsnr / 2).exp().atan()

    def index(self, logsnr: Tensor) -> Tensor:
        """The fractional timestep of any level: exact at the entries, clamped to [0, T - 1]. What a network trained on
        this table is told, so that it can be sampled on any grid."""
        angle, table = (-logsnr / 2).exp().atan(), self.angle
        right = torch.searchsorted(table, angle.contiguous()).clamp(1, len(table) - 1)
        fraction = (angle - table[right - 1]) / (table[right] - table[right - 1])
        return (right - 1 + fraction).clamp(0, len(table) - 1)


def from_betas(betas: Tensor) -> Table:
    """A table from DDPM's variances beta_t, (T,): alpha_t^2 = prod (1 - beta) (Ho et al. 2020, eq. 4)."""
    kept = (1 - betas.double()).cumprod(0)
    return Table(kept.log() - torch.log1p(-kept))


def linear(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Table:
    """beta_t linear (Ho et al. 2020). The ends are *not* scaled by 1000 / T, which blows up for small T; below about
    T = 1000 the last level keeps some of the picture: see `zero_terminal_snr`."""
    return from_betas(torch.linspace(start, end, steps, dtype=torch.float64))


def scaled_linear(steps: int = 1000, start: float = 0.00085, end: float = 0.012) -> Table:
    """sqrt(beta_t) linear (latent diffusion, Rombach et al. 2022)."""
    return from_betas(torch.linspace(start**0.5, end**0.5, steps, dtype=torch.float64) ** 2)


def quadratic(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Table:
    """The same curve between DDPM's ends ("quad" in the code of Ho et al. 2020 and Song et al. 2021)."""
    return scaled_linear(steps, start, end)


def sigmoid_beta(steps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Table:
    """beta_t along a sigmoid from -6 to 6 (GeoDiff, Xu et al. 2022)."""
    ramp = torch.linspace(-6, 6, steps, dtype=torch.float64)
    return from_betas(start + (end - start) / (1 + (-ramp).exp()))


def cosine(steps: int = 1000, offset: float = 0.008) -> Table:
    """alpha^2(u) = cos^2(pi/2 (u + s) / (1 + s)) (Nichol & Dhariwal 2021, eq. 17), beta capped at 0.999."""
    return _from_curve(lambda u: (math.pi / 2 * (u + offset) / (1 + offset)).cos() ** 2, steps)


def sigmoid(steps: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> Table:
    """alpha^2 along a sigmoid (Jabri et al. 2022, "Scalable adaptive computation"); tau above 1 flattens it."""

    def curve(u: Tensor) -> Tensor:
        low, high = (1 / (1 + math.exp(-z / tau)) for z in (start, end))
        return (high - 1 / (1 + (-(start + u * (end - start)) / tau).exp())) / (high - low)

    return _from_curve(curve, steps)


def _from_curve(kept: Callable[[Tensor], Tensor], steps: int) -> Table:
    """beta_t = 1 - alpha^2(t) / alpha^2(t - 1), capped at 0.999 so that the last level is not pure noise."""
    curve = kept(torch.arange(steps + 1, dtype=torch.float64) / steps)
    return from_betas((1 - curve[1:] / curve[:-1]).clamp(0, 0.999))


def zero_terminal_snr(table: Table) -> Table:
    """Shifts and scales alpha so that the last level is pure noise and the first stays (Lin et al. 2024, algorithm 1).

    Needs x0-, v- or velocity-prediction: eps tells nothing about the picture where there is only noise.
    """
    alpha = (1 / (1 + (-table.logsnr).exp())).sqrt()
    alpha = (alpha - alpha[-1]) * alpha[0] / (alpha[0] - alpha[-1])
    return Table(logsnr_of(alpha, (1 - alpha**2).sqrt()))


@dataclass(frozen=True)
class Lognormal:
    """See `lognormal`."""

    mean: float
    std: float

    def __call__(self, u: Tensor) -> Tensor:
        return -2 * (self.mean + self.std * torch.special.ndtri(u.double()))


def lognormal(mean: float = -1.2, std: float = 1.2) -> Lognormal:
    """log(sigma / alpha) ~ N(mean, std^2): EDM's training density (Karras et al. 2022, table 1). In the flow process
    this is the logit-normal time of Esser et al. 2024, since log(sigma / alpha) = logit(t)."""
    return Lognormal(mean, std)


@dataclass(frozen=True)
class Karras:
    """See `karras`."""

    sigma_min: float
    sigma_max: float
    rho: float

    def __call__(self, u: Tensor) -> Tensor:
        low, high = self.sigma_min ** (1 / self.rho), self.sigma_max ** (1 / self.rho)
        return -2 * self.rho * (low + u.double() * (high - low)).log()


def karras(sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Karras:
    """sigma^(1/rho) linear (Karras et al. 2022, eq. 5); sigma here is sigma / alpha."""
    return Karras(sigma_min, sigma_max, rho)


def linear_time(u: Tensor) -> Tensor:
    """u is the time of the straight flow, t = sigma with alpha = 1 - sigma: logsnr = 2 log((1 - t) / t) (Liu et al. 2023)."""
    return logsnr_of(1 - u.double(), u)


def timesteps(spacing: str, steps: int, total: int) -> Tensor:
    """The entries of a table that a sampler visits, (steps,) int64, descending.

    leading: 0, k, 2k, ... with k = total // steps (DDPM, DDIM); never visits the noisiest entry.
    trailing: from the last entry down in equal parts (Lin et al. 2024). linspace: both ends included, rounded.
    """
    if not 1 <= steps <= total:
        raise ValueError(f"steps must be 1 to {total} on a schedule of {total} timesteps, not {steps}")
    i = torch.arange(steps, dtype=torch.float64)
    match spacing:
        case "leading":
            return (i * (total // steps)).long().flip(0)
        case "trailing":
            return (total - i * total / steps).round().long() - 1
        case "linspace":
            return (total - 1 - i * (total - 1) / max(steps - 1, 1)).round().long()
        case _:
            raise ValueError(f"spacing {spacing!r} is not one of leading, trailing, linspace")


def grid(spacing: str, steps: int, schedule: Schedule) -> Tensor:
    """Where does a sampler stop?  (steps + 1,) float64 logsnr, from noise to clean (+inf).

    leading, trailing, linspace: entries of a `Table`. karras (rho = 7), logsnr (uniform, also known as exponential
    in sigma): between the ends of the table, or sigma 0.002 to 80 without one. time: uniform time of the flow.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    table = schedule if isinstance(schedule, Table) else None
    u = torch.linspace(1, 0, steps, dtype=torch.float64) if steps > 1 else torch.ones(1, dtype=torch.float64)
    clean = torch.tensor([math.inf], dtype=torch.float64)
    ends = -2 * torch.tensor([0.002, 80.0], dtype=torch.float64).log()
    if table is not None:
        ends = table.logsnr[[0, -1]].clamp(min=LOWEST)
    match spacing:
        case "leading" | "trailing" | "linspace":
            if table is None:
                raise ValueError(
                    f"spacing {spacing!r} needs a schedule of discrete timesteps; use karras, logsnr or time"
                )
            return torch.cat([table.logsnr[timesteps(spacing, steps, len(table))], clean])
        case "karras":
            low, high = (-ends / 2).exp().tolist()
            return torch.cat([karras(low, high)(u), clean])
        case "logsnr":
            return torch.cat([ends[0] + u * (ends[1] - ends[0]), clean])
        case "time":
            return linear_time(torch.linspace(1, 0, steps + 1, dtype=torch.float64))
        case _:
            raise ValueError(
                f"spacing {spacing!r} is not one of leading, trailing, linspace, karras, logsnr, time"
            )
