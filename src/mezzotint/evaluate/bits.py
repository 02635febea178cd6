"""How many bits a number of a picture costs under a model: the variational bound, and the probability-flow ODE."""

import math

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.labels import nothing
from mezzotint.diffusion.bound import prior_term, terms
from mezzotint.diffusion.likelihood import bits_per_dim, dequantize, log_likelihood
from mezzotint.diffusion.schedule import Schedule, Table
from mezzotint.errors import ConfigError
from mezzotint.evaluate.metrics.frechet import Z
from mezzotint.evaluate.metrics.numbers import Number
from mezzotint.evaluate.reference import SILENT, Progress
from mezzotint.media.pictures import to_model
from mezzotint.model.model import Model

MAX_PICTURES = 100
PROBES = 2  # random vectors for each trace of the Jacobian
STEP_TOLERANCE = 1e-4  # of the ODE: float32 networks repeat to about 1e-6
OUTER_SHARE = 0.0005  # of the training levels, left out at either end where a schedule has no ends
NOISIEST_LOGSNR, CLEANEST_LOGSNR = -12.0, 14.0


def vlb(model: Model, images: Tensor, labels: Tensor | None, progress: Progress = SILENT) -> Number:
    """The variational bound, bits/dim, of real pictures uint8 (N, C, H, W): mean over at most 100 and its interval.

    One network call a timestep. Raises ConfigError where the model's schedule has no timesteps.
    """
    table = model.schedule
    if not isinstance(table, Table):
        raise ConfigError("vlb needs a schedule of discrete timesteps, and this model has none; use ode")
    images, cond = _subset(model, images, labels)
    x0 = to_model(images).to(model.device)
    seeds = torch.arange(len(x0), device=model.device)
    total = prior_term(model.process, table, x0)
    progress("bits by the variational bound", 0, len(table))
    for done, term in enumerate(terms(model.denoiser, model.process, table, x0, seeds, cond), 1):
        total = total + term
        progress("bits by the variational bound", done, len(table))
    return _mean("bits/dim, bound", total)


def ode(model: Model, images: Tensor, labels: Tensor | None, progress: Progress = SILENT) -> Number:
    """Bits/dim by the probability-flow ODE, of real pictures uint8 (N, C, H, W): mean over at most 100, and its interval.

    From the cleanest level of training to the noisiest; a few hundred network calls.
    """
    images, cond = _subset(model, images, labels)
    low, high = ends(model.schedule)
    bits = []
    progress("bits by the ODE", 0, len(images))
    for start in range(0, len(images), 10):
        rows = torch.arange(start, min(start + 10, len(images)), device=model.device)
        part = dequantize(images[start : start + 10].to(model.device), rows)
        likelihood = log_likelihood(
            model.denoiser,
            model.process,
            part,
            cond.map(lambda column, rows=rows: column[rows]),  # type: ignore[misc]
            low=low,
            high=high,
            tolerance=STEP_TOLERANCE,
            probes=PROBES,
            seeds=rows,
        )
        bits.append(bits_per_dim(likelihood.nats, part.shape[1:].numel()))
        progress("bits by the ODE", start + len(part), len(images))
    return _mean("bits/dim, ODE", torch.cat(bits))


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
