"""Pictures of everything, and what `info` and `list` say."""

import contextlib
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from helpers_workshop import Call
from PIL import Image

from mezzotint.disk.names import bundled


def shown(mezzotint: Call, *words: object) -> tuple[Image.Image, dict[str, object], str]:
    """The picture that `show ...` writes under its own name, its settings, and what was printed."""
    answer = mezzotint("show", *words)
    assert (answer.code, answer.err) == (0, ""), answer.err
    path = answer.out.splitlines()[-1]
    with Image.open(path) as image:
        image.load()
    return image, json.loads(mezzotint("info", path).out), answer.out


def test_data_are_what_the_network_sees(mezzotint: Call, desk: Path) -> None:
    image, settings, said = shown(mezzotint, "data", "digits", "-n", 4, "-o", "four.png")
    assert image.size == (2 * 66 + 2, 2 * 66 + 2) and settings == {"data": "digits"}
    assert "digits: 1,707 to train on, 90 held out; 1x8x8" in said
    assert "values -1.000 to 1.000" in said
    _, _, said = shown(mezzotint, "data", "folder", "--data", "few", "data.size=16")
    assert "folder: 6 to train on, 0 held out; 3x16x16" in said and "few/bad.png: not a PNG" in said
    assert Path("folder-data.png").is_file()
    _, _, said = shown(mezzotint, "data", "moons")
    assert "moons: unlimited; 2" in said and Path("moons-data.png").is_file()


def test_forward_goes_from_picture_to_noise(mezzotint: Call, desk: Path) -> None:
    image, settings, _ = shown(mezzotint, "forward", "digits", "-n", 3, "--times", "0,1", "--seed", 4)
    assert settings == {"data": "digits", "times": [0, 1], "seed": 4}
    clean, noisy = np.asarray(image)[-66:-2, :66], np.asarray(image)[-66:-2, 66:]
    assert (clean == 0).mean() > 0.2 > (noisy == 0).mean(), "digits lie on black"
    assert shown(mezzotint, "forward", "moons")[1]["times"] == [0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1]


def test_schedule_of_one_and_of_all(mezzotint: Call, desk: Path) -> None:
    _, settings, said = shown(mezzotint, "schedule")
    assert settings["schedules"] == [
        "linear",
        "scaled_linear",
        "quadratic",
        "sigmoid_beta",
        "cosine",
        "sigmoid",
    ]
    assert "linear: at the end logsnr -10.12, alpha 0.0064" in said, "of Ho et al. 2020"
    signal = np.prod(1 - np.linspace(1e-4, 0.02, 300)) ** 0.5
    chosen = ("diffusion.process=vp", "diffusion.schedule.kind=linear", "diffusion.schedule.timesteps=300")
    _, settings, said = shown(mezzotint, "schedule", "digits", *chosen)
    assert settings == {"schedules": ["linear"]} and f"alpha {signal:.2g}" in said


@pytest.mark.parametrize("run", ["digits", "moons", "plain"])
def test_reverse_shows_the_way_from_noise(mezzotint: Call, desk: Path, run: str) -> None:
    image, settings, _ = shown(mezzotint, "reverse", run, "-n", 2, "--steps", 3)
    assert settings["steps"] == 3 and Path(f"{run}-reverse.png").is_file()
    assert settings["label"] == (None if run == "plain" else "all")
    if run != "moons":
        assert image.size == (3 * 66 + 2, 4 * 66 + 2 + 20), "a state and a belief of each"


def test_loss_of_a_run(mezzotint: Call, desk: Path) -> None:
    for name in ("moons", "runs/moons", "latest"):
        _, settings, _ = shown(mezzotint, "loss", name)
        assert settings == {"run": "moons"} and Path("moons-loss.png").is_file()


def test_info_of_a_model(mezzotint: Call, desk: Path) -> None:
    for name in ("digits", "whole.safetensors", "runs/digits/model.safetensors"):
        answer = mezzotint("info", name)
        assert answer.code == 0
        facts, config = answer.out.split("\n\n", 1)
        assert "weights   ema 0.1 at step 20" in facts and "makes     pictures 1x8x8" in facts
        assert "classes   0, 1, 2, 3, 4, 5, 6, 7, 8, 9" in facts
        assert yaml.safe_load(config)["network"]["width"] == 8
    assert "makes     points 2\nclasses   upper, lower" in mezzotint("info", "moons").out


def test_lists(mezzotint: Call, desk: Path, tmp_path: Path) -> None:
    def rows(*words: object) -> dict[str, str]:
        answer = mezzotint("list", *words)
        assert (answer.code, answer.err) == (0, "")
        table = answer.out.split("\n\n")[0]
        return dict(line.split(maxsplit=1) for line in table.splitlines()[1:])

    models = rows("models")
    assert models["digits"].split() == ["run", "digits", "1x8x8", "10", "20"]
    assert models["plain"].split() == ["run", "digits", "1x8x8", "0", "20"]
    (tmp_path / "broken" / "x").mkdir(parents=True)
    (tmp_path / "broken" / "x" / "model.safetensors").write_bytes(b"rubbish")
    assert rows("models", "--out", "broken")["x"].split()[:2] == ["run", "damaged"]
    (tmp_path / "new").mkdir()
    with contextlib.chdir("new"):  # where nothing was trained yet
        assert set(rows("models")) == set(bundled())
    assert "Karras et al. 2022" in rows("samplers")["heun"]
    hidden = rows("samplers", "--all").keys() - rows("samplers").keys()
    assert {"euler", "dpm2"} <= hidden, "which the help of `sample` names"
    hint = f"\n\n{len(hidden)} rarer ones, such as euler and dpm2: mezzotint list samplers --all\n"
    assert mezzotint("list", "samplers").out.endswith(hint)
    assert "rarer" not in mezzotint("list", "samplers", "--all").out + mezzotint("list", "recipes").out
    assert "hub ylecun/mnist" in rows("datasets")["mnist"] and "moons" in rows("datasets")
    assert rows("recipes")["digits"].startswith("Handwritten digits, 8x8")
    assert rows("recipes")["moons"]
