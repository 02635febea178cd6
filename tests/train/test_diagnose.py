"""What is said of a step that failed is where it failed; the noise of the gradient is what it is."""

import math

import pytest
import torch
from torch import Tensor, nn

from mezzotint.cond import Batch, Cond
from mezzotint.diffusion.denoiser import Denoiser
from mezzotint.diffusion.loss import DenoisingLoss
from mezzotint.diffusion.parameterization import velocity
from mezzotint.diffusion.process import flow
from mezzotint.diffusion.schedule import lognormal
from mezzotint.nets.mlp import MLP
from mezzotint.train.diagnose import blame, gradient_noise_scale


def parts() -> tuple[MLP, DenoisingLoss, Batch]:
    torch.manual_seed(0)
    net = MLP(width=16, depth=2)
    return net, DenoisingLoss(Denoiser(net, flow, velocity), lognormal(0.0, 1.0)), Batch(torch.randn(32, 2))


def test_data_is_named_with_its_rows() -> None:
    net, objective, (x0, _) = parts()
    x0[5, 1], x0[9, 0] = math.nan, math.inf
    assert blame(objective, objective.schedule, net, Batch(x0), 0, 3) == (
        "the data has values that are not finite, in rows 5, 9 of the batch"
    )


def test_a_layer_is_named_with_the_levels_it_failed_at() -> None:
    net, objective, batch = parts()
    layers = [(name, module) for name, module in net.named_modules() if isinstance(module, nn.Linear)]
    name, layer = layers[2]

    def poison(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output = output.clone()
        output[24:] = math.inf  # the noisiest quarter, since rows are in the order of u
        return output

    layer.register_forward_hook(poison)
    said = blame(objective, objective.schedule, net, batch, 0, 3)
    assert f"layer {name} (Linear)" in said and "rows 24, 25, 26, 27, ..." in said
    low, high = (float(word) for word in said.split("logsnr ")[1].split(",")[0].split(" to "))
    assert low < high < 0  # logit-normal times around 1/2: the noisy half is below 0
    assert not any(module._forward_hooks for n, module in net.named_modules() if n != name)


def test_weights_and_gradients_are_named() -> None:
    net, objective, batch = parts()
    with torch.no_grad():
        net.leave.bias[0] = math.nan
    assert (
        blame(objective, objective.schedule, net, batch, 0, 0)
        == "the weights of leave.bias are not finite any more"
    )
    net, objective, batch = parts()
    net.enter.weight.register_hook(lambda gradient: gradient * math.nan)
    assert "gradient is not finite, first in enter.weight" in blame(
        objective, objective.schedule, net, batch, 0, 0
    )
    assert all(p.grad is None for p in net.parameters())
    net, objective, batch = parts()
    assert "finite again" in blame(objective, objective.schedule, net, batch, 0, 0)


class Mean(nn.Module):
    """Predicts one vector for everything, so that gradients are known in closed form."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.m = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        return self.m.expand_as(x)


class Distance:
    """|m - x0|^2: the gradient of a row is 2 (m - x0), its mean 2 (m - mu), its covariance 4 s^2 I."""

    def __init__(self, net: Mean) -> None:
        self.net = net

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        return (self.net(x0) - x0).square().sum(1)


@pytest.mark.parametrize(("mu", "s"), [(1.0, 2.0), (0.5, 1.0)])
def test_the_noise_scale_is_variance_over_squared_gradient(mu: float, s: float) -> None:
    """tr(Sigma) / |G|^2 = 4 d s^2 / (4 d mu^2) = (s / mu)^2."""
    dim, generator = 10, torch.Generator().manual_seed(0)
    net = Mean(dim)
    batches = [Batch(mu + s * torch.randn(64, dim, generator=generator)) for _ in range(200)]
    found = gradient_noise_scale(Distance(net), net, batches)  # type: ignore[arg-type]
    assert found == pytest.approx((s / mu) ** 2, rel=0.05)
    assert net.m.grad is None and net.training


def test_no_number_where_there_is_no_signal() -> None:
    net = Mean(4)
    x = torch.randn(64, 4)
    centred = x - x.mean(0)
    assert gradient_noise_scale(Distance(net), net, [Batch(centred)]) is None  # type: ignore[arg-type]
    assert gradient_noise_scale(Distance(net), net, [Batch(x[:8])]) is None  # type: ignore[arg-type]
