"""Guidance by a weak model: the formula, by hand; what it leaves alone; and what is refused."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_small import FLOW, UNET, trained, write_run
from helpers_workshop import leave
from PIL import Image

from mezzotint.cond import Cond
from mezzotint.diffusion.guidance import Guidance
from mezzotint.errors import ConfigError, ModelError
from mezzotint.media.facts import Facts
from mezzotint.model.again import command
from mezzotint.model.loading import load
from mezzotint.plots import read_settings
from mezzotint.run.teacher import belief, open_teacher, student


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    trained(tmp_path / "runs" / "trained")
    return tmp_path / "runs" / "trained"


def test_away_from_what_the_weak_one_says(run: Path) -> None:
    strong, weak = load(run), load(run, weights="0.1@10")
    assert weak.header.step == 10 and weak.header.weights == "ema 0.1 of snapshots@10"
    x, level = torch.randn(3, 1, 8, 8), torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)
    cond, scale = Cond(label=torch.tensor([0, 1, 2])), torch.tensor([2.5, 1.0, 3.0], dtype=torch.float64)
    one, other = strong.denoiser(x, level, cond), weak.denoiser(x, level, cond)
    assert (one - other).abs().max() > 1e-3
    wanted = other + scale.float()[:, None, None, None] * (one - other)
    found = strong.by_weak(weak).guided(x, level, cond, Guidance(scale))  # type: ignore[call-arg]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


def test_off_at_one_and_by_itself(run: Path) -> None:
    strong = load(run)
    plain, ones = strong.sample(4, seed=3, guidance=1), {"seed": 3, "label": None}
    assert (
        strong.by_weak(load(run, weights="0.1@10")).sample(4, guidance=1, **ones).values.equal(plain.values)
    )
    itself = strong.by_weak(load(run)).sample(4, guidance=7, **ones).values.int()
    assert (itself - plain.values.int()).abs().max() <= 1
    assert strong.weak is None and not strong.sample(1).settings.get("weak")  # the model is as it was


def test_a_model_that_nothing_is_asked_of(tmp_path: Path) -> None:
    write_run(tmp_path / "plain", Facts((1, 8, 8)), network=UNET, diffusion=FLOW)
    strong, weak = load(tmp_path / "plain"), load(tmp_path / "plain")
    with torch.no_grad():
        for weight in weak.net.parameters():
            weight.mul_(0.7)
    with pytest.raises(ConfigError, match="guidance needs classes or captions"):
        strong.sample(2, guidance=3)
    guided = strong.by_weak(weak)
    far, near = (guided.sample(2, guidance=g).values.int() for g in (3, 1))
    assert (far - near).abs().max() > 2
    alone, many = guided.sample(1, guidance=3, seed=1), guided.sample(5, guidance=3, seed=0)
    assert (alone.values[0].int() - many.values[1].int()).abs().max() <= 1


def test_a_picture_made_again(run: Path) -> None:
    assert leave("sample", "trained", "-n", 2, "--weak", 10, "--guidance", 3, "-o", "a.png") == 0
    settings = read_settings("a.png")
    assert settings is not None
    assert settings["weak"] == {"model": "trained", "step": 10, "weights": "ema 0.1 of snapshots@10"}
    again = command(settings)
    assert again is not None and "--weak 10" in again
    assert leave(*shlex.split(again)[1:], "-o", "b.png") == 0
    pixels = [np.asarray(Image.open(name)) for name in ("a.png", "b.png")]
    assert np.array_equal(*pixels)
    guided = load(run).by_weak(load(run, weights="0.1@10"))
    assert np.array_equal(np.asarray(guided.sample(**settings).picture()), pixels[0])
    with pytest.raises(
        ConfigError, match=r"made with the weak model trained, ema 0\.1 of snapshots@10, step 10; load"
    ):
        load(run).sample(**settings)


def test_another_model_by_its_name(run: Path, tmp_path: Path) -> None:
    load(run, weights="0.1@10").save(tmp_path / "weak.safetensors")
    for weak, name in (("weak.safetensors", "a.png"), (10, "b.png")):
        assert leave("sample", "trained", "-n", 2, "--weak", weak, "--guidance", 3, "-o", name) == 0
    assert np.array_equal(*(np.asarray(Image.open(name)) for name in ("a.png", "b.png")))


def test_what_is_refused(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_run(tmp_path / "large", Facts((1, 12, 12), ("a", "b")), network=UNET)
    write_run(tmp_path / "names", Facts((1, 8, 8), ("a", "c")), network=UNET, diffusion=FLOW)
    strong = load(run)
    for name, what in (("large", "their shapes differ"), ("names", "classes, the process differ")):
        with pytest.raises(ConfigError, match=what):
            strong.by_weak(load(tmp_path / name))
    with pytest.raises(ConfigError, match="mnist_fast is a student, whose guidance is fixed"):
        load("mnist").by_weak(load("mnist_fast"))
    with pytest.raises(ConfigError, match="takes no negative prompt and no rescale; leave negative"):
        strong.by_weak(strong).sample(1, guidance_rescale=0.5)
    with pytest.raises(
        ConfigError, match="weak: the picture was made with the weak model 800; load the model so"
    ):
        strong.sample(1, weak=800)
    with pytest.raises(ConfigError, match="by a CLIP or by a weak model, not by both"):
        write_run(tmp_path / "colour", Facts((3, 8, 8)), network=UNET)
        colour = load(tmp_path / "colour")
        colour.by_weak(colour).by_clip(tmp_path)
    with pytest.raises(ModelError, match=r"has no snapshot of step 15; it has 10, 20"):
        load(run, weights="0.1@15")
    with pytest.raises(ConfigError, match=r"or such a length at a step, 0\.07@800, not '0\.1@x'"):
        load(run, weights="0.1@x")
    assert leave("sample", tmp_path / "large", "--weak", 10) == 2
    assert "keeps no EMA of its early steps" in capfd.readouterr().err


def test_a_student_has_it_baked_in(run: Path) -> None:
    """What a student learns from is what the guided teacher says, which has to lie where it lay."""
    config = student(
        run, "map", 1, ["teacher.sample.guidance=3", "data.name=digits"], weak=(str(run), "0.1@10")
    )
    teacher = open_teacher(config, torch.device("cpu"))
    assert teacher is not None
    x, level, cond = (
        torch.randn(2, 1, 8, 8),
        torch.zeros(2, dtype=torch.float64),
        Cond(label=torch.tensor([0, 1])),
    )
    guided = load(run).by_weak(load(run, weights="0.1@10")).guided
    wanted = guided(x, level, cond, Guidance(torch.full((2,), 3.0, dtype=torch.float64)))  # type: ignore[call-arg]
    torch.testing.assert_close(belief(teacher, config)(x, level, cond), wanted.clamp(-1, 1))
    assert config.teacher is not None and config.teacher.weak is not None
    first, later = (run / "ema" / f"step-00000{step}.safetensors" for step in (10, 20))
    later.unlink()  # the run may go on, or lose what came later
    (run / "other").mkdir()
    trained(run / "other" / "run")
    first.write_bytes((run / "other" / "run" / "ema" / later.name).read_bytes())
    with pytest.raises(
        ModelError, match=r"\(0\.1@10\) is not the weak model that this student was trained with"
    ):
        open_teacher(config, torch.device("cpu"))
    first.unlink()
    with pytest.raises(ModelError, match="has no snapshot of step 10"):
        open_teacher(config, torch.device("cpu"))
