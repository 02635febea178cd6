"""MeanFlow in its improved form (Geng et al. 2025a, 2025b): a flow map from data alone, without a teacher.

The network predicts the mean velocity u(x, tau, r) of the straight flow from time tau down to r. Its definition, (tau - r) u =
the integral of v, differentiated in tau along the flow, says that
    V = u + (tau - r) du/dtau,    du/dtau = v du/dx + du/dtau,
is the velocity v at tau; so V is what is regressed on eps - x0, with du/dtau taken as a constant. Improved: V rather than u
is the prediction, and the derivative is taken along the network's own v = u(x, tau, tau), not the noisy eps - x0. Here v has
no head of its own.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from mezzotint.cond import Cond
from mezzotint.diffusion.flowmap import FlowMap
from mezzotint.diffusion.process import add_noise, flow, logsnr_of, per_row
from mezzotint.train.objectives import bare, same_dropout

MEAN, STD = -0.4, 1.0  # of logit tau and logit r
INSTANT = 0.5  # share of rows with r = tau, the plain flow
ADAPT, FLOOR = 1.0, 0.01  # the loss is divided by (itself + FLOOR)^ADAPT, so that no row outweighs the others


@dataclass(frozen=True)
class MeanFlowLoss:
    """student: a flow map of the `flow` process in `velocity`, told tau (`flow_time`, `flow_span`): told 1000 tau, its
    derivative would be a thousandfold."""

    student: FlowMap

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        """(B,) float32, about 1 throughout, however well it learns: judge by samples. x0, eps: (B, *D) on the device; u: (B,)
        float64 on the CPU in (0, 1)."""
        tau, r = times(u)
        s, t = (logsnr_of(1 - time, time) for time in (tau, r))
        x, span = add_noise(flow, x0, eps, s), per_row((tau - r), x0)
        with same_dropout(x.device) as again:
            with torch.no_grad():
                slope = self._slope(x, tau, r, cond, again)
            again()
            mean = self.student.predict(x, s, cond, to=t)
        error = (mean + span * slope - (eps - x0)).square().flatten(1).mean(1).float()
        return error / (error.detach() + FLOOR) ** ADAPT

    def _slope(self, x: Tensor, tau: Tensor, r: Tensor, cond: Cond, again: Callable[[], None]) -> Tensor:
        """du/dtau along the network's own velocity, in forward mode, which the fused attention does not have."""
        net, inputs = bare(self.student.net), cond.inputs()
        time, length = (column.to(x.device, x.dtype) for column in (tau, tau - r))
        velocity = net(x, time, span=torch.zeros_like(length), **inputs)
        again()

        def mean(x: Tensor, time: Tensor, length: Tensor) -> Tensor:
            return net(x, time, span=length, **inputs)

        one = torch.ones_like(time)
        with sdpa_kernel(SDPBackend.MATH):
            return torch.func.jvp(mean, (x, time, length), (velocity, one, one))[1]


def times(u: Tensor) -> tuple[Tensor, Tensor]:
    """tau >= r, (B,) float64: two logit-normal times in order, for INSTANT of the rows the same. u: (B,) in (0, 1), whose
    finer digits are numbers of their own."""
    numbers = [u, *((u * 2.0**bits) % 1 for bits in (17, 34))]
    one, other = (torch.special.ndtri(each.clamp(1e-9, 1 - 1e-9)) * STD + MEAN for each in numbers[:2])
    one, other = (1 / (1 + (-logit).exp()) for logit in (one, other))
    tau, r = torch.maximum(one, other), torch.minimum(one, other)
    return tau, torch.where(numbers[2] < INSTANT, tau, r)
