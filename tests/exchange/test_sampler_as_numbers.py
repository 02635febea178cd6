"""Samplers as tables of numbers, against the samplers themselves."""

import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_modules import module_of
from helpers_small import FLOW, UNET, write_run
from helpers_tiny import tiny

import mezzotint
from mezzotint.conditions.text import BYTES
from mezzotint.diffusion.flowmap import FlowMap
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.errors import ConfigError
from mezzotint.exchange.sampler import sampler_table
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.randomness import noise

SETTINGS: list[dict[str, Any]] = [
    *({"sampler": name, "steps": 5} for name in SAMPLERS),
    {"sampler": "ddim", "eta": 0.7, "steps": 4},
    {"sampler": "heun", "churn": 3.0, "steps": 4},
    {"sampler": "ddim", "guidance": 3.0, "guidance_interval": (0.5, 5.0), "steps": 6, "clip": False},
]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """sample.py, where onnxruntime need not be installed."""
    path = Path(mezzotint.__file__).parent / "exchange" / "graph" / "sample.py"
    with pytest.MonkeyPatch.context() as patch:  # others look whether it is installed
        patch.setitem(sys.modules, "onnxruntime", ModuleType("onnxruntime"))
        return module_of(path)


class Session:
    """The network of a model, called as onnxruntime calls one."""

    def __init__(self, model: Model) -> None:
        self.net = model.net

    def run(self, names: None, given: dict[str, np.ndarray]) -> list[np.ndarray]:
        told = {name: torch.from_numpy(np.asarray(value)) for name, value in given.items()}
        assert all(value.dtype in (torch.float32, torch.int64) for value in told.values())
        with torch.no_grad():
            return [self.net(told.pop("x"), told.pop("c_noise"), **told).numpy()]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    folder = tmp_path_factory.mktemp("runs") / "small"
    facts = Facts((1, 6, 6), ("a", "b", "c"), empty=(1,))
    write_run(folder, facts, network=UNET, diffusion={"schedule": {"kind": "linear"}})
    return load(folder)


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: "-".join(map(str, s.values()))[:40])
def test_a_table_is_the_sampler(model: Model, example: ModuleType, settings: dict[str, Any]) -> None:
    """The same seed, and a class drawn from it."""
    table = json.loads(json.dumps(sampler_table(model, **settings)))
    seeds = np.arange(3, dtype=np.uint64) + np.uint64(40)
    asked, away = example.told(table, seeds)
    made = example.sample(Session(model), table, seeds, asked, away)
    want = model.sample(3, seed=40, **settings)
    assert want.labels is not None and want.labels.tolist() == asked["label"].tolist()
    *_, last = model.stream(3, seed=40, **settings)
    assert np.abs(made - last.x0.numpy()).max() < 1e-4 * max(1, float(last.x0.abs().max()))


def test_noise_is_that_of_a_seed(example: ModuleType) -> None:
    seeds = torch.tensor([0, 7, 2**63 - 1])
    for step, draw in ((0, 0), (5, 1)):
        want = noise(seeds, step, draw, (3, 5)).numpy()
        assert np.abs(example.normal(seeds.numpy().astype(np.uint64), step, draw, (3, 5)) - want).max() < 1e-6


def test_students_are_told_how_far_they_go(example: ModuleType) -> None:
    student = load("mnist_fast", device="cpu", precision="fp32")
    assert isinstance(student.denoiser, FlowMap)
    table = sampler_table(student, steps=2)
    made = example.sample(
        Session(student), table, np.arange(2, dtype=np.uint64), {"label": np.array([3, 8])}, {}
    )
    *_, last = student.stream(2, label=[3, 8], steps=2)
    assert [move["guidance"] for move in table["moves"]] == [1.0, 1.0]
    assert np.abs(made - last.x0.numpy()).max() < 1e-4


def test_points(tmp_path: Path, example: ModuleType) -> None:
    write_run(tmp_path / "dots", Facts((2,)), network={"kind": "mlp", "width": 8}, diffusion=FLOW)
    dots = load(tmp_path / "dots")
    table = sampler_table(dots)
    assert table["classes"] == () and not table["clip"]
    made = example.sample(Session(dots), table, np.arange(9, dtype=np.uint64), {}, {})
    assert np.abs(made - dots.sample(9).values.numpy()).max() < 1e-4


@pytest.mark.parametrize("words", [5, BYTES])
def test_texts_become_numbers_as_ours_do(example: ModuleType, words: int) -> None:
    """Of a prompt, of the examples by the seed, and of what guidance drives away from; beside classes."""
    network = {**UNET, "width": 4, "attention": [1]}
    model = tiny((1, 6, 6), 3, words, network=network, diffusion=FLOW, sample={"steps": 3, "guidance": 3.0})
    table = json.loads(json.dumps(sampler_table(model)))
    prompt, negative = ("w03, w00  W01.", "w02") if words == 5 else ("  \u00c4r \n G", "ab")
    seeds = np.arange(2, dtype=np.uint64)
    for given, asked in (
        ((None, prompt, negative), {"prompt": prompt, "negative": negative}),
        ((1,), {"label": 1}),
    ):
        made = example.sample(Session(model), table, seeds, *example.told(table, seeds, *given))
        want = list(model.previews(model.request(2, **asked)))[-1].x0.numpy()
        assert np.abs(made - want).max() < 1e-4
    if words == 5:
        with pytest.raises(ValueError, match="'w99' is not in list"):
            example.told(table, seeds, None, "w99")


@pytest.mark.parametrize(
    ("facts", "tree", "line"),
    [
        (Facts((1, 6, 6), length=4, reading="encoder", width=4), {}, "texts read by an encoder"),
        (Facts((1, 6, 6)), {"data": {"enlarge": 2}}, "data.enlarge"),
        (Facts((1, 6, 6), ("a",)), {"sample": {"guidance": 2, "guidance_rescale": 0.5}}, "guidance_rescale"),
        (Facts((1, 6, 6)), {"sample": {"sampler": "ddpm", "steps": 1000}}, "at most 499 .* --steps"),
    ],
)
def test_what_is_no_such_table_is_refused(
    facts: Facts, tree: dict[str, Any], line: str, model: Model
) -> None:
    config = mezzotint.config.parse({"network": UNET, **tree})
    other = SimpleNamespace(**{**vars(model), "config": config, "facts": facts, "classes": facts.classes})
    other.request = lambda n, **settings: SimpleNamespace(
        settings=config.sample.model_copy(update={"spacing": "trailing"})
    )
    with pytest.raises(ConfigError, match=line):
        sampler_table(other)  # type: ignore[arg-type]
