"""How well does a discrete chain compress a picture?  The variational bound, term by term (Ho et al. 2020, eq. 5).

    -log P(x0) <= KL(q(x_T | x0) || p(x_T)) + sum_t KL(q(x_{t-1} | x_t, x0) || p(x_{t-1} | x_t)) - log P(x0 | x_1).
With the variance of q, p differs from it by its belief about x0 alone, and a term of the sum is
    (SNR(t-1) - SNR(t)) / 2  |x0 - belief|^2        (Kingma et al. 2021, eq. 13)
whatever the process. All are in bits/dim of 8-bit pictures, and per picture: means and standard errors are the caller's.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.process import Process, add_noise
from mezzotint.diffusion.schedule import Table
from mezzotint.randomness import noise


class Bound(NamedTuple):
    """The bound in bits/dim, float64. prior: (B,). steps: (T - 1, B), row i for entry i + 1 of the table. decoder: (B,)."""

    prior: Tensor
    steps: Tensor
    decoder: Tensor

    @property
    def total(self) -> Tensor:
        """(B,): what a picture costs at most."""
        return self.prior + self.steps.sum(0) + self.decoder


def bound(
    denoise: Denoise,
    process: Process,
    table: Table,
    x0: Tensor,
    seeds: Tensor,
    cond: Cond = NO_COND,
    *,
    large: bool = False,
) -> Bound:
    """The whole bound, at T calls. x0: (B, *D), bytes as k / 127.5 - 1. seeds: (B,) int64, of the noise.

    An unbiased estimate of the bound of each picture: one noise is drawn for each level. large: the model's variance is
    that of the noising step ("fixed large", beta_t in DDPM) instead of the posterior's ("fixed small").
    """
    decoder, *steps = reversed(list(terms(denoise, process, table, x0, seeds, cond, large=large)))
    return Bound(prior_term(process, table, x0), torch.stack(steps), decoder)


@torch.no_grad()
def terms(
    denoise: Denoise,
    process: Process,
    table: Table,
    x0: Tensor,
    seeds: Tensor,
    cond: Cond = NO_COND,
    *,
    large: bool = False,
) -> Iterator[Tensor]:
    """The T terms that need the network, one call and (B,) bits/dim each, from the noisiest entry to the decoder's."""
    for index in reversed(range(len(table))):
        yield asked_term(denoise, process, table, index, x0, seeds, cond, large=large)


def asked_term(
    denoise: Denoise,
    process: Process,
    table: Table,
    index: int,
    x0: Tensor,
    seeds: Tensor,
    cond: Cond = NO_COND,
    *,
    large: bool = False,
) -> Tensor:
    """The term at entry `index`, (B,) bits/dim, of what the network believes there: one call. They do not depend on each other."""
    if len(table) < 2:
        raise ValueError("the bound needs a schedule of at least 2 timesteps")
    if not x0.is_floating_point():
        raise ValueError("pictures must be in the model's range, bytes / 127.5 - 1")
    level = table.logsnr[index].expand(len(x0))
    eps = noise(seeds, index, 0, x0.shape[1:]).to(x0)
    belief = denoise(add_noise(process, x0, eps, level), level, cond)
    return term(process, table, index, x0, belief, large=large)


def prior_term(process: Process, table: Table, x0: Tensor) -> Tensor:
    """KL(q(x_T | x0) || N(0, (alpha^2 + sigma^2) I)), (B,) bits/dim: what is left of the picture at the last level."""
    alpha, sigma = process(table.logsnr[-1])
    power = alpha**2 + sigma**2
    signal = alpha**2 * _squares(x0.cpu().double()) / power
    noise_left = sigma**2 / power
    return _bits(signal + x0.shape[1:].numel() * (noise_left - 1 - noise_left.log()), x0) / 2


def term(
    process: Process, table: Table, index: int, x0: Tensor, belief: Tensor, *, large: bool = False
) -> Tensor:
    """One term for the belief at entry `index`, (B,) bits/dim: the KL between the steps to index - 1 of q and p,
    Gaussians of variances v_q and v_p, or at index 0 the decoder's -log P(x0 | x_1).

    With levels s and t = those of index and index - 1, and f = 1 - exp(s - t): v_q = sigma_t^2 f, v_p = v_q or
    sigma_s^2 f, and the means are apart by alpha_t f (x0 - belief). The decoder's variance is v_q of entry 1, whose
    own is 0 (Ho et al.'s code).
    """
    x0, belief = x0.cpu().double(), belief.cpu().double()
    s, t = table.logsnr[max(index, 1)], table.logsnr[max(index, 1) - 1]
    sigma_s, sigma_t = process(s)[1], process(t)[1]
    fresh = -torch.expm1(s - t)
    if index == 0:
        log_prob = log_prob_of_bytes(x0, belief, sigma_t * fresh.sqrt())
        return _bits(-log_prob.flatten(1).sum(1), x0)
    ratio = (sigma_t / sigma_s) ** 2 if large else torch.ones_like(s)  # v_q / v_p
    apart = t.exp() * fresh * _squares(x0 - belief)  # |difference of the means|^2 / v_q
    return _bits(ratio * apart + x0.shape[1:].numel() * (ratio - 1 - ratio.log()), x0) / 2


def log_prob_of_bytes(x0: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    """log P(x0) under N(mean, scale^2) cut into the 256 bins of 8-bit pixels in [-1, 1] (Ho et al. 2020, eq. 13), in nats.

    A bin is x0 +- 1/255; the two outer ones reach to infinity, so that all add up to 1. Elementwise, by the exact CDF,
    and finite however far the mean is: the bin is reflected to the left of it, where log Phi keeps its digits.
    """
    left = torch.where(x0 < -0.999, -math.inf, (x0 - mean - 1 / 255) / scale)
    right = torch.where(x0 > 0.999, math.inf, (x0 - mean + 1 / 255) / scale)
    flip = left + right > 0
    left, right = torch.where(flip, -right, left), torch.where(flip, -left, right)
    below = torch.special.log_ndtr(right)
    return below + (-torch.expm1(torch.special.log_ndtr(left) - below)).log()


def _squares(x: Tensor) -> Tensor:
    return x.square().flatten(1).sum(1)


def _bits(nats: Tensor, x0: Tensor) -> Tensor:
    return nats / (x0.shape[1:].numel() * math.log(2))
