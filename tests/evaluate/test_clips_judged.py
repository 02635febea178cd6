"""Clips of bouncing digits, judged: real ones are what they should be, and what is wrong with others is told."""

import torch

from mezzotint.data import bouncing
from mezzotint.evaluate.clips import centred, judge_clips, real_clips, table
from mezzotint.evaluate.judges.features import Extractor, Features


def by_mass(pictures: torch.Tensor) -> Features:
    """A judge that takes bright pictures for class 1."""
    mass = pictures.double().mean((1, 2, 3))
    return Features(torch.stack([mass, mass**2], 1).float(), torch.stack([20 - mass, mass - 20], 1).float())


JUDGE = Extractor("mass", "0", "none", 2, True, by_mass)


def test_ink_comes_to_the_middle() -> None:
    clips, _ = real_clips(bouncing.bundled(), 3, 4)
    moved = centred(clips[:, :, 0])
    for one in moved:
        for axis in (1, 0):
            at = (one[0] >= bouncing.INK).any(axis).nonzero()[:, 0]
            assert abs(int(at[0] + at[-1]) - (bouncing.SIDE - 1)) <= 1
    assert moved.double().sum().equal(clips[:, :, 0].double().sum())
    assert centred(torch.zeros(1, 1, 8, 8, dtype=torch.uint8)).sum() == 0


def test_what_is_wrong_is_told() -> None:
    clips, _ = real_clips(bouncing.bundled(), 3, 12)
    clips = clips // 8 * 4  # dim: class 0 to this judge
    real, asked = real_clips(bouncing.bundled(), 4, 12)[0] // 8 * 4, torch.zeros(12, dtype=torch.int64)
    right = judge_clips("right", clips, asked, JUDGE, real)
    assert right.one_class.value == 1 == right.asked.value if right.asked else False
    assert right.straight.value == 1 and right.pixels < 0.5
    wrong = clips.clone()
    wrong[:3, :, 5] = 200  # one frame of three clips turns bright
    wrong[3:5] = wrong[3:5, :, torch.arange(16).roll(7).flip(0).reshape(4, 4).T.flatten()]
    found = judge_clips("wrong", wrong, asked + 1, JUDGE, real)
    assert found.one_class.value == 9 / 12 and found.asked is not None and found.asked.value == 0
    assert found.straight.value <= 7 / 12
    assert found.frames > right.frames and found.changes > right.changes
    assert "right" in table([right, found])[1]
