"""The features of an autoencoder's objective: learned once, the same after a stop, and no judge's."""

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mezzotint import config
from mezzotint.config import Config
from mezzotint.disk.checkpoint import last_checkpoint
from mezzotint.errors import ConfigError, ModelError
from mezzotint.evaluate.judges.classifier import Classifier
from mezzotint.run import features
from mezzotint.run.fit import check, fit
from mezzotint.run.parts import Parts
from mezzotint.train.distributed import Ranks
from mezzotint.train.objectives import core

RARE = dict.fromkeys(("validate_every", "sample_every", "checkpoint_every", "snapshot_every"), "100%")
DATA = {"name": "digits", "limit": 96, "holdout": 0.25}
TRAIN: dict[str, Any] = {"steps": 3, "batch_size": 6, "precision": "fp32", "optimizer": "muon", **RARE}


def chosen(data: dict[str, Any] = DATA, **train: Any) -> Config:
    network = {"kind": "vae", "width": 8, "latents": 3}
    return config.parse(
        {
            "data": data,
            "objective": "autoencode",
            "network": network,
            "train": {**TRAIN, "features": 0.5, **train},
        }
    )


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "STEPS", 12)


def files(folder: Path) -> dict[str, bytes]:
    newest = last_checkpoint(folder)
    assert newest is not None
    paths = [*newest.iterdir(), folder / features.FILE, folder / "model.safetensors"]
    return {path.name: path.read_bytes() for path in paths if path.name != "state.json"}


def test_a_run_that_was_stopped_is_the_one_that_was_not(tmp_path: Path) -> None:
    """To the bit, with the features that it began with; without them, or with damaged ones, it does not go on."""
    whole, again = tmp_path / "whole", tmp_path / "again"
    list(fit(chosen(), whole))
    list(fit(chosen(), again, stop=lambda: True))
    kept = (again / features.FILE).read_bytes()
    (again / features.FILE).write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
    with pytest.raises(ModelError, match=r"features.safetensors is damaged.*train again with --overwrite"):
        list(fit(chosen(), again))
    (again / features.FILE).unlink()
    with pytest.raises(ModelError, match=r"missing.*restore it"):
        list(fit(chosen(), again))
    (again / features.FILE).write_bytes(kept)
    features.STEPS = 0  # nothing is learned anew
    list(fit(chosen(), again))
    assert files(again) == files(whole)
    assert not list((tmp_path / "cache").rglob("*")), "nothing of it lies where judges are kept"
    shapes = {name: tensor.shape for name, tensor in load_file(again / features.FILE).items()}
    assert shapes.keys().isdisjoint(Classifier(1, 8, 10).state_dict().keys() - {"head.weight", "head.bias"})


def test_they_tell_classes_apart_and_are_part_of_the_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "STEPS", 60)
    run = Parts(chosen({**DATA, "limit": 400}), tmp_path, Ranks())
    assert run.features is not None
    x0, cond = run.source.preview(64)
    assert cond.label is not None
    before = float((run.features(x0).argmax(1) == cond.label).float().mean())
    run.learn_features(begun=False)
    after = float((run.features(x0).argmax(1) == cond.label).float().mean())
    assert before < 0.4 and after > 0.8
    eps, u = torch.zeros_like(x0), torch.full((64,), 0.5, dtype=torch.float64)
    loss = core(run.plain)
    with_features = loss(x0, eps, u, cond)
    x, _, _ = run.state.net(x0, eps.flatten(1)[:, :12].unflatten(1, (3, 2, 2)))
    loss.features = None  # type: ignore[attr-defined]
    rest = with_features - loss(x0, eps, u, cond)
    assert torch.allclose(rest, 0.5 * run.features.distance(x, x0), atol=1e-5) and rest.min() > 0.05
    last = run.state.net.get_submodule("decoder")[-2].weight  # type: ignore[index]
    (added,) = torch.autograd.grad(rest.sum(), last, retain_graph=True)
    (alone,) = torch.autograd.grad(0.5 * run.features.distance(x, x0).sum(), last)
    assert torch.allclose(added, alone, atol=1e-3 * float(alone.abs().max())), "it reaches the decoder"
    assert all(p.grad is None for p in run.features.parameters())


@pytest.mark.parametrize("data", [{"labels": False}, {"only": "3"}])
def test_without_classes_there_are_none(data: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"at least two classes.*or leave train.features out"):
        check(chosen({**DATA, **data}))


def test_they_are_of_autoencoders_alone() -> None:
    with pytest.raises(ConfigError, match=r"train.features is for autoencoders"):
        config.parse({"train": {"features": 0.1}})
    assert "features" not in config.dump(chosen(features=0.0)), "runs without it are written as before"
