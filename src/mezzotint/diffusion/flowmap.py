"""Where does a whole step land?  One belief for a step of any length, and the one identity that all students share.

J(x, s -> t) is the belief about x0 that, *held* over the whole hop s -> t (see `hop`), lands where the probability flow
takes x. J(x, s -> s) is the denoiser, J(x, s -> clean) a consistency model (Song et al. 2023). With R = alpha / sigma
= exp(logsnr / 2), a hop moves x / sigma by J (R_t - R_s), in every process; so two hops s -> m -> t with J1 and J2 equal
one with
    J* = w J1 + (1 - w) J2,    w = (R_m - R_s) / (R_t - R_s),    and w = 0 where t is clean.
Progressive distillation (Salimans & Ho 2022), consistency models, shortcut models (Frans et al. 2024) and MeanFlow (Geng
et al. 2025) differ in who supplies J1 and J2: a teacher, an average of the student, the student itself, a derivative.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.denoiser import Denoiser, time_condition
from mezzotint.diffusion.parameterization import Parameterization
from mezzotint.diffusion.process import Process, per_row


def share(s: Tensor, m: Tensor, t: Tensor) -> Tensor:
    """w, the share of the first of two hops s -> m -> t in the belief of both; float64 in [0, 1], of their common shape.

    s <= m <= t, logsnr; any of them may be -inf or inf. A hop of no length has no share.
    """
    s, m, t = torch.broadcast_tensors(s, m, t)
    inside = (s < m) & (m < t)  # so m is finite
    w = ((m - t) / 2).exp() * torch.expm1((s - m) / 2) / torch.expm1((s - t) / 2)
    return torch.where(inside, w, torch.where(m <= s, 0.0, 1.0).to(w.dtype))


def compose(first: Tensor, second: Tensor, s: Tensor, m: Tensor, t: Tensor) -> Tensor:
    """The belief J* (B, *D) for the hop s -> t, of `first` (B, *D) for s -> m and `second` for m -> t. Levels: (B,) or 0-d."""
    w = share(s, m, t)
    return per_row(w, first) * first + per_row(1 - w, first) * second


def jump(process: Process, x: Tensor, belief: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """x (B, *D) moved from level s to a cleaner t by a belief that is held: `Hop` without noise, every row by levels of
    its own. s, t: (B,) float64, s <= t; t may be clean, s pure noise but for `ve`. Rows with s = t stay as they are."""
    keep, move = _held(process, s, t)
    here = s < t
    return per_row(keep.where(here, 1.0), x) * x + per_row(move.where(here, 0.0), x) * belief


def secant(process: Process, x: Tensor, y: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """The belief that, held, leads from x (B, *D) at level s to y at t: `jump` undone. s < t, (B,) or 0-d float64."""
    keep, move = _held(process, s, t)
    return (y - per_row(keep, x) * x) / per_row(move, x)


def _held(process: Process, s: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x_t = keep x_s + move x0: sigma_t / sigma_s and alpha_t - keep alpha_s, the latter without a loss of digits."""
    alpha, sigma = process(t)
    return sigma / process(s)[1], -alpha * torch.expm1((s - t) / 2)


def span_condition(logsnr: Tensor, to: Tensor) -> Tensor:
    """What a network is told of the step's length beside `time_condition`: 1000 (tau_s - tau_t), tau = sigma / (alpha + sigma)."""
    return 1000 * (flow_time(logsnr) - flow_time(to))


def flow_time(logsnr: Tensor) -> Tensor:
    """tau = sigma / (alpha + sigma), the time of the straight flow, in [0, 1]: 1 is pure noise. What to tell a network whose
    derivative in time is taken: in `time_condition` it would be a thousandfold."""
    return 1 / (1 + (logsnr / 2).exp())


def flow_span(logsnr: Tensor, to: Tensor) -> Tensor:
    """tau_s - tau_t, beside `flow_time`."""
    return flow_time(logsnr) - flow_time(to)


class FlowMap(Denoiser):
    """A network's belief for a whole step: J(x, s -> t) = c_skip x + c_out F(c_in x, c_noise(s), span(s, t)), coefficients of
    level s. With `velocity`, F is the mean velocity of the straight flow from s to t, MeanFlow's u.

    net: called as net(x (B, *D), c_noise (B,), span=(B,), label=(B,) where there are classes) -> (B, *D). At clean, J is x
    where c_out is 0 there: with `edm`, `v` and `velocity`, not with `x0`. span: (s, t) -> what the network is told of the
    step's length. All else as in `Denoiser`; without `to`, or with to = logsnr, it is one.
    """

    takes_to = True

    def __init__(
        self,
        net: Callable[..., Tensor],
        process: Process,
        parameterization: Parameterization,
        c_noise: Callable[[Tensor], Tensor] = time_condition,
        span: Callable[[Tensor, Tensor], Tensor] = span_condition,
        *,
        dtype: torch.dtype = torch.float32,
        compile: bool = False,
    ) -> None:
        super().__init__(net, process, parameterization, c_noise, dtype=dtype, compile=compile)
        self.span = span

    def predict(self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND, *, to: Tensor | None = None) -> Tensor:
        """The raw prediction F (B, *D) in the dtype of x."""
        return super().predict(x, logsnr, self._told(x, logsnr, cond, to))

    def __call__(
        self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND, *, to: Tensor | None = None
    ) -> Tensor:
        """J (B, *D). x: (B, *D) on the network's device; logsnr, to: (B,) or 0-d float64 on the CPU, to no noisier."""
        return super().__call__(x, logsnr, self._told(x, logsnr, cond, to))

    def _told(self, x: Tensor, logsnr: Tensor, cond: Cond, to: Tensor | None) -> Cond:
        if isinstance(cond, _Told):
            return cond
        span = self.span(logsnr, logsnr if to is None else to)
        return _Told(**cond.inputs(), span=span.to(x.device, x.dtype, non_blocking=True).expand(len(x)))


@dataclass(frozen=True)
class _Told(Cond):
    """All that a flow map's network is told."""

    span: Tensor | None = None
