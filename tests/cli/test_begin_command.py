"""`train --from` on the command line: a class more, what stays, the small file, copies of few pictures."""

import json
from pathlib import Path

import numpy as np
import pytest
from helpers_small import CLASSES, FLOW, UNET, write_run
from helpers_workshop import FAST, Call
from PIL import Image

from mezzotint.media.facts import Facts
from mezzotint.run import allowance, replay


def test_a_class_more_from_few_pictures(
    mezzotint: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "A_CLASS", 2)
    monkeypatch.setattr(replay, "FEWEST", 5)
    monkeypatch.setattr(allowance, "FREE_SECONDS", 1e6)  # a busy machine looks for copies, too
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    write_run(
        tmp_path / "runs" / "base",
        Facts((1, 8, 8), CLASSES),
        network=UNET,
        diffusion=FLOW,
        sample={"steps": 2},
    )
    (tmp_path / "few" / "star").mkdir(parents=True)
    for k in range(8):
        pixels = np.random.default_rng(k).integers(0, 256, (8, 8), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "few" / "star" / f"{k}.png")

    train = (
        "train",
        "folder",
        "--data",
        "few",
        "--from",
        "base",
        "--name",
        "mine",
        "--steps",
        2,
        "data.flip=false",
        *FAST,
    )
    words = (*train, "train.replay=0.5", "train.lora=1", "--freeze", "middle.*", "--precision", "fp32")
    answer = mezzotint(*words)
    assert answer.code == 0, answer.err
    for said in (
        "pictures 1x8x8, 5 classes, 8 to train on, 0 held out, beside 8 samples; unet",
        "learning; cpu float32; begins as base",
        "from base: 1 new class (star), beginning at the mean of the 4 old ones",
    ):
        assert said in answer.out
    assert json.loads((tmp_path / "runs" / "mine" / "memorization.json").read_text())["n"] >= 64

    first, second = tmp_path / "a.png", tmp_path / "b.png"
    asked = ("-n", 3, "--class", "star", "--seed", 1)
    assert mezzotint("sample", "mine", *asked, "-o", first).code == 0
    adapter = tmp_path / "runs" / "mine" / "adapter.safetensors"
    assert mezzotint("sample", "base", "--adapter", adapter, *asked, "-o", second).code == 0
    assert first.read_bytes() == second.read_bytes()

    answer = mezzotint(*train, "--name", "other", "--freeze", "midle.*")
    assert answer.code == 2 and "no parameter has a name like 'midle.*'; near are middle.*" in answer.err
    assert not (tmp_path / "runs" / "other").exists()
