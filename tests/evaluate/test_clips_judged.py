"""Clips of bouncing digits, judged: real ones are what they should be, and what is wrong with others is told."""

from pathlib import Path

import torch
from helpers_small import FLOW, UNET, write_run

from mezzotint.data import bouncing
from mezzotint.evaluate.clips import centred, judge_clips, real_clips, table
from mezzotint.evaluate.continuation import evaluate_continuation, judge_continuation, lines
from mezzotint.evaluate.judges.features import Extractor, Features
from mezzotint.evaluate.metrics.motion import travel
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load


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
    assert right.straight.value == 1 and right.pixels.value < 0.5
    still = judge_clips("still", clips[:, :, :1].expand(-1, -1, 16, -1, -1), asked, JUDGE, real)
    assert still.straight.value == 1 and still.travel.value == 0 < 2 < right.travel.value
    wrong = clips.clone()
    wrong[:3, :, 5] = 200  # one frame of three clips turns bright
    wrong[3:5] = wrong[3:5, :, torch.arange(16).roll(7).flip(0).reshape(4, 4).T.flatten()]
    found = judge_clips("wrong", wrong, asked + 1, JUDGE, real)
    assert found.one_class.value == 9 / 12 and found.asked is not None and found.asked.value == 0
    assert found.straight.value <= 7 / 12
    assert found.frames > right.frames and found.changes > right.changes
    assert "right" in table([right, found])[1]


def test_travel_is_measured_from_the_mean_place() -> None:
    """A dot at columns 4, 6, 8, 10 is 3, 1, 1 and 3 pixels from its mean place, whether or not a frame is empty at the end."""
    dot = torch.zeros(2, 1, 5, 16, 16, dtype=torch.uint8)
    for frame, column in enumerate((4, 6, 8, 10)):
        dot[0, 0, frame, 5, column] = 255
    assert travel(dot).tolist() == [5**0.5, 0]


def test_how_a_clip_goes_on_is_held_against_how_it_went() -> None:
    """Moved by (1, 2) pixels from the fifth frame on, the error is the square root of 5; after the eighth nobody looks."""
    real, _ = real_clips(bouncing.bundled(), 5, 40)
    roomy = torch.nn.functional.pad(real, (4, 4, 4, 4))
    assert judge_continuation(roomy, roomy).pixels == (0, 0, 0)
    moved = roomy.clone()
    moved[:, :, 4:] = roomy[:, :, 4:].roll((1, 2), (3, 4))
    moved[:, :, 8:] = 0
    found = judge_continuation(moved, roomy)
    assert abs(found.pixels.value - 5**0.5) < 1e-9 and found.close.value == 0 and found.kept.value == 1
    assert "2.24 px" in lines("a", found)[0]
    moved[:4, :, 6] = 0  # an empty frame is nowhere
    moved[4, :, 2, 0, 0] = 1
    found = judge_continuation(moved, roomy)
    assert found.pixels.high < 3 and found.kept.value == 39 / 40


def test_who_knows_less_goes_on_worse() -> None:
    """Without walls straight on is exact but for rounding; standing still is off by the way that is left out."""
    path = torch.arange(8.0)[:, None] * torch.tensor([0.5, 1.5]) + 2
    drawn = [bouncing.draw(bouncing.bundled().pixels[0], at.numpy()) for at in path]
    real = torch.stack([torch.from_numpy(one) for one in drawn])[None, None]
    found = judge_continuation(real, real)
    assert found.straight < 0.1
    assert (
        abs(found.still - (30 / 4 * 2.5) ** 0.5) < 0.1
    )  # steps of length sqrt(2.5); the mean of 1, 4, 9, 16 is 30 / 4


def test_continuations_are_those_of_edits(tmp_path: Path) -> None:
    """Although they share network calls, and known frames are kept to the bit."""
    config = {"data": {"name": "bouncing"}, "sample": {"steps": 2}, "network": {**UNET, "patch": 8}}
    write_run(tmp_path / "run", Facts((1, bouncing.FRAMES, 32, 32)), diffusion=FLOW, **config)
    model, (real, _) = load(tmp_path / "run", device="cpu"), real_clips(bouncing.bundled(), 3, 3)
    found = evaluate_continuation(model, real, seed=5)
    made = torch.cat([model.edit(clip[:, :4], seed=5 + i).values for i, clip in enumerate(real)])
    alone = judge_continuation(made, real)
    assert found.kept.value == 1 and abs(found.pixels.value - alone.pixels.value) < 0.05
