"""From pictures to codes to new pictures, on the command line."""

from pathlib import Path

import pytest
import torch
from helpers_workshop import FAST, Call
from PIL import Image

from mezzotint.evaluate.judges.features import Extractor, Features

QUICK = ("data.name=digits", "data.size=8", "--precision", "fp32", "--batch-size", 8, *FAST)


def test_the_whole_way(mezzotint: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    means = Extractor("means", "0", "none", 1, False, lambda x: Features(x.float().mean((-2, -1)), None))
    monkeypatch.setattr("mezzotint.evaluate.reconstruction.open_judge", lambda *_: means)
    trained = mezzotint("train", "vae", *QUICK, "network.width=8", "--steps", 2, "--name", "v")
    assert trained.code == 0 and "mezzotint train latent --codec v" in trained.out, trained.err
    assert (tmp_path / "runs" / "v" / "report.html").is_file()
    answer = mezzotint("evaluate", "v", "-n", 50)
    assert answer.code == 0 and "16 numbers for a picture of 64" in answer.out and "DCT" in answer.out
    assert (tmp_path / "runs" / "v" / "evaluation.json").is_file()
    refused = mezzotint("evaluate", "v", "--metrics", "frechet")
    assert refused.code == 2 and "an autoencoder makes no samples" in refused.err
    refused = mezzotint("sample", "v")
    assert refused.code == 2 and "train a model of its codes: mezzotint train latent --codec v" in refused.err

    small = ("network.width=8", "network.multipliers=[1]", "network.attention=[]", "sample.steps=2")
    words = ("latent", *QUICK, *small, "--steps", 2)
    refused = mezzotint("train", *words)
    assert refused.code == 2 and "needs an autoencoder: --codec RUN" in refused.err
    assert mezzotint("train", *words, "--codec", "v").code == 0
    assert "is already trained" in mezzotint("train", *words, "--codec", "v").out
    assert mezzotint("sample", "latent", "-n", 4, "-o", "four.png").code == 0
    assert mezzotint("info", "latent").out.count("digest") == 1
    Image.fromarray(torch.zeros(8, 8, dtype=torch.uint8).numpy()).save("black.png")
    assert mezzotint("edit", "latent", "black.png", "--strength", "0.5", "-o", "edit.png").code == 0
    assert mezzotint("evaluate", "latent", "-n", 20, "--metrics", "vlb").code == 2
    assert mezzotint("show", "data", "latent", *QUICK[:2], "codec.file=v").code == 0
    found = mezzotint("doctor", "latent", *QUICK[:2], *small, "codec.file=v", "--quick")
    assert found.code == 0 and "standard deviation 1.0" in found.out, found.out
