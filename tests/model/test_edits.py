"""Edits of a model: what is known stays to the bit, the ends are plain samples, and errors say what to do instead."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_small import CLASSES, FLOW, UNET, write_run
from PIL import Image

from mezzotint.errors import ConfigError, DataError, ModelError
from mezzotint.media.facts import Facts
from mezzotint.model.inverted import Inverted
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.plots import read_settings

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (8, 8), dtype=np.uint8)
RGB = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
MASK = np.zeros((8, 8), np.uint8)
MASK[:, 4:] = 255


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    write_run(runs / "grey", Facts((1, 8, 8), CLASSES), network=UNET)
    write_run(runs / "rgb", Facts((3, 8, 8)), network=UNET, diffusion=FLOW)
    write_run(runs / "dots", Facts((2,), ("a", "b")), network={"kind": "mlp", "width": 8}, diffusion=FLOW)
    return runs


@pytest.fixture(scope="module")
def grey(runs: Path) -> Model:
    return load(runs / "grey")


@pytest.fixture(scope="module")
def rgb(runs: Path) -> Model:
    return load(runs / "rgb")


def test_strength_0_is_the_picture_and_1_a_plain_sample_to_the_bit(grey: Model, rgb: Model) -> None:
    assert grey.edit(GREY, strength=0, n=3).values.equal(torch.from_numpy(GREY).expand(3, 1, 8, 8))
    assert rgb.vary(RGB, strength=0).values.equal(torch.from_numpy(RGB).permute(2, 0, 1)[None])
    edited = grey.edit(GREY, strength=1, n=4, label="cat", seed=7, guidance=2)
    assert edited.values.equal(grey.sample(4, label="cat", seed=7, guidance=2).values)
    near, far = (grey.edit(GREY, strength=s, label="cat", steps=20).values for s in (0.5, 0.501))
    assert not near.equal(far)


@pytest.mark.parametrize(
    "more", [{}, {"guidance": 3.0, "label": "cat"}, {"sampler": "ddpm"}, {"clip": False}, {"strength": 0.4}]
)
def test_a_masked_edit_keeps_what_is_not_white_to_the_bit(grey: Model, more: dict[str, Any]) -> None:
    for returns in (None, 1, 3):
        made = grey.edit(GREY, MASK, n=5, returns=returns, **more).values
        assert made[..., :4].equal(torch.from_numpy(GREY[:, :4]).expand(5, 1, 8, 4))
        assert made[..., 4:].float().std(0).mean() > 1
    holes = np.dstack([GREY] * 3 + [255 - MASK])
    if "strength" in more:
        with pytest.raises(ConfigError, match="strength has no effect in transparent parts"):
            grey.edit(holes, **more)
    else:
        assert grey.edit(holes, n=2, **more).values.equal(grey.edit(GREY, MASK, n=2, **more).values)


def test_edits_do_not_depend_on_the_batch(grey: Model) -> None:
    requests = [
        grey.edits.edit(GREY, MASK, n=7, label="all", seed=3, guidance=2),
        grey.edits.enlarge(GREY[:4, :4], 2, n=7),
        grey.edits.morph(3, 9, 7),
        grey.edits.morph(3, 9, 7, label=["cat", "0"]),
    ]
    for request in requests:
        whole, parts = grey.answer(request), grey.answer(request, batch=3)
        assert (whole.values.int() - parts.values.int()).abs().max() <= 1
    with pytest.raises(ConfigError, match="batch must be at least 1"):
        grey.answer(requests[0], batch=0)


def test_every_task_is_a_stream_whose_last_belief_is_the_result(grey: Model, rgb: Model) -> None:
    for model, request in (
        (grey, grey.edits.edit(GREY, MASK, label="cat", returns=2)),
        (grey, grey.edits.vary(GREY, strength=0.3, n=2)),
        (grey, grey.edits.enlarge(GREY, 2)),
        (rgb, rgb.edits.colour(GREY, n=2)),
        (grey, grey.edits.morph(1, 2, 3)),
    ):
        previews = list(model.stream(request))
        assert [preview.step for preview in previews] == list(range(1, request.steps + 1))
        assert previews[-1].steps == request.steps
        finished = model.finish(request, previews[-1].belief)
        assert finished.values.equal(model.answer(request).values)
    with pytest.raises(ConfigError, match="a request has all settings"):
        next(grey.stream(grey.edits.vary(GREY), seed=3))


def test_enlarged_and_coloured_pictures_are_of_the_picture(grey: Model, rgb: Model) -> None:
    large = grey.enlarge(GREY[:4, :4], 2, n=3).values.float()
    means = large.unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2)).mean((-3, -1))
    assert means.equal(torch.from_numpy(GREY[:4, :4]).float().expand(3, 1, 4, 4))
    assert grey.enlarge(GREY, 4).settings["factor"] == 4
    coloured = rgb.colour(GREY, n=3).values
    for picture in coloured:
        luma = np.asarray(Image.fromarray(picture.permute(1, 2, 0).numpy()).convert("L")).astype(int)
        assert abs(luma - GREY).max() <= 1
    assert coloured.float().std(1).mean() > 1  # in colours


def test_a_morph_runs_from_one_seeds_sample_to_the_others(grey: Model) -> None:
    for label in (None, "cat", ["cat", "0"]):
        made = grey.morph(2, 11, 6, label=label, guidance=2).values.int()
        ends = label if isinstance(label, list) else [label] * 2
        for row, seed, end in ((0, 2, ends[0]), (-1, 11, ends[1])):
            plain = grey.sample(1, seed=seed, label=end, guidance=2).values[0].int()
            assert (made[row] - plain).abs().max() <= 1
    with pytest.raises(ConfigError, match="n must be at least 2"):
        grey.morph(1, 2, 1)
    with pytest.raises(ConfigError, match="a morph has two ends: give one class, or two, not 3"):
        grey.morph(1, 2, 5, label=["cat", "0", "1"])


def test_points_morph_too(runs: Path) -> None:
    points = load(runs / "dots")
    assert points.morph(1, 2, 5).values.shape == (5, 2)
    for call in (lambda: points.edit(GREY), lambda: points.enlarge(GREY), lambda: points.invert(GREY)):
        with pytest.raises(ConfigError, match="needs a model of pictures; this one makes points 2"):
            call()


def test_inverted_is_a_start_with_its_settings(grey: Model, tmp_path: Path) -> None:
    found = grey.invert(GREY, label="cat", steps=20, rounds=30)
    assert found.noise.shape == (1, 1, 8, 8) and found.residual < 0.02
    again = grey.answer(grey.edits.from_noise(found))
    assert (again.values[0].int() - torch.from_numpy(GREY).int()).abs().max() <= math.ceil(
        found.residual * 127.5
    )
    assert again.settings["noise"] == found.digest and again.settings["label"] == "cat"
    found.save(tmp_path / "noise.npz")
    read = Inverted.load(tmp_path / "noise.npz")
    assert read.noise.equal(found.noise) and read.settings == found.settings
    other = grey.answer(grey.edits.from_noise(tmp_path / "noise.npz", 3, label="0", guidance=2))
    assert len(other) == 3 and not other.values[0].equal(again.values[0])
    assert list(grey.stream(grey.edits.invert(GREY, steps=3, rounds=2)))[-1].step == 3


def test_what_has_no_inverse_is_refused_with_the_reason(
    grey: Model, rgb: Model, runs: Path, tmp_path: Path
) -> None:
    for more in ({"guidance": 2.0}, {"clip": True}, {"sampler": "dpmpp_2m"}, {"eta": 0.5}):
        with pytest.raises(
            ConfigError, match=f"cannot be inverted with {next(iter(more))} .* have no inverse"
        ):
            grey.invert(GREY, **more)
    with pytest.raises(ConfigError, match='in float32; load the model with precision="fp32"'):
        load(runs / "grey", precision="bf16").invert(GREY)
    found = grey.invert(GREY, steps=2, rounds=1)
    with pytest.raises(ConfigError, match="the noise is of shape 1x8x8, and this model starts from 3x8x8"):
        rgb.edits.from_noise(found)
    with pytest.raises(ModelError, match="does not exist; `mezzotint invert` makes such a file"):
        grey.edits.from_noise(tmp_path / "none.npz")
    (tmp_path / "odd.npz").write_bytes(b"PK\x03\x04odd")
    np.savez(tmp_path / "other.npz", images=GREY)
    for name in ("odd.npz", "other.npz"):
        with pytest.raises(ModelError, match="not a file of `mezzotint invert`"):
            grey.edits.from_noise(tmp_path / name)


def test_settings_tell_what_was_made_of_what(grey: Model, tmp_path: Path) -> None:
    path, mask = tmp_path / "seven.png", tmp_path / "mask.png"
    Image.fromarray(GREY).save(path)
    Image.fromarray(MASK).save(mask)
    made = grey.edit(path, mask, label="cat", seed=3)
    said = made.settings
    assert {
        "task": "edit",
        "strength": 1.0,
        "returns": 2,
        "feather": 0.0,
        "seed": 3,
        "label": "cat",
    }.items() <= said.items()
    assert len(said["picture"]) == len(said["mask"]) == 64 and said["picture"] != said["mask"]
    assert (
        said["picture"] == grey.edit(path).settings["picture"] and grey.edit(path).settings["strength"] == 0.6
    )
    made.save(tmp_path / "made.png")
    with Image.open(tmp_path / "made.png") as saved:
        assert np.asarray(saved)[:, :4].tolist() == GREY[:, :4].tolist()  # at its own size, to the bit
    assert read_settings(tmp_path / "made.png")["mask"] == said["mask"]  # type: ignore[index]
    assert grey.edit(path).settings["label"] == "none"  # no class is drawn by chance


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda m: m.edit(GREY, strength=1.5), ConfigError, "strength must be from 0 to 1, not 1.5"),
        (lambda m: m.edit(GREY, feather=3), ConfigError, "returns and feather are for a picture with a mask"),
        (lambda m: m.edit(GREY, MASK, returns=0), ConfigError, "returns must be at least 1"),
        (lambda m: m.edit(GREY, MASK, feather=-1), ConfigError, "feather must be from 0 to 1,000"),
        (lambda m: m.edit(GREY, MASK[:4]), DataError, "the mask is 8x4 and the picture 8x8"),
        (lambda m: m.edit("none.png"), DataError, "none.png cannot be read"),
        (lambda m: m.edit(GREY, n=0), ConfigError, "n must be at least 1"),
        (lambda m: m.edit(GREY, label="dog"), ConfigError, "there is no class 'dog'"),
        (
            lambda m: m.enlarge(GREY, 3),
            ConfigError,
            "factor 3 does not fit pictures of 8x8; factors that do: 2, 4, 8",
        ),
        (lambda m: m.enlarge(GREY, 1), ConfigError, "factor 1 does not fit"),
        (
            lambda m: m.colour(GREY),
            ConfigError,
            "colour needs a model of RGB pictures; this one makes grey pictures",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    grey: Model, call: Any, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        call(grey)
    assert "\n" not in str(caught.value)
