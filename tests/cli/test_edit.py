"""Editing from the command line: the files that are written, what they say of themselves, and how wrong words are answered."""

import hashlib
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from helpers_small import FLOW, UNET, write_run
from helpers_workshop import Call
from PIL import Image

from mezzotint.media.facts import Facts

GREY = np.random.default_rng(0).integers(0, 256, (8, 8), dtype=np.uint8)


@pytest.fixture
def table(desk: Path) -> Path:
    """The desk, with a picture, a mask of its right half, and one of another aspect."""
    Image.fromarray(GREY).save("seven.png")
    mask = np.zeros((8, 8), np.uint8)
    mask[:, 4:] = 255
    Image.fromarray(mask).save("half.png")
    Image.fromarray(mask[:5]).save("odd.png")
    return desk


def settings(mezzotint: Call, path: str) -> dict[str, object]:
    answer = mezzotint("info", path)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_edit_writes_a_picture_that_says_what_it_was_made_of(mezzotint: Call, table: Path) -> None:
    answer = mezzotint("edit", "digits", "seven.png", "--mask", "half.png", "--class", 7)
    assert (answer.code, answer.err) == (0, "") and answer.out.startswith(
        "seven-edit.png: 1 samples of digits"
    )
    with Image.open("seven-edit.png") as made:
        pixels = np.asarray(made)
    assert (
        pixels.shape == (8, 8)
        and (pixels[:, :4] == GREY[:, :4]).all()
        and (pixels[:, 4:] != GREY[:, 4:]).any()
    )
    said = settings(mezzotint, "seven-edit.png")
    assert said["picture"] == hashlib.sha256(Path("seven.png").read_bytes()).hexdigest()
    assert said["mask"] == hashlib.sha256(Path("half.png").read_bytes()).hexdigest()
    assert {"task": "edit", "label": "7", "strength": 1.0, "seed": 0}.items() <= said.items()


def test_every_form_that_sample_writes(mezzotint: Call, table: Path) -> None:
    made = ("edit", "digits", "seven.png", "--mask", "half.png", "-n", 3, "--seed", 5, "--steps", 3)
    assert mezzotint(*made, "-o", "many.npz").code == 0
    with np.load("many.npz", allow_pickle=False) as file:
        assert file["images"].shape == (3, 8, 8, 1) and file["seeds"].tolist() == [5, 6, 7]
        assert (file["images"][:, :, :4, 0] == GREY[:, :4]).all()
    assert mezzotint(*made, "-o", "folder").code == 0
    assert sorted(path.name for path in Path("folder").iterdir()) == [f"{seed:06d}.png" for seed in (5, 6, 7)]
    assert settings(mezzotint, "folder/000006.png")["task"] == "edit"
    assert mezzotint(*made, "-o", "way.gif").code == 0
    with Image.open("way.gif") as film:
        assert film.n_frames == 6  # three steps, each walked twice
    assert mezzotint(*made, "--batch", 2, "--trajectory", "-o", "sheet.png").code == 0
    assert len(list(Path("sheet-trajectory").iterdir())) == 6


def test_vary_and_enlarge(mezzotint: Call, table: Path) -> None:
    assert mezzotint("vary", "digits", "seven.png", "--strength", 0, "-n", 2, "-o", "v.npz").code == 0
    with np.load("v.npz") as file:
        assert (file["images"][..., 0] == GREY).all()
    answer = mezzotint("enlarge", "digits", "seven.png", "--factor", 4, "-o", "e.npz")
    assert answer.code == 0 and "the picture of 8x8 pixels is resized to 2x2" in answer.out
    with np.load("e.npz") as file:
        assert file["images"].shape == (1, 8, 8, 1)


def test_a_model_that_enlarges_alone_and_in_a_chain(mezzotint: Call, table: Path) -> None:
    tree = {"network": UNET, "diffusion": FLOW, "data": {"enlarge": 2}}
    write_run(Path("large"), Facts((1, 16, 16)), **tree)
    answer = mezzotint("enlarge", "large", "seven.png", "-n", 2, "--grain", 0.2, "-o", "e.npz")
    assert answer.code == 0, answer.err
    with np.load("e.npz") as file:
        assert file["images"].shape == (2, 16, 16, 1)
    words = ("sample", "digits", "-n", 2, "--class", 3, "--steps", 3, "--then", "large")
    assert mezzotint(*words, "-o", "chain.png").code == 0
    shown = mezzotint("info", "chain.png")
    line = next(line for line in (shown.out + shown.err).splitlines() if "--then large --grain 0.1" in line)
    again = shlex.split(line[line.index("mezzotint") :])[1:]
    assert mezzotint(*again, "-o", "again.png").code == 0
    with Image.open("chain.png") as one, Image.open("again.png") as other:
        assert one.tobytes() == other.tobytes()
    assert mezzotint(*words, "--grain", 0.3, "-o", "rough.png").code == 0
    for wrong, said in (
        (("sample", "large"), "needs one: mezzotint enlarge"),
        (("sample", "digits", "--grain", 0.1), "add --then RUN"),
        (("sample", "digits", "--then", "digits"), "for models that were trained to enlarge"),
        (("enlarge", "digits", "seven.png", "--grain", 0.1), "grain is only for models"),
        (("evaluate", "large"), "needs one"),
    ):
        answer = mezzotint(*wrong)
        assert answer.code == 2 and said in answer.err and len(answer.err.splitlines()) <= 2, answer.err


def test_morph_runs_from_seed_to_seed(mezzotint: Call, table: Path) -> None:
    assert mezzotint("morph", "digits", "3:7", "-n", 5, "--class", "4,9", "-o", "m.npz").code == 0
    assert mezzotint("sample", "digits", "-n", 1, "--seed", 7, "--class", 9, "-o", "s.npz").code == 0
    with np.load("m.npz") as morph, np.load("s.npz") as plain:
        assert abs(morph["images"][-1].astype(int) - plain["images"][0]).max() <= 1
    assert mezzotint("morph", "digits", "3:7", "-n", 5, "-o", "m.gif").code == 0
    with Image.open("m.gif") as film:
        assert film.n_frames == 5  # the way itself
    assert mezzotint("morph", "digits", "3:7", "-n", 4, "--format", "folder", "-o", "way").code == 0
    shares = [settings(mezzotint, str(path))["share"] for path in sorted(Path("way").iterdir())]
    assert shares == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_inverted_noise_is_a_start(mezzotint: Call, table: Path) -> None:
    answer = mezzotint("invert", "digits", "seven.png", "--class", 3, "--steps", 4, "--rounds", 3)
    assert answer.code == 0 and "sample it:  mezzotint sample digits --noise seven-noise.npz" in answer.out
    assert mezzotint("sample", "digits", "--noise", "seven-noise.npz", "-n", 1).code == 0
    said = settings(mezzotint, "digits-seven-noise.png")
    assert {
        "sampler": "ddim",
        "steps": 4,
        "guidance": 1.0,
        "clip": False,
        "label": "3",
    }.items() <= said.items()
    assert mezzotint("sample", "digits", "--noise", "seven-noise.npz", "-n", 4, "--class", "all").code == 0


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        (["edit", "digits", "seven.png", "--mask", "odd.png"], 3, "the mask is 8x5 and the picture 8x8"),
        (["edit", "digits", "none.png"], 3, "none.png cannot be read"),
        (["edit", "digits", "seven.png", "--strength", "2"], 2, "strength must be from 0 to 1, not 2"),
        (["edit", "moons", "seven.png"], 2, "needs a model of pictures"),
        (["edit", "digits", "seven.png", "-o", "x.jpg"], 2, "end it in .png, .npz, .gif or .mp4"),
        (["enlarge", "digits", "seven.png", "--factor", "3"], 2, "factor 3 does not fit"),
        (["colour", "digits", "seven.png"], 2, "colour needs a model of RGB pictures"),
        (["morph", "digits", "3-7"], 2, "give two seeds such as 3:7, not '3-7'"),
        (["morph", "digits", "3:99999999999999999999"], 2, "give two seeds such as 3:7"),
        (["invert", "digits", "seven.png", "-o", "x.png"], 2, "end it in .npz"),
        (["sample", "digits", "--noise", "seven.png"], 3, "not a file of `mezzotint invert`"),
    ],
)
def test_wrong_words_get_one_line(
    mezzotint: Call, table: Path, words: list[str], code: int, line: str
) -> None:
    answer = mezzotint(*words)
    assert answer.code == code and line in answer.err and answer.err.count("\n") == 1, answer.err
