"""All that two sets of features say of each other, as numbers with their 95 % intervals and what real pictures get."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.evaluate.judges.features import Features
from mezzotint.evaluate.metrics.frechet import (
    MIN_ROWS_PER_FEATURE,
    Moments,
    Z,
    frechet_distance,
    frechet_infinity,
)
from mezzotint.evaluate.metrics.inception_score import inception_score
from mezzotint.evaluate.metrics.kernel import kernel_distance, random_subsets
from mezzotint.evaluate.metrics.precision_recall import precision_recall
from mezzotint.evaluate.metrics.share import Share, agreement

FEATURE_METRICS = ("frechet", "kernel", "score", "precision", "agreement")
RESAMPLES = 20  # for the interval of the Fréchet distance
SPLITS = 10  # of samples and of real pictures, for means over them
MAX_RESAMPLED_FEATURES = 512  # from so many on a distance takes seconds, and is computed once


@dataclass(frozen=True)
class Number:
    """A value, its 95 % interval where one is known, and what real pictures get by the same rule where that is known.

    better: "lower", "higher", or "" where neither.
    """

    name: str
    value: float
    low: float | None = None
    high: float | None = None
    real: float | None = None
    better: str = "lower"


def compare(
    samples: Features,
    real: Features,
    labels: Tensor | None = None,
    real_labels: Tensor | None = None,
    metrics: Collection[str] = FEATURE_METRICS,
) -> Iterator[Number]:
    """The numbers of samples against real pictures of a split that the model has not seen.

    labels: (n,) int64, the class each sample was asked to be; real_labels: (m,) those of the real pictures. Agreement needs
    them, and logits of the data's classes. What cannot be said (of too few pictures, without logits) is left out.
    """
    n, m = len(samples.pool), len(real.pool)
    if "frechet" in metrics and min(n, m) >= 2:  # of one picture there is no spread
        yield from _frechet(samples.pool, real.pool)
    if "kernel" in metrics and min(n, m) >= 4:  # its subsets have half of the pictures, two at least
        subsets = random_subsets(n, m, size=min(1000, n // 2, m // 2))  # the half: a whole has no deviation
        kernel = kernel_distance(samples.pool, real.pool, subsets)
        yield _interval("kernel distance", kernel.mean, kernel.std, real=0.0)
    if "score" in metrics and samples.logits is not None and real.logits is not None:
        yield from _score(samples.logits, real.logits)
    if "precision" in metrics:
        yield from _precision(samples.pool, real.pool)
    if "agreement" in metrics and samples.logits is not None and labels is not None:
        share = agreement(samples.logits, labels)
        accuracy = (
            None if real_labels is None or real.logits is None else agreement(real.logits, real_labels).value
        )
        yield Number("class agreement", *share, real=accuracy, better="higher")


def _frechet(samples: Tensor, real: Tensor) -> Iterator[Number]:
    (n, d), m = samples.shape, len(real)
    reference = Moments.of(real)
    value = frechet_distance(Moments.of(samples), reference)
    if d >= MAX_RESAMPLED_FEATURES:
        yield Number("frechet distance", value)
    else:
        random = torch.Generator().manual_seed(0)
        draws = [samples[torch.randint(n, (n,), generator=random)] for _ in range(RESAMPLES)]
        error = torch.tensor([frechet_distance(Moments.of(x), reference) for x in draws]).std()
        yield _interval("frechet distance", value, float(error), real=real_frechet(real, n))
    if min(n, m) >= MIN_ROWS_PER_FEATURE * d:
        yield Number("frechet, infinite n", *frechet_infinity(samples, real), real=0.0)


def real_frechet(real: Tensor, n: int) -> float | None:
    """What n real pictures get against the others, the mean over random splits; None where fewer than n are left."""
    if len(real) < 2 * n:
        return None
    random = torch.Generator().manual_seed(0)
    orders = [real[torch.randperm(len(real), generator=random)] for _ in range(SPLITS)]
    return sum(frechet_distance(Moments.of(x[:n]), Moments.of(x[n:])) for x in orders) / SPLITS


def _score(samples: Tensor, real: Tensor) -> Iterator[Number]:
    """Small splits score less, so real pictures' score is that of as many of them, where there are so many."""
    n = len(samples)
    if n < 10 * SPLITS:
        return
    score = inception_score(samples.softmax(1), SPLITS)
    best = None
    if len(real) >= n:
        subset = real[torch.randperm(len(real), generator=torch.Generator().manual_seed(0))[:n]]
        best = inception_score(subset.softmax(1), SPLITS).mean
    yield _interval("inception score", score.mean, score.std / SPLITS**0.5, best, "higher")


def _precision(samples: Tensor, real: Tensor) -> Iterator[Number]:
    """At equal sizes, as these numbers want it; what real pictures get, where there are enough for two such sets."""
    n = min(len(samples), len(real))
    if n < 10:
        return
    order = torch.randperm(len(real), generator=torch.Generator().manual_seed(0))
    real, others = real[order[:n]], real[order[n : 2 * n]]
    measured = precision_recall(samples[:n], real)
    best = precision_recall(others, real) if len(others) == n else None
    for name in ("precision", "recall", "coverage"):
        value, top = getattr(measured, name), getattr(best, name, None)
        yield Number(name, *Share.of(round(value * n), n), real=top, better="higher")
    yield Number("density", measured.density, real=None if best is None else best.density, better="higher")


def _interval(
    name: str, value: float, error: float, real: float | None = None, better: str = "lower"
) -> Number:
    return Number(name, value, value - Z * error, value + Z * error, real, better)
