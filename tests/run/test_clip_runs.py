"""Runs of clips: they begin as a model of pictures, go on to the bit, and have students; by U-Nets and by transformers."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mezzotint
from mezzotint import config
from mezzotint.config import Config
from mezzotint.run.events import Done
from mezzotint.run.fit import check, fit
from mezzotint.run.parts import Parts
from mezzotint.run.start import beginning, origin
from mezzotint.run.teacher import student
from mezzotint.train.distributed import Ranks

RARE = dict.fromkeys(("validate_every", "sample_every", "checkpoint_every", "snapshot_every"), "100%")
FLOW = {"process": "flow", "schedule": {"kind": "lognormal"}, "parameterization": "velocity"}
BASE: dict[str, Any] = {
    "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "attention": [1]},
    "diffusion": FLOW,
    "train": {"steps": 4, "batch_size": 4, "precision": "fp32", "optimizer": "muon", "lr": 1e-2, **RARE},
    "sample": {"steps": 2},
}


def finish(chosen: Config, folder: Path, **options: Any) -> Done:
    *_, done = fit(chosen, folder, **options)
    assert isinstance(done, Done)
    return done


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The group data of a set of clips of 6 frames, of which 4 are seen, in ten classes."""
    file = tmp_path_factory.mktemp("data") / "clips.npz"
    moving = np.random.default_rng(0).integers(0, 256, (20, 6, 8, 8), dtype=np.uint8)
    np.savez(file, images=moving, labels=np.arange(20) % 10, classes=np.array([str(k) for k in range(10)]))
    return {"name": "folder", "path": str(file), "frames": 4, "size": 8}


@pytest.fixture(scope="module")
def base(clips: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "base"
    finish(config.parse({**BASE, "data": clips}), folder)
    return folder


def test_it_begins_as_a_model_of_pictures(clips: dict[str, Any], tmp_path: Path) -> None:
    """Of another size even, frame by frame to the bit."""
    still = {"name": "digits", "limit": 64, "size": 12}
    finish(config.parse({**BASE, "data": still, "train": {**BASE["train"], "steps": 2}}), tmp_path / "still")
    chosen = config.parse({**BASE, "data": clips, "origin": origin(tmp_path / "still")})
    parts, pictures = Parts(chosen, tmp_path / "x", Ranks()), mezzotint.load(tmp_path / "still").net
    x, level, label = torch.randn(2, 1, 4, 8, 8), torch.tensor([0.2, 0.9]), torch.tensor([3, 10])
    with torch.no_grad():
        found = parts.state.net.eval()(x, level, label)
        frames = x.transpose(1, 2).flatten(0, 1)
        wanted = pictures(frames, level.repeat_interleave(4), label.repeat_interleave(4))
    assert found.transpose(1, 2).flatten(0, 1).equal(wanted) and found.abs().max() > 0


def test_the_recipe_keeps_its_noise_where_it_begins_as_the_bundled_digits() -> None:
    begun, alone = beginning("bouncing", name="mnist"), config.load("bouncing")
    assert (begun.diffusion, begun.sample, begun.network) == (alone.diffusion, alone.sample, alone.network)


def test_it_goes_on_to_the_bit(clips: dict[str, Any], base: Path, tmp_path: Path) -> None:
    """With the same parts of the same clips."""
    asked = iter((False, True))
    chosen = config.parse({**BASE, "data": clips})
    assert not finish(chosen, tmp_path / "parts", stop=lambda: next(asked)).finished
    assert finish(chosen, tmp_path / "parts").finished
    whole, parts = (folder / "model.safetensors" for folder in (base, tmp_path / "parts"))
    assert whole.read_bytes() == parts.read_bytes()
    assert mezzotint.load(whole).facts.shape == (1, 4, 8, 8)


@pytest.mark.parametrize(("method", "calls"), [("map", 1), ("progressive", 2), ("consistency", 1)])
def test_students(method: Any, calls: int, base: Path, tmp_path: Path) -> None:
    chosen = student(base, method, calls, [], train__steps=2)
    finish(chosen, tmp_path / "fast")
    model = mezzotint.load(tmp_path / "fast")
    made = model.sample(2, label="all")
    assert made.values.shape == (2, 1, 4, 8, 8) and made.settings["steps"] == calls
    assert model.edit(made.values[0, :, :2]).values[0, :, :2].equal(made.values[0, :, :2])


def test_a_transformer_takes_clips_by_their_third_axis(clips: dict[str, Any], tmp_path: Path) -> None:
    tree = {**BASE, "data": clips}
    network = {"kind": "dit", "width": 32, "depth": 2, "head_channels": 16, "patch": [2, 4, 4]}
    finish(config.parse({**tree, "network": network}), tmp_path / "dit")
    model = mezzotint.load(tmp_path / "dit")
    assert model.sample(1).values.shape == (1, 1, 4, 8, 8)
    assert model.config.network.model_dump()["patch"] == [2, 4, 4]
    with pytest.raises(ValueError, match=r"patch \[4, 4\] does not fit 3 axes"):
        check(config.parse({**tree, "network": {**network, "patch": [4, 4]}}))
