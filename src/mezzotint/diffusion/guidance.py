"""Guidance: wrappers that turn one denoiser into another.

`cfg`, `autoguidance` and `classifier_guidance` all say x0 = other + g (asked - other): a belief is driven from another
one towards, and beyond, what is asked. They read the same scale g = cond.guidance of each row, in the same interval of
levels, and 1 means the same in all of them: what is asked, as it is. `clip` and `dynamic_threshold` go around them.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.process import Process, per_row

LogProb = Callable[[Tensor, Tensor, Cond], Tensor]  # (x (B, *D), logsnr (B,), cond) -> log p(y | x) (B,)
PUREST = -20.0  # logsnr; alpha is 5e-5 in vp and flow


def scale_at(cond: Cond, logsnr: Tensor) -> Tensor:
    """The scale of guidance of every row at its level, (B,) float64 on the CPU; 1 where there is none.

    In a limited interval (Kynkäänniemi et al. 2024), g(sigma) = g for low < sigma <= high and 1 elsewhere, where sigma
    is theirs, our sigma / alpha = exp(-logsnr / 2).
    """
    if cond.guidance is None:
        return torch.ones_like(logsnr)
    if cond.interval is None:
        return cond.guidance
    (low, high), sigma = cond.interval.unbind(1), (-logsnr / 2).exp()
    return torch.where((low < sigma) & (sigma <= high), cond.guidance, 1.0)


def cfg(denoise: Denoise, null: int, c_skip: Callable[[Tensor], Tensor] = torch.zeros_like) -> Denoise:
    """Classifier-free guidance (Ho & Salimans 2022): x0 = none + g (class - none), with g = cond.guidance of the row.

    "none" is the belief for the label `null`, K, or for the row's own class cond.negative, if that is set. Both
    branches share one call, and only rows whose scale at this level is not 1 (or whose label is given at all) pay for
    the second. Linear in x0, so the same as guiding eps, v or the score.

    cond.rescale asks for `rescaled`, which is not the same for all of them. Its paper and public code rescale what the
    network returns: that needs the network's c_skip, level (B,) -> (B,), as F is x0 - c_skip x up to a factor, which
    does not matter; 1 / alpha for eps. The default, 0, rescales the belief x0 itself.
    """

    def guided(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        scale, plain = scale_at(cond, logsnr), cond.without_guidance()
        pays = (scale != 1).nonzero().flatten()
        if cond.label is None or not len(pays):
            return denoise(x, logsnr, plain)
        there = pays.to(x.device, non_blocking=True)
        away = torch.full_like(cond.label, null) if cond.negative is None else cond.negative
        x0, other = denoise(
            torch.cat([x, x[there]]),
            torch.cat([logsnr, logsnr[pays]]),
            Cond.cat([plain, Cond(label=away[there])]),
        ).split([len(x), len(pays)])
        asked = x0[there]
        belief = other + per_row(scale[pays], x) * (asked - other)
        if cond.rescale is not None:
            skipped = per_row(c_skip(logsnr[pays]), x) * x[there]
            belief = skipped + rescaled(belief - skipped, asked - skipped, cond.rescale[pays])
        return x0.index_copy(0, there, belief)

    return guided


def rescaled(guided: Tensor, asked: Tensor, share: Tensor) -> Tensor:
    """CFG rescale (Lin et al. 2024, section 3.4): phi guided std(asked) / std(guided) + (1 - phi) guided.

    Large scales inflate the contrast; this gives the guided prediction the standard deviation of the one asked for.
    std is over all numbers of a picture; whether it is the unbiased one cancels. share: phi, (B,) float64 on the CPU.
    Returns (B, *D).
    """
    wanted, inflated = (prediction.flatten(1).std(1, correction=0) for prediction in (asked, guided))
    factor = torch.where(inflated > 0, wanted / inflated, 1.0)  # a flat picture has no contrast to correct
    return guided * (1 + per_row(share, guided) * (per_row(factor, guided) - 1))


def autoguidance(denoise: Denoise, weak: Denoise) -> Denoise:
    """Guided by a bad version of itself (Karras et al. 2024): x0 = weak + g (strong - weak), g = cond.guidance.

    weak: a smaller or less trained denoiser of the same data, asked for the same label; only rows whose scale at this
    level is not 1 ask it.
    """

    def guided(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        scale, plain = scale_at(cond, logsnr), cond.without_guidance()
        x0, pays = denoise(x, logsnr, plain), (scale != 1).nonzero().flatten()
        if not len(pays):
            return x0
        there = pays.to(x.device, non_blocking=True)
        other = weak(x[there], logsnr[pays], plain.map(lambda field: field[there]))
        return x0.index_copy(0, there, other + per_row(scale[pays], x) * (x0[there] - other))

    return guided


def classifier_guidance(denoise: Denoise, process: Process, log_prob: LogProb) -> Denoise:
    """Guided by a classifier of noisy pictures (Dhariwal & Nichol 2021, algorithm 2), said of x0:

        x0 = E[x0 | x] + g (sigma^2 / alpha) grad_x log p(y | x),

    by Tweedie's formula E[x0 | x] = (x + sigma^2 grad_x log p(x)) / alpha and Bayes' rule for the score, so that an
    exact classifier and g = 1 give E[x0 | x, y] exactly. g = cond.guidance; rows of scale 0 pay for no gradient.

    denoise: the unconditional belief; it is asked without a label. log_prob: log p(y | x), with cond.label for y, each
    row by itself (no batch norm in training mode); from logits: logits.log_softmax(1).gather(1, label[:, None])[:, 0].
    Noise purer than logsnr -20 is read as noise of that level, where the formula is finite and x0 is the same to 5e-5.
    """

    def guided(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        scale, plain = scale_at(cond, logsnr), cond.without_guidance()
        x0, pays = denoise(x, logsnr, replace(plain, label=None)), scale.nonzero().flatten()
        if not len(pays):
            return x0
        there = pays.to(x.device, non_blocking=True)
        level, asked = logsnr[pays].clamp(min=PUREST), plain.map(lambda field: field[there])
        differentiable = torch.is_grad_enabled()  # then whoever differentiates x0 gets this part too
        with torch.enable_grad():
            here = x[there].requires_grad_()
            log_probs = log_prob(here, level, asked)
            (gradient,) = torch.autograd.grad(log_probs.sum(), here, create_graph=differentiable)
        alpha, sigma = process(level)
        return x0.index_add(0, there, per_row(scale[pays] * sigma**2 / alpha, x) * gradient)

    return guided


def clip(denoise: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """Keeps the belief in the range of the data. Solvers derive eps from the belief, so eps follows the clipped x0."""
    return lambda x, logsnr, cond: denoise(x, logsnr, cond).clamp(low, high)


def dynamic_threshold(denoise: Denoise, ratio: float = 0.995, largest: float = math.inf) -> Denoise:
    """Dynamic thresholding (Imagen, Saharia et al. 2022, section 2.3): x0 clipped to [-s, s] and divided by s.

    s is the `ratio` quantile of |x0| of each picture, in [1, largest], so that a saturated picture is pressed back into
    the range [-1, 1] of the data instead of cut off; with largest = 1 it is `clip`. eps follows, as there.
    """

    def thresholded(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        x0 = denoise(x, logsnr, cond)
        s = per_row(x0.abs().flatten(1).quantile(ratio, dim=1).clamp(1, largest), x0)
        return x0.clamp(-s, s) / s

    return thresholded
