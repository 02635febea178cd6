"""The way into noise as a strip: at which levels its columns are."""

import pytest
import torch

from mezzotint import build
from mezzotint import config as configuration
from mezzotint.cond import Batch
from mezzotint.media.facts import Facts
from mezzotint.model.strips import noising


@pytest.mark.parametrize("kind", ["lognormal", "linear"])
def test_forward_and_schedule_have_one_coordinate(kind: str) -> None:
    """A column at u has the noise that the schedule has at u, whether it goes by timesteps or not."""
    tree = {"process": "flow", "schedule": {"kind": kind}, "parameterization": "velocity"}
    config = configuration.parse({"data": {"name": "moons"}, "network": {"kind": "mlp"}, "diffusion": tree})
    batch = Batch(torch.zeros(500, 2))
    drawn: list[torch.Tensor] = []
    facts = Facts((2,), (), "points")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(facts.medium),
            "strip",
            lambda medium, frames, captions, label: (drawn.extend(frames), captions),
        )
        _, captions = noising(config, facts, facts.medium.codec, batch, (0, 0.25, 0.9, 1))
    assert captions == ["u = 0", "u = 0.25", "u = 0.9", "u = 1"]
    u = torch.tensor([0.25, 0.9], dtype=torch.float64)
    _, sigma = build.make_process(config)(build.make_schedule(config)(u))
    spread = torch.stack([frame.std() for frame in drawn])
    assert torch.allclose(spread[1:3], sigma.float(), rtol=0.06)
    assert spread[0] < 0.05 and spread[3].isfinite()
