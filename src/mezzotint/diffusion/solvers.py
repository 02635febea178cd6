"""How does a belief move x?  Solvers, each a generator over one interval that *asks* for x0 and so never sees a network.

    solver(hop, x, s, t, history) -> (x at t, x0 for preview, history for the next interval)

x: (B, *D). s, t: 0-d float64 levels, s noisier than t; `sample` keeps both ends of the way from them, so -12 < s and
t < inf. history: what the solver returned from the interval before, None at first. Each reads like its paper with
lambda = logsnr / 2, so that a step of length h in lambda is (t - s) / 2.
"""

from collections.abc import Callable, Generator
from typing import Any, NamedTuple

from torch import Tensor

from mezzotint.diffusion.hop import Hop


class Ask(NamedTuple):
    """ "What is x0 here?" x: (B, *D); level: 0-d float64 logsnr. Answered with x0, shaped like x."""

    x: Tensor
    level: Tensor


Interval = Generator[Ask, Tensor, tuple[Tensor, Tensor, Any]]
Solver = Callable[[Hop, Tensor, Tensor, Tensor, Any], Interval]


def first_order(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """DDIM (Song et al. 2021), Euler's method, DPM-Solver-1: one and the same step."""
    x0 = yield Ask(x, s)
    return hop(x, x0, s, t), x0, None


def heun(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """The trapezoidal rule in sigma / alpha (EDM algorithm 2, Karras et al. 2022).

    EDM averages the slopes, eps, of both ends; said as one belief held over the whole step, that is
    x0 + (sigma_s / sigma_t) / 2 (ahead - x0), with sigma = exp(-logsnr / 2).
    """
    x0 = yield Ask(x, s)
    ahead = yield Ask(hop(x, x0, s, t), t)
    return hop(x, x0 + ((t - s) / 2).exp() / 2 * (ahead - x0), s, t), x0, None


def dpmpp_2m(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): x0 extrapolated to the middle of the step from the last two."""
    x0 = yield Ask(x, s)
    belief = x0
    if history:
        last, r = history
        belief = x0 + (t - s) / (s - r) / 2 * (x0 - last)
    return hop(x, belief, s, t), x0, (x0, s)
