"""A model that was trained to copy is flagged after training; one that was trained on the whole set is not."""

import json
from pathlib import Path

import pytest

from mezzotint import config
from mezzotint.disk.names import bundled
from mezzotint.evaluate.copies import look_for_copies
from mezzotint.run.fit import fit

RARE = dict.fromkeys(("validate_every", "sample_every", "checkpoint_every", "snapshot_every"), "100%")


def trained(folder: Path, **changes: object) -> Path:
    tree = config.load("digits", []).model_dump(mode="json")
    tree["train"] |= {"images": None, "optimizer": "muon", "lr": 4e-3, "batch_size": 64, **RARE}
    for key, value in changes.items():
        part, _, name = key.partition("__")
        tree[part][name] = value
    for _ in fit(config.parse(tree), folder):
        pass
    return folder


def test_a_model_that_learnt_its_pictures_by_heart_is_flagged(tmp_path: Path) -> None:
    few = {"data__limit": 52, "data__holdout": 0.4, "network__width": 16}
    folder = trained(tmp_path, **few, train__steps=200, train__warmup=0.02, train__batch_size=32)
    found = look_for_copies(folder, n=100)
    assert found is not None and found.flagged and found.copied.value > 0.5
    written = json.loads((folder / "memorization.json").read_text())
    assert written["flagged"] is True and written["n"] == 100
    assert (folder / "memorization.png").is_file()


@pytest.mark.skipif("digits" not in bundled(), reason="no bundled model of digits")
def test_a_model_of_all_digits_is_not(tmp_path: Path) -> None:
    """The bundled one, trained on 1,707 of them."""
    (tmp_path / "model.safetensors").write_bytes(bundled()["digits"].read_bytes())
    found = look_for_copies(tmp_path, n=200)
    assert found is not None and not found.flagged and found.copied.value < 0.1


def test_points_are_not_asked(tmp_path: Path) -> None:
    tree = {"data": {"name": "moons"}, "network": {"kind": "mlp", "width": 8}, "train": {"steps": 2}}
    for _ in fit(config.parse(tree), tmp_path):
        pass
    assert look_for_copies(tmp_path) is None
    assert not (tmp_path / "memorization.json").exists()
