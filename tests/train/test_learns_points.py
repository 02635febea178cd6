"""Five hundred steps of the moons recipe, with half its batch, learn a distribution: measured against the exact density, not looked at."""

from pathlib import Path

import pytest
import torch

from mezzotint.config import load
from mezzotint.data.toy import log_prob, points
from mezzotint.evaluate.metrics.energy import energy_distance
from mezzotint.model.loading import load as load_model
from mezzotint.run.events import Done
from mezzotint.run.fit import fit

N, PAIRS = 2000, 3


@pytest.mark.slow
@pytest.mark.parametrize("name", ["moons", "mixture"])
def test_the_recipe_learns(name: str, tmp_path: Path) -> None:
    """Energy distance to fresh data below 3 times that between fresh sets; mean log-likelihood within 0.2 nat."""
    rare = [f"train.{key}_every=100%" for key in ("validate", "sample", "checkpoint")]
    *_, done = fit(
        load("moons", [f"data.name={name}", "train.steps=500", "train.batch_size=256", *rare]), tmp_path
    )
    assert isinstance(done, Done) and done.finished

    values = load_model(tmp_path).sample(N * PAIRS, label="all", seed=1).values
    # seeds from 2^40 up are no seeds of training
    fresh = [points(name, N, 2**40 + i)[0] for i in range(3 * PAIRS)]
    ours = [energy_distance(a, b) for a, b in zip(values.split(N), fresh)]
    floor = [energy_distance(a, b) for a, b in zip(fresh[PAIRS:], fresh[2 * PAIRS :])]
    assert sum(ours) < 3 * sum(floor)
    real = torch.cat(fresh)
    assert abs(float(log_prob(name, values).mean() - log_prob(name, real).mean())) < 0.2
    low, high = values.quantile(0.001, 0), values.quantile(0.999, 0)  # no stray points
    assert (low > real.amin(0) - 0.3).all() and (high < real.amax(0) + 0.3).all()
