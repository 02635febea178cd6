"""Models that enlarge: alone, after another one, trained, and refused where they are asked for something else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_small import FLOW, UNET, write_run

from mezzotint import config
from mezzotint.build.networks import network
from mezzotint.conditions.image import larger, smaller
from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.parameterization import x0
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.model.again import command
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.nets import UNet
from mezzotint.run.fit import fit

GREY = np.random.default_rng(0).integers(110, 146, (4, 4), dtype=np.uint8)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    write_run(runs / "larger", Facts((1, 8, 8)), network=UNET, diffusion=FLOW, data={"enlarge": 2})
    write_run(runs / "small", Facts((1, 4, 4), ("a", "b")), network=UNET, diffusion=FLOW)
    return runs


@pytest.fixture(scope="module")
def upscaler(runs: Path) -> Model:
    return load(runs / "larger")


@pytest.fixture(scope="module")
def model(runs: Path) -> Model:
    return load(runs / "small")


def test_enlarged_pictures_are_the_given_one_when_made_small(upscaler: Model) -> None:
    made = upscaler.enlarge(GREY, n=3, grain=0.3, seed=5)
    assert made.values.shape == (3, 1, 8, 8) and made.values[0].ne(made.values[1]).any()
    off = (smaller(made.values.float(), 2) - torch.from_numpy(GREY)).abs()
    assert off.square().mean().sqrt() < 12**-0.5  # the noise of 8 bits
    assert (
        made.settings["grain"] == 0.3 and made.settings["factor"] == 2 and len(made.settings["picture"]) == 64
    )
    alone = upscaler.enlarge(GREY, grain=0.3, seed=6)
    assert torch.equal(alone.values[0], made.values[1])
    one_by_one = upscaler.answer(upscaler.edits.enlarge(GREY, n=3, grain=0.3, seed=5), batch=1)
    assert torch.equal(one_by_one.values, made.values)
    assert not torch.equal(
        upscaler.enlarge(GREY, grain=0.0, seed=6).values, alone.values
    )  # the network is told


def test_what_it_makes_is_added_to_the_picture_made_large(upscaler: Model) -> None:
    """A network that says 0, as one begins, is bicubic enlargement."""
    silent = UNet(1, 8, (1,), 1, shown=1)
    bound = Denoiser(silent.eval(), upscaler.process, x0)
    model = Model(upscaler.header, bound, upscaler.device, "silent")
    small = torch.from_numpy(GREY)[None, None]
    made = model.make(model.request(1, image=small))
    bicubic = larger(small.float(), 2).round().clamp(0, 255)
    assert (made.float() - bicubic).abs().max() <= 1
    request = model.request(3, image=small.expand(3, 1, 4, 4))
    assert request.part(1, 3).base is not None and len(request.part(1, 3).base) == 2


def test_the_network_sees_picture_and_grain(upscaler: Model) -> None:
    x, level = torch.zeros(1, 1, 8, 8), torch.ones(1)
    net = upscaler.net
    out = net(x, level, image=x, grain=torch.zeros(1))
    assert (net(x, level, image=x + 0.5, grain=torch.zeros(1)) - out).abs().max() > 1e-4
    assert (net(x, level, image=x, grain=torch.full((1,), 0.3)) - out).abs().max() > 1e-4
    with pytest.raises(ValueError, match="an image is needed by a network built with shown"):
        net(x, level)
    with pytest.raises(ValueError, match="an image is needed by a network built with shown"):
        UNet(1, 8, (1,), 1)(x, level, image=x)


def test_a_chain_enlarges_every_sample_from_its_seed(model: Model, upscaler: Model) -> None:
    first = model.sample(3, label="a", seed=7)
    made = upscaler.enlarge(first)
    assert made.values.shape == (3, 1, 8, 8) and made.seeds.tolist() == [7, 8, 9]
    second = upscaler.enlarge(model.sample(1, label="a", seed=8))
    assert torch.equal(made.values[1], second.values[0])
    off = (smaller(made.values.float(), 2) - first.values).abs()
    assert (
        off.median() < 8
    )  # they have pixels of 0 and 255, beside which nothing can be darker or lighter still
    assert made.settings["of"] == first.settings
    line = command(made.settings)
    assert line is not None and line.startswith("mezzotint sample small -n 3 --seed 7 --class=a")
    assert line.endswith("--then larger --grain 0.1")
    assert command(upscaler.enlarge(first, steps=2).settings) is None  # no command line says so


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (
            lambda m: m.sample(2),
            "needs one: mezzotint enlarge larger PICTURE, or mezzotint sample ANOTHER --then larger",
        ),
        (lambda m: m.edit(GREY, strength=0.5), "makes pictures 2 times as large, and needs one"),
        (lambda m: m.enlarge(GREY, 4), "2 times as large; leave factor out"),
        (lambda m: m.enlarge(GREY, returns=2), "leave returns out"),
        (lambda m: m.enlarge(GREY, grain=0.9), "grain must be from 0 to 0.5"),
        (lambda m: m.enlarge(GREY, clip=True), "has no range; leave clip out"),
    ],
)
def test_what_a_model_that_enlarges_is_not_for(upscaler: Model, ask: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ask(upscaler)


def test_other_models_are_shown_nothing(model: Model, upscaler: Model) -> None:
    with pytest.raises(ConfigError, match="grain is only for models that were trained to enlarge"):
        model.enlarge(GREY, grain=0.1)
    with pytest.raises(ConfigError, match="enlarging samples is only for models"):
        model.enlarge(model.sample(2))
    with pytest.raises(ConfigError, match="takes no picture as input; leave image and grain out"):
        model.sample(1, image=torch.zeros(1, 1, 2, 2, dtype=torch.uint8))
    with pytest.raises(ConfigError, match="this model enlarges pictures of 1x4x4, not of 1x8x8"):
        upscaler.enlarge(upscaler.enlarge(GREY))


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"data": {"enlarge": 3}}, "does not divide 8x8"),
        ({"data": {"enlarge": 2, "window": 10}}, "data.window=10 is larger than the pictures"),
        ({"data": {"enlarge": 2, "window": 3}}, "must be a multiple of data.enlarge"),
        ({"data": {"window": 4}}, "set data.enlarge"),
        ({"data": {"enlarge": 2}, "network": {"kind": "unet_simple"}}, "data.enlarge needs unet"),
        ({"data": {"enlarge": 2}, "train": {"evaluate_every": "10%"}}, "leave train.evaluate_every out"),
        ({"data": {"enlarge": 2}, "objective": "meanflow", "diffusion": FLOW}, "have no students"),
    ],
)
def test_what_cannot_be_shown_small_is_refused(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        network(config.parse({"network": UNET, **tree}), Facts((1, 8, 8)))


def test_it_is_trained_like_any_other_and_goes_on_to_the_bit(tmp_path: Path) -> None:
    words = ["data.enlarge=2", "data.window=4", "data.labels=false", "train.steps=6", "train.batch_size=8"]
    quick = ["train.precision=fp32", "sample.steps=2", "network.width=8"]
    whole = config.load("digits", [*words, *quick])
    for _ in fit(whole, tmp_path / "whole"):
        pass
    stopped = [*fit(whole, tmp_path / "again", stop=lambda: True)][-1]
    assert getattr(stopped, "step", None) == 1
    for _ in fit(whole, tmp_path / "again"):
        pass
    one, other = load(tmp_path / "whole"), load(tmp_path / "again")
    assert all(torch.equal(a, b) for a, b in zip(one.net.parameters(), other.net.parameters()))
    assert len([*(tmp_path / "whole" / "samples").glob("step-*.png")]) > 0
    assert one.enlarge(GREY, n=2).values.shape == (2, 1, 8, 8)
