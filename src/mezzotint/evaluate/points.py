"""How good are points in the plane, whose exact density is known?"""

from collections.abc import Iterator

import torch
from torch import Tensor

from mezzotint.data import toy
from mezzotint.evaluate.metrics.energy import energy_distance
from mezzotint.evaluate.metrics.frechet import Z
from mezzotint.evaluate.metrics.numbers import Number

MOST = 4000  # points of the energy distance: all pairs are taken
DRAWS = 5
SEED = 10**6  # of fresh points, none that a run has seen: its own seeds have a step beside them


def point_numbers(points: Tensor, name: str) -> Iterator[Number]:
    """Of points (n, 2) against a set of `data.toy`: energy distance and log-likelihood under the true density.

    The distance is the mean over fresh samples of n points, and its interval tells how it varies with them; beside it
    stands what such samples are at from each other. The log-likelihood is the mean over the points, in nats, with what
    fresh points get: points where there is no data cost much, and a model that makes a part of the data only gets more.
    """
    some = points[:MOST]
    fresh = [toy.points(name, len(some), (SEED, k))[0] for k in range(2 * DRAWS)]
    apart = torch.tensor([energy_distance(some, x) for x in fresh[:DRAWS]])
    real = torch.tensor([energy_distance(x, y) for x, y in zip(fresh[:DRAWS], fresh[DRAWS:])])
    mean, spread = float(apart.mean()), float(apart.std())
    yield Number("energy distance", mean, mean - Z * spread, mean + Z * spread, float(real.mean()))
    log_prob = toy.log_prob(name, points)
    outside = float(log_prob.isinf().double().mean())
    if outside:
        yield Number("share where there is no data", outside, real=0.0)
    inside = log_prob[log_prob.isfinite()]
    mean, error = float(inside.mean()), float(inside.std()) / len(inside) ** 0.5
    best = torch.cat([toy.log_prob(name, x) for x in fresh]).mean()
    yield Number("log-likelihood", mean, mean - Z * error, mean + Z * error, float(best), better="")
