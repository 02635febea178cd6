"""Guidance: wrappers that move a denoiser's belief away from another one, towards the condition and beyond.

`cfg`, `autoguidance` and `classifier_guidance` all say x0 = other + g (asked - other). They read the same scale g of each
row, in the same interval of levels, and 1 means the same in all of them: what is asked, as it is.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.denoiser import Denoise, takes_to
from mezzotint.diffusion.process import Process, per_row

LogProb = Callable[[Tensor, Tensor, Cond], Tensor]  # (x (B, *D), logsnr (B,), cond) -> log p(y | x) (B,)
PUREST = -20.0  # logsnr; alpha is 5e-5 in vp and flow


@dataclass(frozen=True)
class Guidance:
    """The strength of guidance, a row each; networks never see it.

    scale: (B,) float64 on the CPU, g; 1 is off. away: what `cfg` steers away from, B rows or one for all: "nothing asked",
    or another class. interval: (B, 2) float64 on the CPU, on for low < sigma / alpha <= high only; None is always.
    rescale: (B,) float64 on the CPU in [0, 1], the share of CFG rescale; None is 0, off.
    """

    scale: Tensor
    away: Cond = NO_COND
    interval: Tensor | None = None
    rescale: Tensor | None = None

    @staticmethod
    def cat(parts: Iterable[tuple["Guidance | None", int]]) -> "Guidance | None":
        """Several requests' guidance below each other, each with its number of rows; None where none of them has any. A
        request without stands there with scale 1."""
        pairs = list(parts)
        some = next((guidance for guidance, _ in pairs if guidance is not None), None)
        if some is None:
            return None
        # What rows of scale 1 would drive away from is never asked; it only has to have the same fields.
        off = Guidance(torch.ones(1, dtype=torch.float64), some.away.map(lambda column: column[:1]))
        rows = [(off if guidance is None else guidance, size) for guidance, size in pairs]
        always = torch.tensor([[0.0, torch.inf]], dtype=torch.float64)
        zero = torch.zeros(1, dtype=torch.float64)
        limited = any(one.interval is not None for one, _ in rows)
        shared = any(one.rescale is not None for one, _ in rows)
        return Guidance(
            torch.cat([one.scale.expand(n) for one, n in rows]),
            Cond.cat(one.away.expand(n) for one, n in rows),
            torch.cat([(always if one.interval is None else one.interval).expand(n, 2) for one, n in rows])
            if limited
            else None,
            torch.cat([(zero if one.rescale is None else one.rescale).expand(n) for one, n in rows])
            if shared
            else None,
        )


class Guided(Protocol):
    """A denoiser that can be steered: (x (B, *D), logsnr (B,), cond, guidance) -> x0 (B, *D)."""

    def __call__(
        self, x: Tensor, logsnr: Tensor, cond: Cond, guidance: Guidance | None = None, /
    ) -> Tensor: ...


def scale_at(guidance: Guidance | None, logsnr: Tensor) -> Tensor:
    """The scale of guidance of every row at its level, (B,) float64 on the CPU; 1 where there is none.

    In a limited interval (Kynkäänniemi et al. 2024), g(sigma) = g for low < sigma <= high and 1 elsewhere, where sigma
    is theirs, our sigma / alpha = exp(-logsnr / 2).
    """
    if guidance is None:
        return torch.ones_like(logsnr)
    if guidance.interval is None:
        return guidance.scale
    (low, high), sigma = guidance.interval.unbind(1), (-logsnr / 2).exp()
    return torch.where((low < sigma) & (sigma <= high), guidance.scale, 1.0)


def cfg(denoise: Denoise, c_skip: Callable[[Tensor], Tensor] = torch.zeros_like) -> Guided:
    """Classifier-free guidance (Ho & Salimans 2022): x0 = none + g (class - none), with g = guidance.scale of the row.

    "none" is the belief for guidance.away. Both branches share one call, and only rows whose scale at this level is not 1
    pay for the second. Linear in x0, so the same as guiding eps, v or the score.

    guidance.rescale asks for `rescaled`, which is not the same for all of them. Its paper and public code rescale what the
    network returns: that needs the network's c_skip, level (B,) -> (B,), as F is x0 - c_skip x up to a factor, which
    does not matter; 1 / alpha for eps. The default, 0, rescales the belief x0 itself.

    Of a flow map (see `flowmap`), both branches are told how far their answers will be held.
    """

    def guided(
        x: Tensor, logsnr: Tensor, cond: Cond, guidance: Guidance | None = None, /, to: Tensor | None = None
    ) -> Tensor:
        scale = scale_at(guidance, logsnr)
        pays = (scale != 1).nonzero().flatten()
        if guidance is None or not len(pays):
            return denoise(x, logsnr, cond, **({} if to is None else {"to": to}))
        there = pays.to(x.device, non_blocking=True)
        away = cond.instead(guidance.away.expand(len(x))).map(lambda column: column[there])
        x0, other = denoise(
            torch.cat([x, x[there]]),
            torch.cat([logsnr, logsnr[pays]]),
            Cond.cat([cond, away]),
            **({} if to is None else {"to": torch.cat([to, to[pays]])}),
        ).split([len(x), len(pays)])
        asked = x0[there]
        belief = other + per_row(scale[pays], x) * (asked - other)
        if guidance.rescale is not None:
            skipped = per_row(c_skip(logsnr[pays]), x) * x[there]
            belief = skipped + rescaled(belief - skipped, asked - skipped, guidance.rescale[pays])
        return x0.index_copy(0, there, belief)

    guided.takes_to = takes_to(denoise)  # type: ignore[attr-defined]
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


def autoguidance(denoise: Denoise, weak: Denoise) -> Guided:
    """Guided by a bad version of itself (Karras et al. 2024): x0 = weak + g (strong - weak), g = guidance.scale.

    weak: a smaller or less trained denoiser of the same data, asked for the same label; only rows whose scale at this
    level is not 1 ask it.
    """

    def guided(x: Tensor, logsnr: Tensor, cond: Cond, guidance: Guidance | None = None) -> Tensor:
        scale = scale_at(guidance, logsnr)
        x0, pays = denoise(x, logsnr, cond), (scale != 1).nonzero().flatten()
        if not len(pays):
            return x0
        there = pays.to(x.device, non_blocking=True)
        other = weak(x[there], logsnr[pays], cond.map(lambda column: column[there]))
        return x0.index_copy(0, there, other + per_row(scale[pays], x) * (x0[there] - other))

    return guided


def classifier_guidance(denoise: Denoise, process: Process, log_prob: LogProb) -> Guided:
    """Guided by a classifier of noisy pictures (Dhariwal & Nichol 2021, algorithm 2), said of x0:

        x0 = E[x0 | x] + g (sigma^2 / alpha) grad_x log p(y | x),

    by Tweedie's formula E[x0 | x] = (x + sigma^2 grad_x log p(x)) / alpha and Bayes' rule for the score, so that an
    exact classifier and g = 1 give E[x0 | x, y] exactly. g = guidance.scale; rows of scale 0 pay for no gradient.

    denoise: the unconditional belief; it is asked without a label. log_prob: log p(y | x), with cond.label for y, each
    row by itself (no batch norm in training mode); from logits: logits.log_softmax(1).gather(1, label[:, None])[:, 0].
    Noise purer than logsnr -20 is read as noise of that level, where the formula is finite and x0 is the same to 5e-5.
    """

    def guided(x: Tensor, logsnr: Tensor, cond: Cond, guidance: Guidance | None = None) -> Tensor:
        scale = scale_at(guidance, logsnr)
        x0, pays = denoise(x, logsnr, replace(cond, label=None)), scale.nonzero().flatten()
        if not len(pays):
            return x0
        there = pays.to(x.device, non_blocking=True)
        level, asked = logsnr[pays].clamp(min=PUREST), cond.map(lambda column: column[there])
        differentiable = torch.is_grad_enabled()  # then whoever differentiates x0 gets this part too
        with torch.enable_grad():
            here = x[there].requires_grad_()
            log_probs = log_prob(here, level, asked)
            (gradient,) = torch.autograd.grad(log_probs.sum(), here, create_graph=differentiable)
        alpha, sigma = process(level)
        return x0.index_add(0, there, per_row(scale[pays] * sigma**2 / alpha, x) * gradient)

    return guided
