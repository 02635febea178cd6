"""Models that know words: the same picture alone and among others, nothing asked to the bit, and errors that name the word."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers_small import write_run
from helpers_workshop import leave

from mezzotint.data.scenes import LENGTH, vocabulary
from mezzotint.diffusion.engine import together
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.plots import read_settings

UNET = {"kind": "unet", "width": 8, "multipliers": [1, 2], "blocks": 1, "patch": 4, "attention": [4, 8]}
EXAMPLES = ("a small red circle", "two large blue squares", "a pink cross")
FACTS = Facts((3, 32, 32), (), "pictures", (), tuple(vocabulary()), LENGTH, EXAMPLES)
PROMPTS = [
    f"a {size} {colour} cross" for size in ("small", "large") for colour in ("red", "blue", "white", "yellow")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    write_run(runs / "words", FACTS, network=UNET, data={"name": "scenes"})
    write_run(
        runs / "both", Facts((3, 32, 32), ("a", "b"), "pictures", (), FACTS.words, LENGTH), network=UNET
    )
    write_run(runs / "plain", Facts((3, 32, 32)), network={**UNET, "attention": []})
    return runs


@pytest.fixture(scope="module")
def model(folder: Path) -> Model:
    return load(folder / "words")


def test_a_prompt_alone_is_that_prompt_among_others(model: Model) -> None:
    many = model.stream(8, prompt=PROMPTS, guidance=2, seed=3)
    states = list(many)[-1].x0
    alone = list(model.stream(1, prompt=PROMPTS[5], guidance=2, seed=8))[-1].x0
    assert (states[5:6] - alone).abs().max() < 1e-5
    assert (states[5] - states[1]).abs().max() > 1e-3
    same = list(model.stream(8, prompt=PROMPTS[0], guidance=2, seed=3))[-1].x0
    assert (same[5:6] - alone).abs().max() > 1e-4  # what is asked changes the picture


def test_no_text_is_the_empty_text_to_the_bit_and_unguided(model: Model) -> None:
    empty = model.sample(3, prompt="", guidance=3)
    assert empty.values.equal(model.sample(3, prompt="", guidance=1).values)
    assert not empty.values.equal(model.sample(3, prompt="a cross", guidance=1).values)
    with torch.no_grad():
        x = torch.randn(2, 3, 32, 32)
        none = model.denoiser(x, torch.zeros(2, dtype=torch.float64))
        request = model.request(2, prompt="")
        assert none.equal(model.denoiser(x, torch.zeros(2, dtype=torch.float64), request.cond))


def test_negative_prompts_are_driven_away_from(model: Model) -> None:
    plain = model.sample(2, prompt="a cross", guidance=2).values
    assert not plain.equal(model.sample(2, prompt="a cross", negative="red", guidance=2).values)
    assert plain.equal(model.sample(2, prompt="a cross", negative="", guidance=2).values)
    same = model.sample(2, prompt="a cross", negative="a cross", guidance=5).values
    assert same.equal(model.sample(2, prompt="a cross", guidance=1).values)


def test_without_a_prompt_the_examples_are_asked_for_by_the_seed(model: Model) -> None:
    samples = model.sample(4, seed=1)
    assert samples.prompts == (EXAMPLES[1], EXAMPLES[2], EXAMPLES[0], EXAMPLES[1])
    assert samples.alone(1).settings["prompt"] == EXAMPLES[2]
    assert (samples.values[2].int() - model.sample(1, seed=3).values[0].int()).abs().max() <= 1


def test_classes_and_words_share_calls(folder: Path) -> None:
    model = load(folder / "both")
    calls: list[int] = []
    model.net.register_forward_pre_hook(lambda net, inputs: calls.append(len(inputs[0])))
    requests = [
        model.request(2, label="a", prompt="a cross"),
        model.request(3, prompt="", label="none"),
        model.request(1),
    ]
    walks = {k: model.walk(request) for k, request in enumerate(requests)}
    last = {key: state.x0 for key, state in together(model.guided, walks)}
    assert len(calls) == requests[0].steps
    for key, request in enumerate(requests):
        alone = list(model.stream(request))[-1].x0
        assert (last[key] - alone).abs().max() < 1e-5


def test_wrong_words_are_named(model: Model, folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"does not know the word 'sirkle'; did you mean"):
        model.sample(1, prompt="a red sirkle")
    with pytest.raises(ConfigError, match="does not know the word 'dog'"):
        model.sample(1, prompt="a cross", negative="dog")
    with pytest.raises(ConfigError, match="the list of prompts is empty"):
        model.sample(1, prompt=[])
    for more in ({"prompt": "a cross"}, {"negative": "a cross"}):
        with pytest.raises(ConfigError, match="trained without captions; leave the prompt out"):
            load(folder / "plain").sample(1, **more)


def test_edits_take_prompts(model: Model) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    assert model.edit(picture, strength=0).settings["prompt"] == ""
    edited = model.edit(picture, strength=0.5, prompt="a red cross")
    assert edited.settings["prompt"] == "a red cross"
    assert not edited.values.equal(model.edit(picture, strength=0.5).values)
    morph = model.morph(1, 5, 4, prompt=["a red cross", "a blue square"])
    with pytest.raises(ConfigError, match="give one prompt, or two, not 3"):
        model.morph(1, 5, 4, prompt=["a red cross"] * 3)
    for row, seed, prompt in ((0, 1, "a red cross"), (-1, 5, "a blue square")):
        assert (
            morph.values[row].int() - model.sample(1, seed=seed, prompt=prompt).values[0].int()
        ).abs().max() <= 1


def test_on_the_command_line(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = folder / "words" / "model.safetensors"
    assert leave("sample", run, "-n", 4, "--prompt", "a red cross", "--negative", "blue", "-o", "a.png") == 0
    said = read_settings("a.png")
    assert said is not None and (said["prompt"], said["negative"]) == ("a red cross", "blue")
    Path("some.txt").write_text("a red cross\n\na blue square\n")
    assert leave("sample", run, "-n", 3, "--prompts", "some.txt", "-o", "b.npz") == 0
    with np.load("b.npz") as file:
        assert file["captions"].tolist() == ["a red cross", "a blue square", "a red cross"]
    assert leave("sample", run, "-n", 4, "-o", "c.png") == 0  # a text under each
    assert leave("sample", run, "-n", 1, "--prompt", "a red dog") == 2
    assert leave("sample", run, "-n", 1, "--prompts", "none.txt") == 2
    assert leave("evaluate", run, "-n", 12, "--json") == 0
