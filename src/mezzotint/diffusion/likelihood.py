"""How likely is a picture?  Its density under the probability-flow ODE, by the change of variables.

With y = x / alpha the ODE is dy/dlogsnr = (x0 - y) / 2 for every process (Song et al. 2021, section 4.3; Karras et al.
2022). It is solved for z = k y, k = 1 / sqrt(1 + exp(-logsnr)), which is the x of the variance-preserving process: of
order one, and at rest towards both ends, so that ends far apart cost no steps:
    dz/dlogsnr = k (x0 - k z) / 2,    div = (tr(dx0/dy) - k^2 d) / 2,    d log p(z) / dlogsnr = -div.
So log p at the clean end `high` is log p at the noisy end `low`, a Gaussian, less the integral of div from low to high.
The trace is exact, or Hutchinson's estimate p' (dx0/dy) p with random signs p (Hutchinson 1989; FFJORD, Grathwohl et al.
2019). Every picture has its own level, step and error; the integrator works in float64 on the CPU, and only the denoiser
sees the dtype and the device of the pictures.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.process import Process, vp
from mezzotint.randomness import bits, uniform

Prior = Callable[[Tensor, Tensor], Tensor]  # (x (B, *D), logsnr (B,)) -> log density of x in nats (B,)
Slope = Callable[
    [Tensor, Tensor, Tensor], Tensor
]  # (z (b, n), logsnr (b,), rows' numbers (b,)) -> dz/dlogsnr
Size = Callable[[Tensor], Tensor]  # error (b, n) -> its size (b,)

# Dormand & Prince 1980, RK5(4)7M: for every stage its place c in the step and its weights a of the slopes before it.
# The last stage is the solution of order five, and its slope the first one of the next step.
STAGES = (
    (1 / 5, (1 / 5,)),
    (3 / 10, (3 / 40, 9 / 40)),
    (4 / 5, (44 / 45, -56 / 15, 32 / 9)),
    (8 / 9, (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729)),
    (1.0, (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656)),
    (1.0, (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84)),
)
# What the solution of order four, of other weights, differs by.
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
SMALLEST = 1e-9  # step in logsnr; only a denoiser gone wrong asks for less


class Likelihood(NamedTuple):
    """log p of every picture. nats: (B,) float64. standard_error: (B,), of Hutchinson's estimate in nats, 0 where the
    trace is exact. calls: how often the denoiser was called."""

    nats: Tensor
    standard_error: Tensor
    calls: int


def log_likelihood(
    denoise: Denoise,
    process: Process,
    x0: Tensor,
    cond: Cond = NO_COND,
    *,
    low: float,
    high: float,
    tolerance: float = 1e-5,
    probes: int = 0,
    seeds: Tensor | None = None,
    prior: Prior | None = None,
) -> Likelihood:
    """The log density of pictures under a denoiser's probability-flow ODE (Song et al. 2021, eq. 39).

    x0: (B, *D), in the range of the data; 8-bit pictures come from `dequantize`. low, high: the noisiest and the
    cleanest logsnr, finite: the ends of what the network was trained on. The density is that of the model's pictures
    with noise of standard deviation exp(-high / 2), which costs bits unless well below half a grey level, 1/255: 14 is
    enough, and the 9.2 where DDPM's linear schedule ends is not.
    tolerance: of the error of one step, per number of a picture: root mean square of z, and nats. Not below 1e-6 for a
    float32 network.
    probes: 0 for the exact trace, d backward passes a call (only for small d, say 100); else the number of random
    signs a picture, one backward pass each, drawn from `seeds` (B,) int64: a picture's estimate is its own in any batch.
    prior: the log density of x at `low`; the default is the Gaussian that samplers start from, N(0, alpha^2 + sigma^2).
    The denoiser must be differentiable, without dropout, and a row of its answer depend on that row alone.
    """
    if not -math.inf < low < high < math.inf:
        raise ValueError(f"the ends must be finite levels with low < high, not low={low}, high={high}")
    if probes < 0 or probes == 1:
        raise ValueError(
            f"probes={probes}: use 0 for the exact trace, or 2 and more for an estimate with its error"
        )
    if probes and seeds is None:
        raise ValueError("random probes need seeds, (B,) int64, one a picture")
    if not x0.is_floating_point():
        raise ValueError("a density needs real numbers, not bytes; give dequantize(images, seeds)")
    count, d = len(x0), x0.shape[1:].numel()
    if seeds is None or not probes:
        vectors = torch.eye(d, dtype=torch.float64)[:, None].expand(d, count, d)  # their sum is the trace
    else:
        vectors = torch.stack([_signs(seeds.cpu(), k, d) for k in range(probes)])
    calls = 0

    def slope(state: Tensor, level: Tensor, which: Tensor) -> Tensor:
        nonlocal calls
        calls += 1
        k, alpha = (coefficient[:, None] for coefficient in (vp(level)[0], process(level)[0]))
        z = state[:, :d]
        x = (alpha / k * z).to(x0).reshape(-1, *x0.shape[1:]).requires_grad_()
        with torch.enable_grad():
            belief = denoise(x, level, cond.map(lambda column: column[which.to(column.device)]))
        traces = alpha * _quadratic_forms(belief, x, vectors[:, which])
        if not probes:
            traces = traces.sum(1, keepdim=True)
        return torch.cat([k * (_host(belief) - k * z), traces - k**2 * d], dim=1) / 2

    def size(error: Tensor) -> Tensor:
        return torch.maximum(error[:, :d].square().mean(1).sqrt(), error[:, d:].abs().amax(1) / d) / tolerance

    ends = torch.tensor([low, high], dtype=torch.float64)
    k, alpha = vp(ends)[0], process(ends)[0]
    clean = torch.cat([k[1] * _host(x0), torch.zeros(count, max(probes, 1), dtype=torch.float64)], dim=1)
    end = integrate(slope, clean, high, low, size)
    x = (alpha[0] / k[0] * end[:, :d]).reshape(x0.shape)
    volume = d * (k[1] * alpha[0] / k[0]).log()  # y = x0 becomes z = k y at `high`, and z becomes x at `low`
    each = ((prior or gaussian(process))(x, ends[0].expand(count)) + volume)[:, None] + end[:, d:]
    error = each.std(1) / math.sqrt(probes) if probes else torch.zeros(count, dtype=torch.float64)
    return Likelihood(each.mean(1), error, calls)


def gaussian(process: Process) -> Prior:
    """The prior log N(x; 0, (alpha^2 + sigma^2) I): where samplers start, and noised data of variance 1."""

    def log_prob(x: Tensor, logsnr: Tensor) -> Tensor:
        alpha, sigma = process(logsnr)
        variance = alpha**2 + sigma**2
        d = x.shape[1:].numel()
        return -0.5 * (x.flatten(1).square().sum(1) / variance + d * (2 * math.pi * variance).log())

    return log_prob


def integrate(slope: Slope, z: Tensor, start: float, end: float, size: Size) -> Tensor:
    """Carries z (B, n) from level start to level end, every row by steps of its own (Dormand & Prince 1980).

    A step is taken where the size of its error is at most 1; the next is 0.9 size^(-1/5) as long, within a factor of 5.
    Rows that have arrived are not asked about any more.
    """
    z, which = z.clone(), torch.arange(len(z))
    level = torch.full((len(z),), start, dtype=torch.float64)
    step = torch.full_like(level, math.copysign(min(0.1, abs(end - start)), end - start))
    first = slope(z, level, which)
    while len(which):
        s, h = level[which], step[which]
        last = h.abs() >= (end - s).abs()
        h = torch.where(last, end - s, h)
        slopes = [first[which]]
        for c, weights in STAGES:
            y = z[which] + h[:, None] * _mix(weights, slopes)
            slopes.append(slope(y, s + c * h, which))
        t = torch.where(last, end, s + h)
        error = size(h[:, None] * _mix(ERROR, slopes))
        taken = error <= 1
        done = which[taken]
        z[done], level[done], first[done] = y[taken], t[taken], slopes[-1][taken]
        step[which] = h * (0.9 * error.nan_to_num(math.inf) ** -0.2).clamp(0.2, 5)
        if (~taken & (step[which].abs() < SMALLEST)).any():
            raise ValueError("the denoiser's predictions are not finite, or no step is small enough for them")
        which = which[~(taken & last)]
    return z


def _mix(weights: Sequence[float], slopes: Sequence[Tensor]) -> Tensor:
    return torch.stack([a * k for a, k in zip(weights, slopes) if a]).sum(0)


def _signs(seeds: Tensor, draw: int, count: int) -> Tensor:
    """Rademacher probes: +1 or -1 with probability one half, (B, count) float64."""
    return (1 + 2 * (bits(seeds, 0, 1 + draw, count) >> 63)).double()


def _quadratic_forms(output: Tensor, x: Tensor, vectors: Tensor) -> Tensor:
    """p' (doutput/dx) p for every row of x (B, *D) and each of its vectors p (K, B, d): (B, K) float64 on the CPU."""
    forms = []
    for p in vectors:
        (product,) = torch.autograd.grad(output, x, p.to(output).reshape(output.shape), retain_graph=True)
        forms.append((_host(product) * p).sum(1))
    return torch.stack(forms, dim=1)


def _host(x: Tensor) -> Tensor:
    """(B, *D) anywhere to (B, d) float64 on the CPU."""
    return x.detach().cpu().double().flatten(1)


def dequantize(images: Tensor, seeds: Tensor) -> Tensor:
    """Bytes (B, *D) to densities' domain: uniform in a byte's bin, (k + u - 1/2) / 127.5 - 1 with u ~ U(0, 1), float32.

    The bins of 0 and 255 reach 1/255 beyond [-1, 1]. By Jensen's inequality the mean log density of dequantized
    pictures, plus the log volume of a bin, is at most the log probability of the bytes (Theis et al. 2016).
    seeds: (B,) int64, one a picture.
    """
    u = uniform(seeds, 0, 0, images.shape[1:].numel()).reshape(images.shape).to(images.device, torch.float32)
    return (images.float() + u - 0.5) / 127.5 - 1


def bits_per_dim(nats: Tensor, d: int) -> Tensor:
    """Bits a dimension of 8-bit pictures, from the log densities of their dequantized values in [-1, 1].

    A bin has volume 127.5^-d, so log P = log p - d log 127.5. nats: any shape; d: numbers a picture. A standard error in
    nats becomes bits/dim by 1 / (d log 2).
    """
    return math.log2(127.5) - nats / (d * math.log(2))
