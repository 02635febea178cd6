"""Clips of bouncing digits: where the digit is at every time is known, and clips are functions of (seed, i) alone."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mezzotint import config
from mezzotint.data import bouncing
from mezzotint.data.open import fingerprint, open_source
from mezzotint.errors import ConfigError
from mezzotint.evaluate.metrics.motion import centres, differences, straightness

CPU = torch.device("cpu")
SQUARE = bouncing.Glyphs((np.full((6, 4), 200, np.float32),), np.array([0]), ("square",))


def clips(n: int, glyphs: bouncing.Glyphs, seed: int = 0) -> tuple[torch.Tensor, list[bouncing.Clip]]:
    made = [bouncing.clip(seed, i, glyphs) for i in range(n)]
    return torch.from_numpy(np.stack([one.pixels for one in made])), made


def test_walls_mirror() -> None:
    x = np.array([-1.0, 0.0, 3.0, 10.0, 11.0, 20.0, 23.0, -13.0])
    assert bouncing.reflected(x, np.array(10.0)).tolist() == [1, 0, 3, 10, 9, 0, 3, 7]
    assert bouncing.reflected(x, np.array(0.0)).tolist() == [0] * 8


def test_a_glyph_between_pixels_keeps_its_centre() -> None:
    for at in ((3.0, 5.0), (3.25, 5.5), (26.0, 28.0), (0.0, 27.9)):
        (middle,) = centres(
            torch.from_numpy(bouncing.draw(SQUARE.pixels[0], np.array(at)))[None, None, None]
        )[0]
        np.testing.assert_allclose(middle[0], np.add(at, (2.5, 1.5)), atol=0.02)


def test_clips_are_functions_of_seed_and_number() -> None:
    pixels, made = clips(6, bouncing.bundled())
    again = bouncing.clip(0, 4, bouncing.bundled())
    assert np.array_equal(again.pixels, made[4].pixels) and again.label == made[4].label
    assert not np.array_equal(bouncing.clip(1, 4, bouncing.bundled()).pixels, made[4].pixels)
    assert pixels.shape == (6, 1, bouncing.FRAMES, 32, 32) and pixels.amax() > 150
    steps = np.abs(np.diff(np.stack([one.path for one in made]), axis=1))
    assert steps.max() <= bouncing.FAST + 1e-9
    for one in made:  # nothing is cut off at the walls
        assert (
            abs(
                one.pixels.astype(float).sum((0, 2, 3)).ptp()
                if hasattr(np.ndarray, "ptp")
                else np.ptp(one.pixels.astype(float).sum((0, 2, 3)))
            )
            < 400
        )


def test_the_metric_of_motion_knows_straight_from_crooked() -> None:
    """Real clips are under half a pixel; in another order of frames they are not; a jump of two pixels is told as such."""
    pixels, _ = clips(24, bouncing.bundled())
    real = straightness(pixels)
    assert real.max() < 0.5
    order = torch.randperm(bouncing.FRAMES, generator=torch.Generator().manual_seed(0))
    assert (straightness(pixels[:, :, order]) > 1.0).all()
    jumped = pixels[:6].clone()
    jumped[:, :, 1::2] = jumped[:, :, 1::2].roll(2, -1)  # every second frame two pixels to the right
    assert (straightness(jumped) > real[:6] + 0.3).all()
    empty = pixels[:1].clone()
    empty[:, :, 3] = 0
    assert straightness(empty).isinf().all()


def test_differences_of_frames() -> None:
    still = torch.full((2, 1, 4, 5, 5), 77, dtype=torch.uint8)
    assert differences(still).shape == (6, 1, 5, 5) and (differences(still) == 128).all()


def test_as_a_source(tmp_path: Path) -> None:
    source = open_source(config.parse({"data": {"name": "bouncing"}}).data, CPU)
    assert str(source.facts) == "clips 1x16x32x32" and source.facts.classes == tuple("0123456789")
    first = next(source.batches(0, 4, 3))
    whole = next(source.batches(0, 4, 3, 1, 2))
    assert first.x0.shape == (4, 1, 16, 32, 32) and first.x0[1::2].equal(whole.x0)
    assert first.cond.label is not None and first.cond.label.shape == (4,)
    assert fingerprint(source) != fingerprint(
        open_source(config.parse({"data": {"name": "scenes"}}).data, CPU)
    )
    with pytest.raises(ConfigError, match=r"data\.flip is for pictures on a disk"):
        open_source(config.parse({"data": {"name": "bouncing", "flip": True}}).data, CPU)
