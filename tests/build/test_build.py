"""Every word of a configuration becomes the thing that it names."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mezzotint import build, config
from mezzotint.config import Config
from mezzotint.diffusion import process, schedule
from mezzotint.diffusion.schedule import Table
from mezzotint.errors import ConfigError
from mezzotint.media.facts import Facts


def diffusion(**choices: Any) -> Config:
    return config.parse({"diffusion": choices})


class Fixed(nn.Module):
    """Answers with given numbers, and remembers what it was told."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        self.x, self.told = x, told
        return self.answer


def levels(config: Config, u: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    logsnr = build.make_schedule(config)(u)
    alpha, sigma = build.make_process(config)(logsnr)
    return logsnr, alpha[:, None], sigma[:, None]


@pytest.fixture
def batch() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(6, 4, dtype=torch.float64, generator=generator) for _ in range(2))
    return x0, eps, torch.linspace(0.05, 0.9, 6, dtype=torch.float64)


# --- processes, schedules, parameterizations -------------------------------------------------------------


def test_processes() -> None:
    assert build.make_process(diffusion(process="vp")) is process.vp
    assert build.make_process(diffusion(process="ve")) is process.ve
    assert build.make_process(diffusion(process="flow")) is process.flow


@pytest.mark.parametrize(
    "kind", ["linear", "scaled_linear", "quadratic", "sigmoid_beta", "cosine", "sigmoid"]
)
@pytest.mark.parametrize("timesteps", [100, 1000])
def test_discrete_schedules(kind: str, timesteps: int) -> None:
    made = build.make_schedule(diffusion(schedule={"kind": kind, "timesteps": timesteps}))
    assert isinstance(made, Table) and len(made) == timesteps
    assert torch.equal(made.logsnr, getattr(schedule, kind)(timesteps).logsnr)
    zero = build.make_schedule(
        diffusion(schedule={"kind": kind, "timesteps": timesteps, "zero_terminal_snr": True})
    )
    assert isinstance(zero, Table) and zero.logsnr[-1] == -math.inf
    torch.testing.assert_close(zero.logsnr[0], made.logsnr[0])


def test_continuous_schedules() -> None:
    u = torch.linspace(0.01, 0.99, 9, dtype=torch.float64)
    made = build.make_schedule(
        diffusion(schedule={"kind": "karras", "sigma_min": 0.1, "sigma_max": 9.0, "rho": 3.0})
    )
    assert torch.equal(made(u), schedule.karras(0.1, 9.0, 3.0)(u))
    made = build.make_schedule(diffusion(schedule={"kind": "lognormal", "mean": 0.5, "std": 2.0}))
    assert torch.equal(made(u), schedule.lognormal(0.5, 2.0)(u))
    made = build.make_schedule(diffusion(process="flow", schedule={"kind": "linear_time"}))
    assert torch.equal(made(u), schedule.linear_time(u))


@pytest.mark.parametrize("process", ["vp", "ve", "flow"])
@pytest.mark.parametrize(
    ("parameterization", "target"),
    [
        ("eps", lambda a, s, x0, eps: eps),
        ("x0", lambda a, s, x0, eps: x0),
        ("v", lambda a, s, x0, eps: a * eps - s * x0),
        ("velocity", lambda a, s, x0, eps: eps - x0),
        # Karras et al. 2022, table 1, with sigma_data = 0.7 and x / alpha, sigma / alpha for x, sigma
        (
            "edm",
            lambda a, s, x0, eps: (
                (x0 - 0.49 / ((s / a) ** 2 + 0.49) * (x0 + s / a * eps))
                / ((s / a) * 0.7 / ((s / a) ** 2 + 0.49).sqrt())
            ),
        ),
    ],
)
def test_a_network_that_says_the_papers_target_has_no_loss_and_believes_the_truth(
    batch: tuple[Tensor, Tensor, Tensor], process: str, parameterization: str, target: Any
) -> None:
    x0, eps, u = batch
    made = diffusion(
        process=process, schedule={"kind": "linear"}, parameterization=parameterization, sigma_data=0.7
    )
    logsnr, alpha, sigma = levels(made, u)
    net = Fixed(target(alpha, sigma, x0, eps))
    bound = build.denoiser(made, net)
    assert build.objective(made, bound)(x0, eps, u).abs().max() < 1e-18
    torch.testing.assert_close(bound(alpha * x0 + sigma * eps, logsnr), x0, rtol=1e-9, atol=1e-9)


def test_what_the_network_is_told() -> None:
    def told(config: Config, logsnr: Tensor) -> Tensor:
        net = Fixed(torch.zeros(len(logsnr), 2, dtype=torch.float64))
        build.denoiser(config, net)(torch.zeros(len(logsnr), 2, dtype=torch.float64), logsnr)
        return net.told

    discrete = diffusion(schedule={"kind": "cosine", "timesteps": 50})
    table = build.make_schedule(discrete)
    assert isinstance(table, Table)
    entries = torch.arange(50, dtype=torch.float64)
    torch.testing.assert_close(told(discrete, table.logsnr), entries, rtol=0, atol=1e-9)
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    straight = diffusion(process="flow", schedule={"kind": "lognormal"}, parameterization="velocity")
    torch.testing.assert_close(told(straight, schedule.linear_time(t)), 1000 * t)
    edm = diffusion(process="ve", schedule={"kind": "lognormal"}, parameterization="edm")
    torch.testing.assert_close(told(edm, -2 * t.log()), t.log() / 4)


# --- the loss --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weight", "expected"),  # of |eps_hat - eps|^2, with snr = alpha^2 / sigma^2
    [
        ("simple", lambda snr: 1 + 0 * snr),
        ("snr", lambda snr: 1 + 0 * snr),
        ("min_snr", lambda snr: snr.clamp(max=5) / snr),
        ("p2", lambda snr: 1 / (1 + snr)),
        ("edm", lambda snr: (1 / snr + 0.25) / (0.25 / snr) / snr),
        ("jit", lambda snr: (1 + snr.sqrt()).square().clamp(max=400) / snr),
    ],
)
def test_weights(batch: tuple[Tensor, Tensor, Tensor], weight: str, expected: Any) -> None:
    x0, eps, u = batch
    made = diffusion(parameterization="eps", weight=weight)
    logsnr, *_ = levels(made, u)
    loss = build.objective(made, build.denoiser(made, Fixed(torch.zeros_like(x0))))(x0, eps, u)
    torch.testing.assert_close(loss, expected(logsnr.exp()) * eps.square().mean(1), rtol=1e-9, atol=0)


def test_the_variational_weight_sums_to_the_bound() -> None:
    """T terms of 1/2 (SNR(t-1) - SNR(t)) |x0|^2 and a decoder's 1/2 SNR(0): in all 1/2 (2 SNR(0) - SNR(T-1))."""
    made = diffusion(parameterization="x0", weight="vlb", schedule={"kind": "linear", "timesteps": 20})
    x0 = torch.ones(20, 1, dtype=torch.float64)
    loss = build.objective(made, build.denoiser(made, Fixed(torch.zeros_like(x0))))
    u = (torch.arange(20, dtype=torch.float64) + 0.5) / 20
    table = build.make_schedule(made)(u).exp()
    total = loss(x0, torch.zeros_like(x0), u).mean()
    torch.testing.assert_close(total, (2 * table[0] - table[-1]) / 2)


@pytest.mark.parametrize(
    ("distance", "expected"), [("l2", [0.25, 9.0]), ("l1", [0.5, 3.0]), ("huber", [0.25, 5.0])]
)
def test_distances(distance: str, expected: list[float]) -> None:
    made = diffusion(parameterization="x0", distance=distance)
    x0 = torch.tensor([[0.5], [-3.0]], dtype=torch.float64)
    u = torch.tensor([0.3, 0.6], dtype=torch.float64)
    loss = build.objective(made, build.denoiser(made, Fixed(torch.zeros_like(x0))))
    assert loss(x0, torch.ones_like(x0), u).tolist() == pytest.approx(expected)


def test_spacings() -> None:
    assert build.spacing(diffusion(process="flow", schedule={"kind": "cosine"})) == "trailing"
    assert build.spacing(diffusion(process="flow", schedule={"kind": "lognormal"})) == "time"
    assert build.spacing(diffusion(process="ve", schedule={"kind": "karras"})) == "karras"


# --- networks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "facts"),
    [
        ({"kind": "mlp", "width": 8, "depth": 1}, Facts((2,))),
        ({"kind": "mlp", "width": 8, "depth": 1}, Facts((2,), ("a", "b"))),
        ({"kind": "unet", "width": 8, "multipliers": [1]}, Facts((1, 8, 8))),
        ({"kind": "unet", "width": 8, "multipliers": [1], "attention": [1]}, Facts((3, 5, 7), ("a",))),
        (
            {"kind": "unet2d", "widths": [8, 16], "groups": 4, "middle_groups": 4},
            Facts((1, 5, 6), ("a", "b")),
        ),
        ({"kind": "unet_simple", "width": 8, "levels": 2}, Facts((3, 8, 6), ("a", "b", "c"))),
        ({"kind": "unet_simple", "width": 8, "norm": "batch", "down": "stride"}, Facts((1, 9, 9))),
    ],
)
def test_networks_fit_the_data(network: dict[str, Any], facts: Facts) -> None:
    made = build.network(config.parse({"network": network}), facts)
    label = torch.tensor([len(facts.classes), 0]) if facts.classes else None  # none, and the first
    x = torch.randn(2, *facts.shape)
    assert made(x, torch.tensor([3.0, 500.0]), label).shape == x.shape
    if not facts.classes:
        with pytest.raises(ValueError, match="no classes"):
            made(x, torch.zeros(2), torch.zeros(2, dtype=torch.int64))


@pytest.mark.parametrize(
    ("network", "shape", "remedy"),
    [("mlp", (1, 8, 8), "unet"), ("unet", (2,), "mlp"), ("unet_simple", (2,), "mlp")],
)
def test_networks_for_other_data_are_refused(network: str, shape: tuple[int, ...], remedy: str) -> None:
    with pytest.raises(ConfigError, match=f"use {remedy}$"):
        build.network(config.parse({"network": {"kind": network}}), Facts(shape))


def test_what_the_data_decided_survives_json() -> None:
    facts = Facts((3, 30, 42), ("ä", "7"))
    assert Facts.from_json(facts.as_json()) == facts and facts.kind == "pictures"
    assert Facts((2,)).kind == "points"
    old = {"shape": [1, 8, 8], "classes": ["a"]}  # of format 1
    assert Facts.from_json(old) == Facts((1, 8, 8), ("a",), "pictures")
    with pytest.raises(ValueError, match="fits neither points nor pictures"):
        Facts((3, 3))


@pytest.mark.parametrize("recipe", config.recipes())
def test_every_recipe_builds(recipe: str) -> None:
    """Without memory or arithmetic: on the meta device."""
    made = config.load(recipe, codec__network={"kind": "vae"} if "latent" in recipe else None)
    classes = tuple("0123456789")
    facts = Facts((2,), ("a", "b")) if made.network.kind == "mlp" else Facts((3, 32, 32), classes)
    if made.data.known:
        facts = Facts((1, 4, 32, 32), classes, "clips")
    with torch.device("meta"):
        shape = build.codec(made, facts).shape(facts.shape)
        net = build.network(made, facts)
        x = torch.zeros(2, *shape)
        shown = {"image": x, "grain": torch.zeros(2)} if made.data.enlarge else {}
        if made.objective == "autoencode":
            out, *_ = net(x, torch.zeros(2, 4, 8, 8))
        else:
            out = net(x, torch.zeros(2), torch.zeros(2, dtype=torch.int64), **shown)
    assert out.shape == (2, *shape)
    build.learned(made, net)
    millions = sum(p.numel() for p in net.parameters()) / 1e6
    low, high = {"cifar10": (2.5, 3.5), "cifar10_large": (50, 56)}.get(recipe, (0.01, 60))
    assert low < millions < high
