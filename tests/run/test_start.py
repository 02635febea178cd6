"""Trainings that begin with another model's weights."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import mezzotint
from mezzotint import config
from mezzotint.config import Config
from mezzotint.disk.files import digest
from mezzotint.disk.model_file import read_header
from mezzotint.errors import ConfigError, ModelError
from mezzotint.run.events import Done
from mezzotint.run.fit import check, fit
from mezzotint.run.start import origin

RARE = dict.fromkeys(("validate_every", "sample_every", "checkpoint_every", "snapshot_every"), "100%")
BASE: dict[str, Any] = {
    "data": {"name": "digits", "limit": 64},
    "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1},
    "diffusion": {"process": "flow", "schedule": {"kind": "lognormal"}, "parameterization": "velocity"},
    "train": {"steps": 3, "batch_size": 12, "precision": "fp32", "lr": 1e-2, **RARE},
    "sample": {"steps": 3},
}
TUNED = {"objective": "consistency", "sample": {"sampler": "consistency", "steps": 2}}


def finish(chosen: Config, folder: Path, **options: Any) -> Done:
    *_, done = fit(chosen, folder, **options)
    assert isinstance(done, Done)
    return done


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "base"
    finish(config.parse(BASE), folder)
    return folder


def after(base: Path, **tree: Any) -> Config:
    return config.parse({**BASE, "origin": origin(base), **tree})


def test_consistency_tuning_begins_with_a_denoiser(base: Path, tmp_path: Path) -> None:
    """At a rate of next to nothing it is the denoiser still, to the last bits; and as a run it goes on to the bit."""
    train = {**BASE["train"], "steps": 4}
    still = after(base, **TUNED, train={**train, "lr": 1e-12})
    finish(still, tmp_path / "still")
    mine, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "still", base))
    assert mine.keys() == theirs.keys()
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-8, rtol=0) for name in mine)

    chosen = after(base, **TUNED, train=train)
    finish(chosen, tmp_path / "whole")
    asked = iter((False, True))
    assert not finish(chosen, tmp_path / "parts", stop=lambda: next(asked)).finished
    assert finish(chosen, tmp_path / "parts").finished
    whole, parts = (tmp_path / name / "model.safetensors" for name in ("whole", "parts"))
    assert whole.read_bytes() == parts.read_bytes() != (tmp_path / "still" / "model.safetensors").read_bytes()

    kept = read_header(whole).config.origin
    assert kept is not None and kept.digest == digest(base / "model.safetensors")
    assert mezzotint.load(whole).sample(3, label="all").values.shape == (3, 1, 8, 8)


def test_runs_from_random_weights_say_nothing_of_it(base: Path) -> None:
    assert "origin" not in config.dump(config.parse(BASE))
    assert "origin" not in read_header(base / "model.safetensors").config.model_dump()
    assert config.parse(after(base).model_dump(mode="json")) == after(base)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ({"network": {**BASE["network"], "width": 16}}, "its network differs, and only .* network.kind=unet"),
        ({"network": {"kind": "mlp"}}, "network.kind mlp is not for pictures"),
        ({"data": {"name": "moons"}, "network": {"kind": "mlp"}}, "its things are pictures, and those here points"),
        ({"diffusion": {**BASE["diffusion"], "parameterization": "v"}}, "its diffusion.parameterization are velocity"),
        ({"objective": "meanflow"}, "noise level are time, and those here time in"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tree: dict[str, Any], words: str, base: Path) -> None:
    with pytest.raises(ConfigError, match=words):
        check(after(base, **tree))


def test_an_origin_that_is_gone_or_another_one(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "moved")
    chosen = after(tmp_path / "moved")
    (tmp_path / "moved" / "model.safetensors").write_bytes(b"something else")
    with pytest.raises(ModelError, match="is not the origin that this run started from"):
        check(chosen)
    shutil.rmtree(tmp_path / "moved")
    with pytest.raises(ModelError, match=r"is missing; restore it, or give its place: origin\.file=FILE"):
        check(chosen)
    with pytest.raises(ModelError, match="nobody"):
        origin("nobody")
