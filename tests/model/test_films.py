"""Models of clips: films that play, and clips that are gone on with."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint import config, plots
from mezzotint.data import bouncing, given
from mezzotint.errors import ConfigError, DataError
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.run.fit import fit

TINY = {
    "data": {"name": "bouncing"},
    "network": {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "patch": 4, "attention": []},
    "train": {"steps": 2, "batch_size": 2, "precision": "fp32", "optimizer": "muon"},
    "sample": {"steps": 2, "guidance": 1.0},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    run = tmp_path_factory.mktemp("clips") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mezzotint.data.drawn.MAX_HELD_OUT", 64)  # frames
        for _ in fit(config.parse(TINY), run):
            pass
    assert next((run / "samples").glob("*.png"))
    return load(run)


def test_films_play(model: Model, tmp_path: Path) -> None:
    samples = model.sample(3, label="all")
    assert samples.values.shape == (3, 1, 16, 32, 32) and samples.values.dtype == torch.uint8
    samples.alone(1).save(tmp_path / "one.png")
    with Image.open(tmp_path / "one.png") as film:
        assert film.n_frames == 16 and film.size == (32, 32)
        for k in range(16):  # lossless, and none merged with its neighbour
            film.seek(k)
            assert np.array_equal(np.asarray(film.convert("L")), samples.values[1, 0, k].numpy())
    settings = plots.read_settings(tmp_path / "one.png")
    assert settings is not None and settings["n"] == 1
    again = model.sample(1, seed=settings["seed"], label=settings["label"])
    assert again.values.equal(samples.values[1:2])
    assert len(samples.frames()) == 16 and samples.sheet().width > 16 * 32


def test_equal_frames_are_kept(tmp_path: Path) -> None:
    """Writers merge them; they come back by how long they are shown."""
    levels = [0, 0, 50, 50, 50, 90]
    frames = [Image.new("L", (8, 8), level) for level in levels]
    plots.save_png(frames[0], tmp_path / "slow.png", {}, frames[1:])
    plots.gif(frames, tmp_path / "slow.gif", hold=plots.MS_A_FRAME)
    for name in ("slow.png", "slow.gif"):
        found = given.clip(tmp_path / name, (1, 8, 8, 8))
        assert found.pixels[0, :6, 0, 0].tolist() == levels and found.holes is not None
        assert found.holes[:, 0, 0].tolist() == [False] * 6 + [True] * 2


def test_a_clip_is_gone_on_with(model: Model, tmp_path: Path) -> None:
    whole = bouncing.clip(9, 0, bouncing.bundled()).pixels
    begun = [Image.fromarray(frame) for frame in whole[0, :4]]
    plots.save_png(begun[0], tmp_path / "begun.png", {}, begun[1:])
    for source in (tmp_path / "begun.png", whole[0, :4], whole[:, :4]):
        made = model.edit(source, n=2, returns=1)
        assert np.array_equal(made.values[:, :, :4].numpy(), np.stack([whole[:, :4]] * 2))
        assert not made.values[0, :, 4:].equal(made.values[1, :, 4:])
    first = model.edit(begun[0], n=1)
    assert np.array_equal(first.values[0, :, 0].numpy(), whole[:, 0])  # a picture is the first frame
    other = model.edit(whole[0], n=1, strength=0.0)
    assert np.array_equal(other.values[0].numpy(), whole)  # all frames, unchanged


def test_what_clips_cannot_do_is_said(model: Model) -> None:
    whole = bouncing.clip(9, 0, bouncing.bundled()).pixels
    with pytest.raises(ConfigError, match="a mask needs a model of pictures"):
        model.edit(whole[0, :4], mask=np.ones((32, 32), bool))
    with pytest.raises(ConfigError, match="enlarge needs a model of pictures"):
        model.enlarge(whole[0, 0])
    with pytest.raises(DataError, match=r"array of shape \(32,\)"):
        model.edit(whole[0, 0, 0])
    longer = given.clip(np.concatenate([whole[0], whole[0]]), (1, 16, 32, 32))
    assert longer.holes is None and "the first 16 are taken" in longer.note


def test_a_video_is_gone_on_with(model: Model, tmp_path: Path) -> None:
    pytest.importorskip("imageio_ffmpeg")
    whole = bouncing.clip(9, 0, bouncing.bundled()).pixels[0]
    plots.mp4([Image.fromarray(frame) for frame in whole[:5]], tmp_path / "begun.mp4")
    found = given.clip(tmp_path / "begun.mp4", (1, 16, 32, 32))
    assert found.holes is not None and found.holes[:, 0, 0].tolist() == [False] * 5 + [True] * 11
    assert np.abs(found.pixels[0, :5].int().numpy() - whole[:5]).mean() < 3
    with pytest.raises(DataError, match="not a PNG"):  # what somebody sends is not given to ffmpeg
        given.clip((tmp_path / "begun.mp4").read_bytes(), (1, 16, 32, 32))
