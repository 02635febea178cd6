"""How does a belief move x?  Solvers, each a generator over one interval that *asks* for x0 and so never sees a network.

    solver(hop, x, s, t, history) -> (x at t, x0 for preview, history for the next interval)

x: (B, *D). s, t: 0-d float64 levels, s noisier than t; `sample` keeps both ends of the way from them, so -12 < s and
t < inf. history: what the solver returned from the interval before, None at first. Each reads like its paper with
lambda = logsnr / 2, so that a step of length h in lambda is (t - s) / 2.
"""

import math
from collections.abc import Callable, Generator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mezzotint.diffusion.hop import Hop


class Ask(NamedTuple):
    """ "What is x0 here?" x: (B, *D); level: 0-d float64 logsnr. Answered with x0, shaped like x.

    to: the level until which the solver will hold the answer, which a flow map is told (see `flowmap`); None where it is
    not held but combined with others: then the belief of this level alone is wanted.
    """

    x: Tensor
    level: Tensor
    to: Tensor | None = None


Interval = Generator[Ask, Tensor, tuple[Tensor, Tensor, Any]]
Solver = Callable[[Hop, Tensor, Tensor, Tensor, Any], Interval]


def first_order(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """DDIM (Song et al. 2021), Euler's method, DPM-Solver-1: one and the same step. Exact with a flow map."""
    x0 = yield Ask(x, s, t)
    return hop(x, x0, s, t), x0, None


def heun(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """The trapezoidal rule in sigma / alpha (EDM algorithm 1, Karras et al. 2022; with churn in the grid, algorithm 2).

    EDM averages the slopes, eps, of both ends; said as one belief held over the whole step, that is
    x0 + (sigma_s / sigma_t) / 2 (ahead - x0), with sigma = exp(-logsnr / 2).
    """
    x0 = yield Ask(x, s)
    ahead = yield Ask(hop(x, x0, s, t), t)
    return hop(x, x0 + ((t - s) / 2).exp() / 2 * (ahead - x0), s, t), x0, None


def heun_flow(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """The same rule in the time of the flow, sigma / (alpha + sigma): the trapezoid of flow matching."""
    x0 = yield Ask(x, s)
    ahead = yield Ask(hop(x, x0, s, t), t)
    times = (1 + (t / 2).exp()) / (1 + (s / 2).exp())  # of s over that of t
    return hop(x, x0 + times / 2 * (ahead - x0), s, t), x0, None


def dpm2(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """DPM-Solver-2 (Lu et al. 2022, algorithm 4): the noise found in the middle of the step, used for all of it."""
    m = (s + t) / 2
    x0 = yield Ask(x, s, m)
    mid = hop(x, x0, s, m)
    there = yield Ask(mid, m)
    return hop(x, hop.x0(x, hop.eps(mid, there, m), s), s, t), x0, None


def dpmpp_2s(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """DPM-Solver++(2S) (Lu et al. 2022, algorithm 1): the picture found in the middle of the step, used for all of it."""
    m = (s + t) / 2
    x0 = yield Ask(x, s, m)
    there = yield Ask(hop(x, x0, s, m), m)
    return hop(x, there, s, t), x0, None


def dpmpp_sde(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """DPM-Solver++(2S) with ancestral noise inside both of its moves (k-diffusion's dpmpp_sde); two draws a step."""
    m = (s + t) / 2
    x0 = yield Ask(x, s, m)
    there = yield Ask(hop(x, x0, s, m, (-torch.expm1(s - m)).sqrt()), m)
    return hop(x, there, s, t, (-torch.expm1(s - t)).sqrt()), x0, None


def dpmpp_2m(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """DPM-Solver++(2M) (Lu et al. 2022, algorithm 2): x0 extrapolated to the middle of the step from the last two."""
    x0 = yield Ask(x, s)
    belief = x0
    if history:
        last, r = history
        belief = x0 + (t - s) / (s - r) / 2 * (x0 - last)
    return hop(x, belief, s, t), x0, (x0, s)


def dpmpp_3m(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any, curvature: float = 2.0) -> Interval:
    """DPM-Solver++(3M) (Lu et al. 2022, appendix): slope and curvature of x0 from the last three answers.

    With H the length of the step, phi2 = (e^-H - 1) / H + 1 and phi3 = phi2 / H - 1/2 integrate them exactly. Public
    code multiplies phi3 by half of the second derivative where all of it is due, and so has order two;
    curvature = 1 is that, 2 is order three.
    """
    x0 = yield Ask(x, s)
    h, length, history = (t - s) / 2, hop.h(s, t), history or []
    levels, answers = [s, *(level for _, level in history)], [x0, *(old for old, _ in history)]
    gaps = [(a - b) / 2 / h for a, b in pairwise(levels)]
    slopes = [(a - b) / gap for (a, b), gap in zip(pairwise(answers), gaps)]
    belief = x0
    if slopes:
        phi2 = torch.expm1(-length) / length + 1
        bend = (slopes[0] - slopes[1]) / (gaps[0] + gaps[1]) if len(slopes) == 2 else torch.zeros_like(x0)
        slope = slopes[0] + gaps[0] * bend
        belief = x0 - (phi2 * slope - curvature * (phi2 / length - 0.5) * bend) / torch.expm1(-length)
    return hop(x, belief, s, t), x0, [(x0, s), *history[:1]]


def dpmpp_3m_published(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """`dpmpp_3m` as in public code: order two."""
    return dpmpp_3m(hop, x, s, t, history, curvature=1.0)


def lms(
    hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any, order: int = 4, log: bool = False
) -> Interval:
    """Adams-Bashforth in sigma / alpha: the polynomial through the last `order` noises, integrated over the step.

    Linear multistep of k-diffusion; with log, the polynomial is one in log(sigma / alpha), which is DEIS (tAB-DEIS,
    Zhang & Chen 2023).
    """
    x0 = yield Ask(x, s)
    history = [(hop.eps(x, x0, s), s), *(history or [])[: order - 1]]
    weights = _adams_bashforth([level for _, level in history], t, log)
    eps = sum((w * eps for w, (eps, _) in zip(weights, history)), torch.zeros_like(x))
    return hop(x, hop.x0(x, eps, s), s, t), x0, history


def deis(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """DEIS of order three, see `lms`."""
    return lms(hop, x, s, t, history, order=3, log=True)


def _adams_bashforth(levels: list[Tensor], t: Tensor, log: bool) -> list[Tensor]:
    """The mean over the step, from levels[0] to t in sigma / alpha, of each node's Lagrange polynomial.

    By Gauss-Legendre quadrature in the log of sigma / alpha, in which nodes and step are of a like size.
    """
    start, end = -levels[0] / 2, -t / 2
    points = start + (end - start) * _GAUSS[0]
    measure = _GAUSS[1] * points.exp() * (end - start) / (end.exp() - start.exp())
    place = (lambda z: z) if log else torch.exp
    at, nodes = place(points), [place(-level / 2) for level in levels]
    weights = []
    for node in nodes:
        others = [(at - other) / (node - other) for other in nodes if other is not node]
        weights.append((measure * torch.stack([torch.ones_like(at), *others]).prod(0)).sum())
    return weights


def _gauss_legendre(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights on [0, 1]: eigenvalues and vectors of the Jacobi matrix (Golub & Welsch 1969)."""
    k = torch.arange(1, count, dtype=torch.float64)
    nodes, vectors = torch.linalg.eigh(torch.diag(k / (4 * k**2 - 1).sqrt(), -1))
    return (nodes + 1) / 2, vectors[0] ** 2


_GAUSS = _gauss_legendre(16)


def unipc(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any, order: int = 2) -> Interval:
    """UniPC (Zhao et al. 2023, algorithms 5 and 6, B2): the answer at s also corrects the step that led there.

    The corrector makes the order one more than that of the predictor, at no call.
    """
    x0 = yield Ask(x, s)
    past: list[tuple[Tensor, Tensor]] = []
    if history:
        before, past = history
        x = hop(before, _unified([*past, (x0, s)], s), past[0][1], s)
    past = [(x0, s), *past[: order - 1]]
    return hop(x, _unified(past, t), s, t), x0, (x, past)


def unipc_3(hop: Hop, x: Tensor, s: Tensor, t: Tensor, history: Any) -> Interval:
    """`unipc` with a predictor of order three."""
    return unipc(hop, x, s, t, history, order=3)


def _unified(nodes: list[tuple[Tensor, Tensor]], t: Tensor) -> Tensor:
    """The belief that holds for a step from the first node's level to t, given x0 at nodes (x0, level).

    x0 plus a mix of divided differences whose weights solve sum_k rho_k r_k^(i-1) = i! h phi_(i+1)(-h) / (1 - e^-h),
    i = 1 ... K (equations 5 and 9 there); for K = 1 the paper takes one half.
    """
    (x0, s), *others = nodes
    if not others:
        return x0
    h = (t - s) / 2
    r = torch.stack([(level - s) / 2 / h for _, level in others])
    rho = torch.full((1,), 0.5, dtype=torch.float64)
    if len(others) > 1:
        phi, right = torch.expm1(-h) / -h, []
        for i in range(1, len(others) + 1):
            phi = (phi - 1 / math.factorial(i)) / -h
            right.append(phi * math.factorial(i) * h / -torch.expm1(-h))
        powers = torch.arange(len(others), dtype=torch.float64)[:, None]
        rho = torch.linalg.solve(r**powers, torch.stack(right))
    return x0 + sum((c / k * (there - x0) for c, k, (there, _) in zip(rho, r, others)), torch.zeros_like(x0))
