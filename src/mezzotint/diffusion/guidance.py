"""Guidance: wrappers that turn one denoiser into another."""

import torch
from torch import Tensor

from mezzotint.diffusion.denoiser import Cond, Denoise
from mezzotint.diffusion.process import rows


def cfg(denoise: Denoise, null: int) -> Denoise:
    """Classifier-free guidance (Ho & Salimans 2022): x0 = none + g (class - none), with g = cond.guidance of the row.

    null: the label that means "none", K. Both branches share one call, and only rows whose scale is not 1 (or whose
    label is given at all) pay for the second. Linear in x0, so the same as guiding eps, v or the score.
    """

    def guided(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        scale, plain = cond.guidance, cond.without_guidance()
        pays = torch.tensor([], dtype=torch.int64) if scale is None else (scale != 1).nonzero().flatten()
        if scale is None or cond.label is None or not len(pays):
            return denoise(x, logsnr, plain)
        there = pays.to(x.device, non_blocking=True)
        none = Cond(label=torch.full_like(cond.label[there], null))
        x0, unconditional = denoise(
            torch.cat([x, x[there]]), torch.cat([logsnr, logsnr[pays]]), Cond.cat([plain, none])
        ).split([len(x), len(pays)])
        conditional = x0[there]
        guided_rows = unconditional + rows(scale[pays], x) * (conditional - unconditional)
        return x0.index_copy(0, there, guided_rows)

    return guided


def clip(denoise: Denoise, low: float = -1.0, high: float = 1.0) -> Denoise:
    """Keeps the belief in the range of the data. Solvers derive eps from the belief, so eps follows the clipped x0."""
    return lambda x, logsnr, cond: denoise(x, logsnr, cond).clamp(low, high)
