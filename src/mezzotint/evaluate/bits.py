"""Bits/dim of pictures under a model: the variational bound, and the probability-flow ODE."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.labels import nothing
from mezzotint.diffusion.bound import asked_term, prior_term
from mezzotint.diffusion.likelihood import bits_per_dim, dequantize, log_likelihood
from mezzotint.diffusion.schedule import Schedule, Table
from mezzotint.errors import ConfigError
from mezzotint.evaluate.metrics.frechet import Z
from mezzotint.evaluate.metrics.numbers import Number
from mezzotint.evaluate.reference import SILENT, Progress
from mezzotint.media.pictures import to_model
from mezzotint.model.model import Model
from mezzotint.train.distributed import ALONE, Ranks

MAX_PICTURES = 100
PICTURES = 10  # on a way through the ODE
PROBES = 2  # random vectors for each trace of the Jacobian
STEP_TOLERANCE = 1e-4  # of the ODE: float32 networks repeat to about 1e-6
OUTER_SHARE = 0.0005  # of the training levels, left out at either end where a schedule has no ends
NOISIEST_LOGSNR, CLEANEST_LOGSNR = -12.0, 14.0


def vlb(
    model: Model,
    images: Tensor,
    labels: Tensor | None,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
) -> Number:
    """The variational bound, bits/dim, of real pictures uint8 (N, C, H, W): mean over at most 100 and its interval.

    One network call a timestep; timesteps are spread over ranks. Raises ConfigError where the model's schedule has no timesteps.
    """
    table = model.schedule
    if not isinstance(table, Table):
        raise ConfigError("vlb needs a schedule of discrete timesteps, and this model has none; use ode")
    images, cond = _subset(model, images, labels)
    x0 = to_model(images).to(model.device)
    seeds = torch.arange(len(x0), device=model.device)
    total = prior_term(model.process, table, x0).cpu()
    progress("bits by the variational bound", 0, len(table))

    def term(index: int) -> Sequence[Tensor]:
        found = asked_term(model.denoiser, model.process, table, index, x0, seeds, cond)
        progress("bits by the variational bound", len(table) - index, len(table))
        return (found.cpu(),)

    for (one,) in ranks.spread(range(len(table) - 1, -1, -1), term):
        total = total + one
    return _mean("bits/dim, bound", total)


def ode(
    model: Model,
    images: Tensor,
    labels: Tensor | None,
    progress: Progress = SILENT,
    ranks: Ranks = ALONE,
) -> Number:
    """Bits/dim by the probability-flow ODE, of real pictures uint8 (N, C, H, W): mean over at most 100, and its interval.

    From the cleanest level of training to the noisiest; a few hundred network calls.
    """
    images, cond = _subset(model, images, labels)
    low, high = ends(model.schedule)
    progress("bits by the ODE", 0, len(images))

    def bits_of(start: int) -> Sequence[Tensor]:
        rows = torch.arange(start, min(start + PICTURES, len(images)), device=model.device)
        part = dequantize(images[start : start + PICTURES].to(model.device), rows)
        likelihood = log_likelihood(
            model.denoiser,
            model.process,
            part,
            cond.map(lambda column: column[rows]),
            low=low,
            high=high,
            tolerance=STEP_TOLERANCE,
            probes=PROBES,
            seeds=rows,
        )
        progress("bits by the ODE", start + len(part), len(images))
        return (bits_per_dim(likelihood.nats, part.shape[1:].numel()).cpu(),)

    bits = ranks.spread(range(0, len(images), PICTURES), bits_of)
    return _mean("bits/dim, ODE", torch.cat([one for (one,) in bits]))


def ends(schedule: Schedule) -> tuple[float, float]:
    """The noisiest and the cleanest logsnr of training, finite and within -12 and 14."""
    levels = schedule(torch.tensor([1 - OUTER_SHARE, OUTER_SHARE], dtype=torch.float64))
    low, high = levels.clamp(NOISIEST_LOGSNR, CLEANEST_LOGSNR).tolist()
    return low, high


def _subset(model: Model, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Cond]:
    """At most MAX_PICTURES pictures, evenly spread, and their classes where the model knows them."""
    count = min(MAX_PICTURES, len(images))
    index = torch.arange(count) * len(images) // count
    if not model.classes or labels is None:
        return images[index], nothing(model.classes).expand(count).map(lambda column: column.to(model.device))
    return images[index], Cond(label=labels[index].to(model.device))


def _mean(name: str, bits: Tensor) -> Number:
    value = float(bits.mean())
    if len(bits) < 2:  # of one picture there is no interval
        return Number(name, value)
    error = float(bits.std()) / math.sqrt(len(bits))
    return Number(name, value, value - Z * error, value + Z * error)
