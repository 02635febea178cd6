"""Students as runs: going on to the bit, what lies in their files, and what is refused."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_small import CLASSES, FLOW, write_run
from safetensors.torch import load_file
from starlette.testclient import TestClient

import mezzotint
from mezzotint import config
from mezzotint.conditions.labels import nothing
from mezzotint.config import Config
from mezzotint.data.scenes import LENGTH, vocabulary
from mezzotint.diffusion.denoiser import takes_to
from mezzotint.disk.checkpoint import last_checkpoint
from mezzotint.disk.model_file import read_header
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts
from mezzotint.run.events import Done, Event, Logged
from mezzotint.run.fit import check, fit
from mezzotint.run.start import digest
from mezzotint.run.teacher import belief, open_teacher, student
from mezzotint.serve.http.api import create_app
from mezzotint.serve.http.results import encode
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Settings

RARE = dict.fromkeys(("validate_every", "sample_every", "checkpoint_every", "snapshot_every"), "100%")
NETWORK = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "dropout": 0.2}
TEACHER: dict[str, Any] = {
    "data": {"name": "digits", "limit": 64},
    "network": NETWORK,
    "diffusion": {"process": "flow", "schedule": {"kind": "lognormal"}, "parameterization": "velocity"},
    "train": {"steps": 2, "batch_size": 12, "precision": "fp32", **RARE},
    "sample": {"sampler": "heun", "steps": 3, "guidance": 2.0, "guidance_interval": [0.5, 4.0]},
}
METHODS = ("map", "progressive", "consistency")


def finish(config: Config, folder: Path, **options: Any) -> tuple[Done, list[Event]]:
    *events, done = fit(config, folder, **options)
    assert isinstance(done, Done)
    return done, events


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model file that has learned next to nothing, but whose answers depend on all it is told."""
    folder = tmp_path_factory.mktemp("teacher") / "digits"
    finish(config.parse(TEACHER), folder)
    return folder


def make(teacher: Path, method: Any, *overrides: str, calls: int = 1, steps: int = 6) -> Config:
    rare = [f"train.{key}={value}" for key, value in RARE.items()]
    return student(teacher, method, calls, ["train.batch_size=4", *rare, *overrides], train__steps=steps)


def files(folder: Path) -> dict[str, bytes]:
    newest = last_checkpoint(folder)
    assert newest is not None
    return {f.name: f.read_bytes() for f in newest.iterdir()} | {
        "published": (folder / "model.safetensors").read_bytes()
    }


@pytest.mark.parametrize("method", [*METHODS, "meanflow", "consistency without a teacher"])
def test_a_student_that_was_stopped_is_the_one_that_was_not(
    method: str, teacher: Path, tmp_path: Path
) -> None:
    """Within a stage, and at its end, where the student becomes the teacher: at step 4 of 6."""
    if method in METHODS:
        chosen = make(teacher, method)
    else:
        changes = {
            "objective": method.split()[0],
            "train": {**TEACHER["train"], "steps": 6, "label_drop": 0.2},
        }
        chosen = config.parse({**TEACHER, **changes, "sample": {"sampler": "ddim", "steps": 1}})
    finish(chosen, tmp_path / "whole")
    parts = tmp_path / "parts"
    for stop in (3, 1):  # at step 3 and 4
        asked = iter(range(1, 100))
        done, _ = finish(chosen, parts, stop=lambda asked=asked, stop=stop: next(asked) >= stop)  # type: ignore[misc]
        assert not done.finished
    done, _ = finish(chosen, parts)
    assert done.finished and files(parts) == files(tmp_path / "whole")


@pytest.mark.parametrize("method", METHODS)
def test_a_student_begins_as_its_teacher_and_does_without_it_afterwards(
    method: Any, teacher: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "there"
    shutil.copytree(teacher, copy)
    chosen = make(copy, method, steps=2)
    _, events = finish(chosen, tmp_path / "student")
    assert any("a student of there" in str(event) for event in events)
    first = next(event.row for event in events if isinstance(event, Logged) and "loss" in event.row)
    assert first["loss"] < 10
    header = read_header(tmp_path / "student" / "model.safetensors")
    assert header.config.objective == method and header.config.teacher is not None
    assert header.config.teacher.digest == digest(copy / "model.safetensors")
    mine, theirs = (load_file(f / "model.safetensors") for f in (tmp_path / "student", copy))
    assert theirs.keys() <= mine.keys()
    assert all(name.startswith("conditioning.span.") for name in mine.keys() - theirs.keys())
    assert (
        mine["down.0.enter.1.weight"] - theirs["down.0.enter.1.weight"]
    ).abs().max() < 0.01  # two steps on

    followers = {
        name.partition("/")[0]
        for name in load_file(last_checkpoint(tmp_path / "student") / "ema.safetensors")
    }  # type: ignore[operator]
    assert ("held" in followers) == (method == "progressive")

    shutil.rmtree(copy)
    model = mezzotint.load(tmp_path / "student")
    assert takes_to(model.guided) == (method == "map")
    assert model.denoiser.dtype == torch.float32
    for calls in (1, 2, 4, 8):
        assert model.sample(3, label="all", steps=calls).values.shape == (3, 1, 8, 8)
    with pytest.raises(ModelError, match="is missing; restore it"):
        check(chosen)


def test_a_map_is_told_how_far_its_steps_go(teacher: Path, tmp_path: Path) -> None:
    """One call and eight begin with the same picture at the same level, and answer differently."""
    finish(make(teacher, "map", steps=2), tmp_path / "student")
    model = mezzotint.load(tmp_path / "student")
    spans: list[float] = []
    model.net.register_forward_pre_hook(
        lambda net, inputs, named: spans.append(round(float(named["span"][0]))), with_kwargs=True
    )
    for calls in (1, 2):
        model.sample(2, steps=calls)
    assert spans == [1000, 500, 500]
    with pytest.raises(
        ConfigError, match="dpmpp_2m combines several predictions; use ddpm, ddpm_large, ddim, euler_a"
    ):
        model.sample(2, steps=2, sampler="dpmpp_2m")


def test_guidance_is_baked_in(teacher: Path, tmp_path: Path) -> None:
    finish(make(teacher, "map", steps=1), tmp_path / "student")
    model = mezzotint.load(tmp_path / "student")
    assert model.config.sample.guidance == 1 and model.config.teacher is not None
    assert model.config.teacher.sample.guidance == 2 and model.config.teacher.sample.guidance_interval == (
        0.5,
        4,
    )
    with pytest.raises(ConfigError, match="baked into this student"):
        model.sample(2, guidance=2)
    model.sample(2, guidance=1)
    with pytest.raises(ConfigError, match="baked into this student"):
        make(teacher, "map", "sample.guidance=2")


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (("teacher.sample.steps=6",), "power of two, not 6"),
        (("sample.spacing=karras",), "karras do not nest"),
        (("teacher.sample.sampler=ddpm",), "without fresh noise"),
        (("diffusion.process=ve", "sample.spacing=time"), "no pure noise"),
        (("train.precision=bf16",), "trained in float32"),
        (("objective=denoise",), "has no teacher"),
        (("objective=mape",), "objective"),
    ],
)
def test_what_cannot_be_is_said_before_it_begins(
    overrides: tuple[str, ...], words: str, teacher: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=words):
        finish(make(teacher, "map", *overrides), tmp_path / "student")
    assert not (tmp_path / "student").exists()


def test_other_refusals(teacher: Path, tmp_path: Path) -> None:
    finish(make(teacher, "map", steps=1), tmp_path / "student")
    with pytest.raises(ConfigError, match="a student itself"):
        make(tmp_path / "student", "map")
    with pytest.raises(ConfigError, match="mezzotint distil RUN"):
        config.load("digits", ["objective=map"])
    with pytest.raises(ConfigError, match="process=flow"):
        config.load("digits", ["objective=meanflow", "diffusion.process=vp"])
    with pytest.raises(ConfigError, match="exact at clean"):
        config.load("digits", ["objective=consistency", "diffusion.parameterization=x0"])
    moved = tmp_path / "moved"
    shutil.copytree(teacher, moved)
    chosen = make(moved, "map")
    shutil.copy(tmp_path / "student" / "model.safetensors", moved / "model.safetensors")
    with pytest.raises(ModelError, match="is not the teacher that this student was trained with"):
        check(chosen)


def test_a_wider_student_learns_from_random_weights(teacher: Path, tmp_path: Path) -> None:
    finish(make(teacher, "map", "network.width=16", steps=2), tmp_path / "student")
    assert mezzotint.load(tmp_path / "student").sample(2).values.shape == (2, 1, 8, 8)


@pytest.mark.parametrize("words", [True, False])
def test_the_belief_that_is_learned_is_guided_and_clipped(words: bool, tmp_path: Path) -> None:
    """none + g (asked - none), of classes and of texts, kept in the range of pictures."""
    facts = (
        Facts((3, 32, 32), (), "pictures", (), tuple(vocabulary()), LENGTH)
        if words
        else Facts((3, 32, 32), CLASSES)
    )
    unet = {"kind": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "patch": 4, "attention": [4, 8]}
    settings = {"sampler": "heun", "steps": 3, "guidance": 3.0}
    write_run(tmp_path / "teacher", facts, network=unet, diffusion=FLOW, sample=settings)
    chosen = student(tmp_path / "teacher", "map", 1, [])
    teacher = open_teacher(chosen, torch.device("cpu"))
    assert teacher is not None
    asked = {"prompt": "a small red circle"} if words else {"label": "cat"}
    cond, none = teacher.request(2, **asked).cond, nothing(teacher.classes, teacher.language).expand(2)
    x, levels = 3 * torch.randn(2, 3, 32, 32), torch.tensor([0.0, 1.0], dtype=torch.float64)
    with torch.no_grad():
        own, other = teacher.denoiser(x, levels, cond), teacher.denoiser(x, levels, none)
    said = belief(teacher, chosen)(x, levels, cond)
    torch.testing.assert_close(said, (other + 3 * (own - other)).clamp(-1, 1), atol=1e-4, rtol=0)
    assert (said - own.clamp(-1, 1)).abs().max() > 1e-3 and (said.abs() == 1).any()


def test_a_model_of_words_is_distilled_asked_and_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From captioned scenes to one call a picture, whose prompt is heard, from Python and over HTTP."""
    monkeypatch.setattr("mezzotint.data.drawn.MAX_HELD_OUT", 8)
    tiny = {"kind": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "patch": 4, "attention": [8]}
    tree = {**TEACHER, "data": {"name": "scenes"}, "network": tiny}
    finish(config.parse({**tree, "train": {**TEACHER["train"], "batch_size": 4}}), tmp_path / "teacher")
    finish(make(tmp_path / "teacher", "map", steps=2), tmp_path / "student")
    shutil.rmtree(tmp_path / "teacher")
    model = mezzotint.load(tmp_path / "student", device="cpu")
    with torch.no_grad():  # two steps do not teach words
        for weight in model.net.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0)))
    one, other = (model.sample(2, prompt=text, steps=1) for text in ("a small red circle", "a blue square"))
    assert one.values.shape == (2, 3, 32, 32) and not torch.equal(one.values, other.values)
    with pytest.raises(ConfigError, match="baked into this student"):
        model.sample(2, prompt="a red circle", guidance=2)
    settings = Settings(log=tmp_path / "log.jsonl")
    app = create_app(settings, Service({"student": model}, settings))
    with TestClient(app, base_url="http://localhost") as client:
        body = {"prompt": "a small red circle", "n": 2, "steps": 1, "seed": 0}
        answer = client.post("/v1/generate", json=body)
        assert answer.status_code == 200 and answer.content == encode(one, "png")
        assert client.post("/v1/generate", json={"prompt": "a red circle", "guidance": 2}).status_code == 422
