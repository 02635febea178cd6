"""How good are points in the plane, whose exact density is known?"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.data import toy
from mezzotint.evaluate.metrics.energy import energy_distance
from mezzotint.evaluate.metrics.frechet import Z
from mezzotint.evaluate.metrics.numbers import Number

MAX_POINTS = 4000  # of the energy distance: all pairs are taken
FRESH_SETS = 5  # of real points
FRESH_SEED = 10**6  # of fresh points, none that a run has seen: its own seeds have a step beside them


def point_numbers(points: Tensor, name: str) -> Iterator[Number]:
    """Of points (n, 2) against a set of `data.toy`: energy distance and log-likelihood under the true density.

    The distance is the mean over fresh samples of n points, and its interval tells how it varies with them; beside it
    stands what such samples are at from each other. The log-likelihood is the mean over the points, in nats, with what
    fresh points get: points where there is no data cost much, and a model that makes a part of the data only gets more.
    """
    subset = points[:MAX_POINTS]
    fresh_sets = [toy.points(name, len(subset), (FRESH_SEED, k))[0] for k in range(2 * FRESH_SETS)]
    distances = torch.tensor([energy_distance(subset, x) for x in fresh_sets[:FRESH_SETS]])
    real = torch.tensor(
        [energy_distance(x, y) for x, y in zip(fresh_sets[:FRESH_SETS], fresh_sets[FRESH_SETS:])]
    )
    mean, spread = float(distances.mean()), float(distances.std())
    yield Number("energy distance", mean, mean - Z * spread, mean + Z * spread, float(real.mean()))
    log_prob = toy.log_prob(name, points)
    outside_share = float(log_prob.isinf().double().mean())
    if outside_share:
        yield Number("share where there is no data", outside_share, real=0.0)
    finite = log_prob[log_prob.isfinite()]
    mean, error = float(finite.mean()), float(finite.std()) / len(finite) ** 0.5
    best = torch.cat([toy.log_prob(name, x) for x in fresh_sets]).mean()
    yield Number("log-likelihood", mean, mean - Z * error, mean + Z * error, float(best), better="")
