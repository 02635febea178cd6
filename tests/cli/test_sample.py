"""Sampling from the command line: every format, the classes, the seeds, and what the files say of themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers_small import UNET, write_run
from helpers_workshop import DIGITS, Call
from PIL import Image

from mezzotint.media.facts import Facts

SIZE = 64 + 2  # of a digit on a sheet: enlarged eight times, and a gap


def images(mezzotint: Call, *words: object) -> np.ndarray:
    """Pictures of `sample ... -o some.npz`: (N, H, W, C) as int, so that they can be subtracted."""
    answer = mezzotint("sample", *words, "-o", "some.npz")
    assert answer.code == 0, answer.err
    with np.load("some.npz", allow_pickle=False) as file:
        return file["images"].astype(int)


def settings(mezzotint: Call, path: Path | str) -> dict[str, object]:
    answer = mezzotint("info", path)
    assert answer.code == 0, answer.err
    return json.loads(answer.out)


def test_png_is_a_sheet_with_its_settings(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("sample", "digits", "-n", 6, "--class", "all", "--guidance", 2, "--seed", 5)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith("digits-5.png: 6 samples of digits in ")
    with Image.open("digits-5.png") as sheet:
        assert sheet.mode == "L" and sheet.size == (3 * SIZE + 2, 2 * SIZE + 2)
    said = settings(mezzotint, "digits-5.png")
    assert {
        "sampler": "dpmpp_2m",
        "steps": 4,
        "guidance": 2,
        "seed": 5,
        "n": 6,
        "label": "all",
    }.items() <= said.items()
    assert {"model": "digits", "step": 20, "weights": "ema 0.1"}.items() <= said.items()


def test_npz_holds_the_documented_arrays(mezzotint: Call, desk: Path) -> None:
    assert (
        mezzotint("sample", "digits", "-n", 5, "--class", "3,0", "--seed", 7, "-o", "deep/some.npz").code == 0
    )
    with np.load("deep/some.npz", allow_pickle=False) as file:
        assert sorted(file.files) == ["classes", "images", "labels", "seeds", "settings"]
        assert file["classes"].tolist() == [str(digit) for digit in range(10)]
        assert file["images"].dtype == np.uint8 and file["images"].shape == (5, 8, 8, 1)
        assert file["labels"].dtype == np.int64 and file["labels"].tolist() == [3, 0, 3, 0, 3]
        assert file["seeds"].dtype == np.int64 and file["seeds"].tolist() == [7, 8, 9, 10, 11]
    assert mezzotint("sample", "plain", "-n", 2, "--format", "npz", "-o", "no-ending").code == 0
    with np.load("no-ending", allow_pickle=False) as file:
        assert sorted(file.files) == ["images", "seeds", "settings"]
    assert mezzotint("sample", "moons", "-n", 3, "-o", "points.npz").code == 0
    with np.load("points.npz", allow_pickle=False) as file:
        assert file["images"].dtype == np.float32 and file["images"].shape == (3, 2)


def test_folder_holds_one_picture_a_file(mezzotint: Call, desk: Path) -> None:
    assert mezzotint("sample", "digits", "-n", 3, "--class", "4,9", "--seed", 8, "-o", "many").code == 0
    assert sorted(path.name for path in Path("many").iterdir()) == [
        "000008-4.png",
        "000009-9.png",
        "000010-4.png",
    ]
    with Image.open("many/000009-9.png") as picture:
        assert picture.size == (8, 8), "a single picture keeps its size"
        alone = np.asarray(picture).astype(int)
    said = settings(mezzotint, "many/000009-9.png")
    assert (said["seed"], said["n"], said["label"]) == (9, 1, "9")
    again = images(mezzotint, "digits", "-n", said["n"], "--class", said["label"], "--seed", said["seed"])
    assert abs(again[0, :, :, 0] - alone).max() <= 1, "its settings make it again"
    assert mezzotint("sample", "moons", "-n", 3, "--format", "folder").code == 0
    rows = Path("moons-0/points.csv").read_text().splitlines()
    assert rows[0] == "x,y" and len(rows) == 4


def test_gif_is_the_way_from_noise(mezzotint: Call, desk: Path) -> None:
    assert mezzotint("sample", "digits", "-n", 4, "--steps", 3, "--seed", 2, "-o", "way.gif").code == 0
    assert mezzotint("sample", "digits", "-n", 4, "--steps", 3, "--seed", 2, "-o", "end.png").code == 0
    with Image.open("way.gif") as film, Image.open("end.png") as end:
        assert film.n_frames == 3
        film.seek(2)
        last, end_pixels = np.asarray(film.convert("L")).astype(int), np.asarray(end).astype(int)
    assert abs(last - end_pixels).max() <= 1
    assert mezzotint("sample", "moons", "-n", 30, "-o", "moons.gif").code == 0


def test_trajectory_saves_every_state(mezzotint: Call, desk: Path) -> None:
    answer = mezzotint("sample", "digits", "-n", 4, "--batch", 3, "--steps", 3, "--trajectory", "-o", "t.png")
    assert answer.code == 0 and "t-trajectory: the state after each of 3 steps" in answer.out
    files = sorted(Path("t-trajectory").iterdir())
    assert [path.name for path in files] == ["step-0001.png", "step-0002.png", "step-0003.png"]
    assert settings(mezzotint, files[1])["step_of_sampling"] == 2
    pixels = [np.asarray(Image.open(path)).astype(int) for path in (*files, Path("t.png"))]
    assert all(one.shape == pixels[0].shape for one in pixels)
    assert abs(pixels[0] - pixels[3]).max() > 1 and abs(pixels[2] - pixels[3]).max() <= 1


def test_classes_by_name_number_list_and_all(mezzotint: Call, desk: Path) -> None:
    def labels(*words: object) -> list[int]:
        assert mezzotint("sample", "moons", "-n", 5, "-o", "some.npz", *words).code == 0
        with np.load("some.npz", allow_pickle=False) as file:
            return file["labels"].tolist()

    assert labels("--class", "lower") == [1] * 5
    assert labels("--class", "0") == [0] * 5
    assert labels("--class", "lower, 0,lower") == [1, 0, 1, 1, 0]
    assert labels("--class", "all") == [0, 1, 0, 1, 0]
    assert labels("--class", "none") == [2] * 5
    assert labels("--seed", 3) == [1, 1, 0, 1, 0], "drawn, the same for everybody"


def test_a_class_changes_the_pictures(mezzotint: Call, desk: Path) -> None:
    three, four, none = (
        images(mezzotint, "digits", "-n", 2, *w)
        for w in (("--class", 3), ("--class", 4), ("--class", "none"))
    )
    assert (three != four).any() and (three != none).any()
    guided = images(mezzotint, "digits", "-n", 2, "--class", 3, "--guidance", 9)
    unguided = images(mezzotint, "digits", "-n", 2, "--class", 3, "--guidance", 1)
    assert (guided != unguided).any()


def test_a_seed_is_a_picture(mezzotint: Call, desk: Path) -> None:
    many = images(mezzotint, "digits", "-n", 8, "--seed", 3)
    assert (many == images(mezzotint, "digits", "-n", 8, "--seed", 3)).all()
    assert abs(many[:5] - images(mezzotint, "digits", "-n", 5, "--seed", 3)).max() <= 1
    assert abs(many[4:5] - images(mezzotint, "digits", "-n", 1, "--seed", 7)).max() <= 1
    assert abs(many - images(mezzotint, "digits", "-n", 8, "--seed", 3, "--batch", 3)).max() <= 1
    assert (
        abs(many[0] - many[1]).max() > 50
        and (many != images(mezzotint, "digits", "-n", 8, "--seed", 30)).any()
    )


def test_a_stochastic_sampler_keeps_its_seeds(mezzotint: Call, desk: Path) -> None:
    words = ("digits", "--sampler", "euler_a", "--steps", 5, "--seed", 3)
    many = images(mezzotint, *words, "-n", 4)
    assert abs(many - images(mezzotint, *words, "-n", 4, "--batch", 1)).max() <= 1


def test_eta_belongs_to_ddim(mezzotint: Call, desk: Path) -> None:
    """A model whose default is ddim with eta can still be sampled with what has no eta."""
    random = images(mezzotint, "discrete.v1", "-n", 2)
    assert (random != images(mezzotint, "discrete.v1", "-n", 2, "--eta", 0)).any()
    assert mezzotint("sample", "discrete.v1", "-n", 2, "--sampler", "heun").code == 0
    assert settings(mezzotint, "discrete.v1-0.png")["eta"] == 0


def test_raw_weights_are_others(mezzotint: Call, desk: Path) -> None:
    raw = images(mezzotint, "digits", "-n", 2, "--weights", "raw")
    assert (raw != images(mezzotint, "digits", "-n", 2)).any()
    assert mezzotint("sample", "digits", "-n", 1, "--weights", "raw", "-o", "raw.png").code == 0
    assert settings(mezzotint, "raw.png")["weights"] == "raw"


@pytest.mark.parametrize("name", ["digits", "runs/digits", "runs/digits/", "runs/digits/model.safetensors"])
def test_a_run_by_name_and_path(mezzotint: Call, desk: Path, name: str) -> None:
    assert mezzotint("sample", name, "-n", 1).code == 0
    assert settings(mezzotint, "digits-0.png")["model"] == "digits"


def test_a_bare_model_file(mezzotint: Call, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    same = images(mezzotint, "whole.safetensors", "-n", 2)
    assert (same == images(mezzotint, "digits", "-n", 2)).all()
    assert mezzotint("sample", "whole.safetensors", "-n", 1).code == 0 and Path("whole-0.png").is_file()
    monkeypatch.chdir(desk / "runs" / "moons")
    answer = mezzotint("sample", "model.safetensors", "-n", 1, "-o", desk / "inside.png")
    assert answer.code == 0 and "samples of moons" in answer.out


def test_latest_is_the_newest(mezzotint: Call, desk: Path) -> None:
    assert mezzotint("sample", "latest", "-n", 1).code == 0
    assert [path.name for path in desk.glob("*.png")] == ["moons-0.png"]


def test_names_of_classes_are_cut_to_what_fits(mezzotint: Call, desk: Path) -> None:
    """255 bytes, which are 85 letters of some alphabets; and no name is too long to be written."""
    classes = ("猫" * 90, "cat" * 80, "𐌰" * 70 + "x", "a\nb/..")
    write_run(desk / "long", Facts((1, 8, 8), classes), network=UNET)
    answer = mezzotint("sample", "long", "-n", 4, "--class", "all", "--format", "folder", "-o", "many")
    assert answer.code == 0, answer.err
    names = sorted(path.name for path in Path("many").iterdir())
    assert names[0].startswith("000000-猫猫") and names[1].startswith("000001-catcat")
    assert names[2].startswith("000002-𐌰") and names[3] == "000003-a_b___.png"
    assert all(240 < len(name.encode()) <= 250 for name in names[:3])
    assert settings(mezzotint, f"many/{names[2]}")["label"] == classes[2]
    refused = mezzotint("sample", "long", "-n", 1, "-o", "n" * 250 + ".png")
    assert refused.code == 2 and "too long" in refused.err, "before sampling"


def test_what_an_earlier_call_left_is_said(mezzotint: Call, desk: Path) -> None:
    words = ("sample", "digits", "--class", "4", "-o", "many", "--format", "folder")
    assert "not empty" not in mezzotint(*words, "-n", 3).out
    answer = mezzotint(*words, "-n", 2)
    assert answer.out.startswith("many is not empty: 2 files are replaced, 1 others are kept\n")
    mezzotint("sample", "digits", "-n", 1, "--steps", 5, "--trajectory")
    answer = mezzotint("sample", "digits", "-n", 1, "--steps", 4, "--trajectory")
    assert "digits-0-trajectory is not empty: 4 files are replaced, 1 others are kept" in answer.out


def test_a_path_that_is_not_utf8(mezzotint: Call, desk: Path) -> None:
    """The pages of a run of such pictures are written, and the run goes on; classes may be called so, too."""
    photos = desk / os.fsdecode(b"fotos_espa\xf1a")
    for name in ("caf\udce9", "b\x1b[31mred"):
        (photos / name).mkdir(parents=True)
        for i in range(9):
            Image.new("RGB", (8, 8), (9 * i, i, 3)).save(photos / name / f"{i}.png")
    words: tuple[object, ...] = (
        "train",
        "folder",
        "--data",
        photos,
        "--out",
        "mine",
        "--name",
        "odd",
        "data.size=8",
    )
    words += (*DIGITS, "--batch-size", 4, "network.attention=[]")
    answer = mezzotint(*words, "--steps", 2)
    assert answer.code == 0, answer.err
    assert "\\udcf1" in (desk / "mine/odd/report.html").read_text()
    resumed = mezzotint(*words, "--steps", 3, "--resume")
    assert resumed.code == 0 and "resuming from step 2" in resumed.out
    told = mezzotint("info", "mine/odd").out
    assert "caf\\udce9" in told and "b\\x1b[31mred" in told and "\x1b" not in told
    assert (
        mezzotint("sample", "mine/odd", "-n", 2, "--class", "all", "--format", "folder", "-o", "many").code
        == 0
    )
    refused = mezzotint(*words, "--steps", 2, "--name", os.fsdecode(b"espa\xf1a"))
    assert refused.code == 2 and "not UTF-8" in refused.err


def test_a_sample_imports_no_more_than_it_needs(tmp_path: Path) -> None:
    """Half of a short command is imports: no data sets, charts, servers or compilers among them, and no looking for garbage."""
    heavy = {"matplotlib", "pyarrow", "datasets", "huggingface_hub", "scipy", "sklearn", "sympy", "onnx"}
    heavy |= {"fastapi", "transformers", "torch._dynamo", "torch._inductor", "mezzotint.data.open"}
    code = f"""
import gc, sys, mezzotint.cli
try:
    mezzotint.cli.main(["sample", "mnist_fast", "-n", "2", "-o", "two.png"])
except SystemExit as left:
    print(left.code, sorted({heavy} & set(sys.modules)), gc.isenabled(), gc.get_freeze_count() > 10**5)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "0 [] True True", done.stderr
    assert (tmp_path / "two.png").is_file()
