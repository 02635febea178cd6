"""Guidance by a CLIP: its vectors are the library's, its gradient is the one of finite differences, and pictures fit better with it."""

from pathlib import Path

import pytest
import torch
from helpers_encoders import SIDE, tiny_clip, tiny_t5
from helpers_small import FLOW, write_run
from helpers_workshop import leave
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.clip import Clip, open_clip
from mezzotint.diffusion.guidance import Guidance, classifier_guidance
from mezzotint.diffusion.process import flow
from mezzotint.errors import ConfigError, DataError
from mezzotint.media.facts import Facts
from mezzotint.model.by_clip import log_prob
from mezzotint.model.loading import load
from mezzotint.plots import read_settings

UNET = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1, "patch": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def clip(folder: Path) -> Clip:
    return open_clip(folder)


def test_vectors_are_those_of_the_library(clip: Clip, folder: Path) -> None:
    library = pytest.importorskip("transformers")
    net, words = library.CLIPModel.from_pretrained(folder), library.AutoTokenizer.from_pretrained(folder)
    x = torch.rand(3, 3, SIDE, SIDE) * 2 - 1  # of this size already
    mean, deviation = (torch.tensor(row)[:, None, None] for row in (clip.mean, clip.deviation))
    texts = ["a red circle", "the small blue cross", "a cross"]
    with torch.no_grad():
        pixels = ((x + 1) / 2 - mean) / deviation
        out = net(**words(texts, padding=True, return_tensors="pt"), pixel_values=pixels)
        mine = clip.fit(x, clip.texts(texts))
    torch.testing.assert_close(mine, out.logits_per_image.diagonal(), rtol=1e-4, atol=1e-4)
    grey = torch.rand(1, 1, 8, 8)
    assert clip.pictures(grey).equal(clip.pictures(grey.expand(-1, 3, -1, -1)))
    with pytest.raises(ConfigError, match="is too long for this CLIP: at most 12"):
        clip.texts([" ".join(["red"] * 20)])


def test_the_gradient_is_that_of_finite_differences(folder: Path) -> None:
    """In float64, through a belief of its own: the guided x0 is x0 + g sigma^2 / alpha times the gradient of the logit."""
    clip = open_clip(folder)
    clip.net.double()
    torch.manual_seed(0)
    mix = torch.randn(192, 192, dtype=torch.float64) / 192**0.5

    def belief(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        return (0.5 * x.flatten(1) @ mix).tanh().reshape(x.shape)

    vectors = clip.texts(["a red circle", "a cross"]).double()[:, None]
    cond = Cond(context=vectors, context_mask=torch.ones(2, 1, dtype=torch.bool))
    x, level = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.tensor([0.3, -1.0], dtype=torch.float64)
    scale = torch.tensor([2.0, 5.0], dtype=torch.float64)
    probability = log_prob(clip, belief)
    x0 = classifier_guidance(belief, flow, probability)(x, level, cond, Guidance(scale))
    alpha, sigma = flow(level)
    found = (x0 - belief(x, level, cond)) / (scale * sigma**2 / alpha)[:, None, None, None]
    assert found.abs().max() > 1e-3
    way, h = torch.randn(2, 3, 8, 8, dtype=torch.float64), 1e-5
    with torch.no_grad():
        slope = (probability(x + h * way, level, cond) - probability(x - h * way, level, cond)) / (2 * h)
    torch.testing.assert_close((found * way).flatten(1).sum(1), slope, rtol=1e-5, atol=1e-8)


def test_pictures_fit_better_and_nothing_asked_is_unguided(folder: Path, clip: Clip, tmp_path: Path) -> None:
    write_run(tmp_path / "plain", Facts((3, 8, 8)), network=UNET, diffusion=FLOW)
    write_run(tmp_path / "classes", Facts((1, 8, 8), ("a", "b")), network=UNET, diffusion=FLOW)
    for name in ("plain", "classes"):
        plain = load(tmp_path / name)
        guided = plain.by_clip(folder)
        assert not guided.sample(2).settings["prompt"] and plain.language is None  # the model is as it was
        unasked = plain.sample(4, label="none" if plain.classes else None, steps=6)
        assert guided.sample(4, prompt="", guidance=9, steps=6).values.equal(unasked.values)
        text = clip.texts(["a red circle"]).expand(4, -1)
        fits = []
        for scale in (0, 5, 50):
            samples = guided.sample(4, prompt="a red circle", guidance=scale, steps=6)
            with torch.no_grad():
                fits.append(float(clip.fit(samples.values / 127.5 - 1, text).mean()))
        assert fits[0] + 0.05 < fits[2] and fits[0] < fits[1]
    with pytest.raises(ConfigError, match="not a class; leave the class out"):
        guided.sample(1, prompt="a cross", label="a")
    with pytest.raises(ConfigError, match="takes no negative prompt and no rescale; leave negative"):
        guided.sample(1, prompt="a cross", negative="red")
    with pytest.raises(ConfigError, match="cannot be inverted with guidance by a CLIP"):
        guided.invert(samples.values[0])
    again = guided.sample(**{**samples.settings, "n": 4})
    assert again.values.equal(samples.values)
    with pytest.raises(ConfigError, match="by_clip: the picture was made with guidance by the CLIP"):
        plain.sample(**{k: v for k, v in samples.settings.items() if k != "prompt"})
    with pytest.raises(DataError, match="of kind 't5'; guidance needs a whole CLIP"):
        plain.by_clip(tiny_t5(tmp_path / "t5"))


def test_on_the_command_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_run(tmp_path / "plain", Facts((3, 8, 8)), network=UNET, diffusion=FLOW)
    asked = ("--by-clip", folder, "--prompt", "a red circle", "--guidance", 20, "-o", "a.png")
    assert leave("sample", "plain", "-n", 2, *asked) == 0
    said = read_settings("a.png")
    assert said is not None and said["prompt"] == "a red circle" and len(said["by_clip"]) == 16
    assert leave("sample", "plain", "-n", 2, "--by-clip", tmp_path / "gone", "--prompt", "a cross") == 3
    write_run(tmp_path / "dots", Facts((2,)), network={"kind": "mlp", "width": 8}, diffusion=FLOW)
    assert leave("sample", "dots", "--by-clip", folder) == 2
