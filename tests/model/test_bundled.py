"""The models that come with the package are small, say where they come from, and make what they should."""

import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from mezzotint.data import load_pictures
from mezzotint.data.scenes import scene
from mezzotint.data.toy import points
from mezzotint.disk.names import bundled, find
from mezzotint.evaluate.metrics.energy import energy_distance
from mezzotint.evaluate.metrics.neighbours import nearest
from mezzotint.evaluate.metrics.scenes import judge
from mezzotint.model.loading import load

NAMES = ["digits", "flowers", "mnist", "mnist_fast", "moons", "scenes"]


def test_these_are_there() -> None:
    assert list(bundled()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_small_has_a_card_and_no_place_of_a_machine(name: str) -> None:
    path = bundled()[name]
    assert path.stat().st_size <= (12 if name == "flowers" else 4) * 2**20
    card = path.with_suffix(".md").read_text(encoding="utf-8")
    for word in (
        "made by",
        "data",
        "licence" if name in ("flowers", "moons", "scenes") else "CC BY",
        "training",
        "mezzotint distil mnist" if name == "mnist_fast" else f"mezzotint train {name}",
    ):
        assert word in card
    model = load(path)
    assert model.config.data.path is None
    assert not re.search(rb"/(home|root|work|Users|tmp)/", path.read_bytes())


def test_a_run_of_that_name_wins(tmp_path: Path) -> None:
    assert find("digits", tmp_path) == bundled()["digits"]
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "model.safetensors").write_bytes(b"")
    assert find("digits", tmp_path) == tmp_path / "digits" / "model.safetensors"


def test_digits_look_like_their_class_to_their_neighbours() -> None:
    samples = load("digits").sample(100, label="all")
    real = load_pictures("digits")
    assert isinstance(real.images, torch.Tensor) and real.labels is not None and samples.labels is not None
    _, which = nearest(samples.values, real.images, 3)
    assert float((real.labels[which].mode(1).values == samples.labels).double().mean()) >= 0.97


def test_moons_are_moons() -> None:
    samples = load("moons").sample(2000, label="all")
    fresh = [points("moons", 2000, (0, seed, 0, 9))[0] for seed in range(4)]
    floor = max(energy_distance(a, b) for a, b in pairwise(fresh))
    assert energy_distance(samples.values, fresh[0]) < 4 * floor


def test_scenes_are_what_they_are_asked_for() -> None:
    """Relations among them; how often in all: benchmarks/scenes.py."""
    captions = [scene(5, i).caption for i in range(24)]
    samples = load("scenes").sample(24, prompt=captions, seed=1)
    assert sum(verdict.all for verdict in judge(samples.values, captions)) >= 18


def test_sunflowers_are_yellower_than_daisies() -> None:
    samples = load("flowers").sample(12, label=["sunflower", "daisy"], steps=8)
    red, _, blue = samples.values.double().mean((2, 3)).T
    assert samples.values.shape == (12, 3, 64, 64)
    assert float((red - blue)[::2].mean()) > float((red - blue)[1::2].mean()) + 30


@pytest.mark.parametrize(("name", "steps"), [("mnist", None), *(("mnist_fast", n) for n in (1, 2, 4, 8))])
def test_the_mnist_models_make_strokes_on_black(name: str, steps: int | None) -> None:
    """Smoke: their quality is measured by benchmarks/digits.py and `mezzotint evaluate`."""
    samples = load(name).sample(20, label="all", steps=steps)
    assert samples.values.shape == (20, 1, 28, 28)
    assert 0.05 < float((samples.values > 127).double().mean()) < 0.25
    assert float((samples.values[..., :2] > 60).double().mean()) < 0.01  # the border is empty


def test_a_model_of_words_is_opened_without_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes more than a second to import; PyTorch does so for random numbers that have no place."""
    for name in ("torch._dynamo", "sympy"):
        monkeypatch.setitem(sys.modules, name, None)  # an import of it would raise
    assert load("scenes").language is not None
