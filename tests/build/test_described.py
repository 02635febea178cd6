"""Parts that were put together in Python, in the words of a configuration: there and back, or refused."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mezzotint import build
from mezzotint.config import Config, parse
from mezzotint.diffusion import parameterization, process, schedule
from mezzotint.diffusion.denoiser import Denoiser, sigma_condition, time_condition
from mezzotint.diffusion.flowmap import FlowMap
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts
from mezzotint.nets import MLP, UNet, UNetSimple

GREY = Facts((1, 8, 8), ("a", "b"))
SMALL = {"kind": "unet", "width": 8, "multipliers": [1], "blocks": 1}
U = (torch.arange(64, dtype=torch.float64) + 0.5) / 64


class Foreign(nn.Module):
    def forward(self, x: Tensor, t: Tensor, label: Tensor | None = None) -> Tensor:
        return x


def told(config: Config) -> Denoiser:
    return build.denoiser(config, Foreign())


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize(
    ("facts", "tree"),
    [
        (GREY, {"network": SMALL}),
        (GREY, {"network": {**SMALL, "attention": [1], "head_channels": 4, "dropout": 0.1, "patch": 1}}),
        (GREY, {"network": {"kind": "unet_simple", "width": 8, "norm": "batch", "down": "stride"}}),
        (
            GREY,
            {"network": {"kind": "unet2d", "widths": [8], "groups": 4, "middle_groups": None, "padding": 0}},
        ),
        (GREY, {"network": {"kind": "dit", "width": 16, "depth": 1, "head_channels": 8, "patch": 2}}),
        (Facts((2,)), {"network": {"kind": "mlp", "width": 8, "depth": 1}}),
        *[
            (GREY, {"network": SMALL, "diffusion": diffusion})
            for diffusion in (
                {"schedule": {"kind": "linear", "timesteps": 300}, "parameterization": "eps"},
                {"schedule": {"kind": "sigmoid", "zero_terminal_snr": True}, "parameterization": "x0"},
                {"process": "flow", "schedule": {"kind": "lognormal", "mean": 0.1, "std": 1.3}},
                {
                    "process": "ve",
                    "schedule": {"kind": "karras", "sigma_max": 50.0},
                    "parameterization": "edm",
                },
                {"process": "flow", "schedule": {"kind": "linear_time"}, "parameterization": "velocity"},
                {"schedule": {"kind": "lognormal"}, "parameterization": "edm", "sigma_data": 0.3},
            )
        ],
    ],
)
def test_words_are_found_again(facts: Facts, tree: dict[str, Any], own: bool) -> None:
    config = parse(tree)
    net = Foreign() if own else build.network(config, facts)
    bound = build.denoiser(config, net)
    found = build.described(bound, build.make_schedule(config), facts)
    assert found.diffusion == config.diffusion
    assert found.data.name == "unnamed"
    if own:
        assert found.network.kind == "own" and found.network.name == "Foreign"
    else:
        assert found.network == config.network
    again, levels = build.denoiser(found, net), build.make_schedule(config)(U)
    assert torch.equal(again.c_noise(levels), bound.c_noise(levels))
    for mine, theirs in zip(
        again.parameterization(*again.process(levels)), bound.parameterization(*bound.process(levels))
    ):
        assert torch.equal(mine, theirs)


@pytest.mark.parametrize("c_noise", [time_condition, sigma_condition])
def test_a_level_told_otherwise_than_usual_is_kept(c_noise: Callable[[Tensor], Tensor]) -> None:
    """`Denoiser(net, vp, eps)` on a table: told the time, where a configuration of ours tells the timestep. So the network
    is no longer one that a configuration makes."""
    table = schedule.linear(50)
    for net in (Foreign(), UNet(1, 8, [1], 1, classes=2)):
        bound = Denoiser(net, process.vp, parameterization.eps, c_noise)
        found = build.described(bound, table, GREY)
        assert found.network.kind == "own" and found.network.name == type(net).__name__
        levels = table(U)
        assert torch.equal(build.denoiser(found, net).c_noise(levels), c_noise(levels))


def test_a_subclass_of_ours_is_a_network_of_ones_own() -> None:
    class Mine(MLP):
        pass

    bound = Denoiser(Mine(), process.flow, parameterization.velocity)
    assert build.described(bound, schedule.linear_time, Facts((2,))).network.kind == "own"


TABLE = schedule.linear(100)
FLOW = (process.flow, parameterization.velocity)


@pytest.mark.parametrize(
    ("bound", "levels", "message"),
    [
        (Denoiser(Foreign(), lambda s: process.vp(s), parameterization.v), TABLE, "process of your own"),
        (
            Denoiser(Foreign(), process.vp, lambda a, s: parameterization.v(a, s)),
            TABLE,
            "parameterization of your own",
        ),
        (Denoiser(Foreign(), *FLOW, lambda s: s / 2), TABLE, "noise condition of the network"),
        (Denoiser(Foreign(), *FLOW, schedule.cosine().index), TABLE, "noise condition of the network"),
        (Denoiser(Foreign(), *FLOW), lambda u: -u, "schedule of your own"),
        (Denoiser(Foreign(), *FLOW), schedule.linear(100, 1e-4, 0.03), "schedule of your own"),
        (FlowMap(Foreign(), *FLOW), schedule.lognormal(), "a flow map from Python"),
        (Denoiser(Foreign(), *FLOW, dtype=torch.float16), TABLE, "float32 or bfloat16"),
        (Denoiser(UNet(1, 8, [1], 1), *FLOW), schedule.lognormal(), "1x8x8 and 2 classes"),
        (Denoiser(UNetSimple(3, 8, classes=2), *FLOW), schedule.lognormal(), "1x8x8 and 2 classes"),
    ],
)
def test_what_has_no_name_is_refused(bound: Denoiser, levels: schedule.Schedule, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build.described(bound, levels, GREY)
    assert "\n" not in str(caught.value)


def test_the_edm_of_ones_own_deviation() -> None:
    edm = partial(parameterization.edm, sigma_data=0.7)
    found = build.described(Denoiser(Foreign(), process.ve, edm), schedule.karras(), GREY)
    assert found.diffusion.sigma_data == 0.7 and found.diffusion.parameterization == "edm"


def test_no_recipe_makes_a_network_from_python() -> None:
    with pytest.raises(ConfigError, match="which a recipe cannot build; use mlp, unet_simple, unet or dit"):
        build.network(parse({"network": {"kind": "own"}}), GREY)
    with pytest.raises(ConfigError, match=r"network\.told timestep needs a discrete"):
        told(
            parse(
                {
                    "network": {"kind": "own", "told": "timestep"},
                    "diffusion": {"schedule": {"kind": "lognormal"}},
                }
            )
        )
