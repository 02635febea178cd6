"""A model that was trained to copy is flagged after training; one that was trained on the whole set is not."""

import json
from pathlib import Path

import pytest

from mezzotint import config
from mezzotint.disk.names import bundled
from mezzotint.evaluate.copies import CopyCheck, is_checked, look_for_copies
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
    few = {
        "data__limit": 36,
        "data__holdout": 0.6,  # 14 to learn, and 22
        "network__width": 16,
        "sample__steps": 8,
    }
    folder = trained(tmp_path, **few, train__steps=150, train__warmup=0.02, train__batch_size=16)
    found = look_for_copies(folder, n=100)
    assert found is not None and found.flagged and found.copied.value > 0.5
    assert is_checked(folder)
    written = json.loads((folder / "memorization.json").read_text())
    assert written["flagged"] is True and written["n"] == 100
    assert (folder / "memorization.png").is_file()


@pytest.mark.skipif("digits" not in bundled(), reason="no bundled model of digits")
def test_a_model_of_all_digits_is_not(tmp_path: Path) -> None:
    """The bundled one, trained on 1,707 of them."""
    (tmp_path / "model.safetensors").write_bytes(bundled()["digits"].read_bytes())
    assert not is_checked(tmp_path)
    found = look_for_copies(tmp_path, n=200)
    assert found is not None and not found.flagged and found.copied.value < 0.1


@pytest.mark.skipif("digits" not in bundled(), reason="no bundled model of digits")
def test_what_it_costs_is_known_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.safetensors").write_bytes(bundled()["digits"].read_bytes())
    check = CopyCheck.of(tmp_path)
    assert check is not None and check.usual == 256
    fixed, each = check.seconds(0), (check.seconds(100) - check.seconds(0)) / 100
    assert 0 < fixed < 10 and 0 < each < 1
    assert check.affordable(fixed + 50.5 * each) == 50
    assert check.affordable(fixed / 2) == 0
    calls: list[int] = []
    monkeypatch.setattr("mezzotint.evaluate.copies.seconds_a_call", lambda model, n: calls.append(n) or 2.0)
    costly = CopyCheck.of(tmp_path, check.source)
    assert costly is not None and costly.source is check.source
    assert costly.seconds(10) > 10 * 2.0 * 20, "of every network call"


@pytest.mark.skipif("digits" not in bundled(), reason="no bundled model of digits")
def test_what_is_not_of_the_model_as_it_is_is_forgotten(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(bundled()["digits"].read_bytes())
    check = CopyCheck.of(tmp_path)
    assert check is not None
    step = check.model.header.step
    for at, kept in ((step, True), (step - 1, False)):
        (tmp_path / "memorization.json").write_text(json.dumps({"step": at}))
        assert is_checked(tmp_path) == kept
        check.forget()
        assert (tmp_path / "memorization.json").exists() == kept


def test_points_are_not_asked(tmp_path: Path) -> None:
    tree = {"data": {"name": "moons"}, "network": {"kind": "mlp", "width": 8}, "train": {"steps": 2}}
    for _ in fit(config.parse(tree), tmp_path):
        pass
    assert look_for_copies(tmp_path) is None
    assert not (tmp_path / "memorization.json").exists()
