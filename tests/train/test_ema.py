"""The average of weights is the power-function profile, summed exactly."""

import copy

import numpy as np
import pytest
import torch
from helpers_golden import close, golden
from torch import Tensor, nn

from mezzotint.train.ema import Decay, Ema, gamma_of


def follow(weights: Tensor, length: float) -> Tensor:
    """The average after every update of a network whose weights run through (steps, d)."""
    net = nn.Linear(weights.shape[1], 1, bias=False).double()
    ema, averages = Ema(net, length), []
    for step, weight in enumerate(weights, 1):
        with torch.no_grad():
            net.weight.copy_(weight[None])
        ema.update(net, step)
        averages.append(next(ema.net.parameters())[0].clone())
    return torch.stack(averages)


def test_exponents_equal_the_reference() -> None:
    numbers = golden("networks")
    ours = torch.tensor([gamma_of(float(length)) for length in numbers["phema__std"]], dtype=torch.float64)
    close(ours, numbers["phema__exp"], rtol=1e-9)


@pytest.mark.parametrize("length", [0.01, 0.05, 0.1, 0.2, 0.28])
def test_the_profile_is_as_wide_as_asked(length: float) -> None:
    t = (np.arange(10**6) + 0.5) / 10**6  # share of training
    profile = t ** gamma_of(length)
    mean = (profile * t).sum() / profile.sum()
    width = ((profile * (t - mean) ** 2).sum() / profile.sum()) ** 0.5
    assert width == pytest.approx(length, rel=1e-4)


def test_the_average_equals_the_reference() -> None:
    numbers = golden("networks")  # 60 updates, one every 32 pictures; lengths 0.05, 0.1, 0.2
    for k, length in enumerate((0.05, 0.1, 0.2)):
        close(follow(numbers["phema__params"], length), numbers["phema__ema"][:, k], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("length", [0.05, 0.25])
def test_the_average_is_the_weighted_sum_of_all_weights(length: float) -> None:
    """Weights of step tau count as the integral of s^gamma over the step, s from tau - 1 to tau."""
    steps, gamma = 200, gamma_of(length)
    weights = torch.randn(steps, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    edges = torch.arange(steps + 1, dtype=torch.float64) ** (gamma + 1)
    share = edges.diff() / edges[-1]
    close(follow(weights, length)[-1], share @ weights, rtol=1e-11, atol=1e-13)
    midpoint = (torch.arange(steps, dtype=torch.float64) + 0.5) ** gamma
    close(share, midpoint / midpoint.sum(), rtol=0.01, atol=1e-5)  # that is, tau^gamma


def test_the_first_update_is_a_copy_to_the_bit() -> None:
    net = nn.Linear(5, 3)
    ema = Ema(net, 0.05)
    with torch.no_grad():
        net.weight.normal_()
    ema.update(net, 1)
    assert all(torch.equal(a, b) for a, b in zip(ema.net.parameters(), net.parameters()))


def test_buffers_are_copied_not_averaged() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = Ema(net, 0.05)
    for step in (1, 2, 3):
        net(torch.randn(8, 2))
        ema.update(net, step)
    for mine, theirs in zip(ema.net.buffers(), net.buffers()):
        assert torch.equal(mine, theirs) and mine.data_ptr() != theirs.data_ptr()
    assert int(ema.net[1].num_batches_tracked) == 3


def test_the_copy_is_ready_to_sample_and_leaves_the_network_alone() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    before = copy.deepcopy(net.state_dict())
    ema = Ema(net, 0.1)
    assert not any(p.requires_grad for p in ema.net.parameters())
    assert not any(m.training for m in ema.net.modules())
    assert net.training and all(p.requires_grad for p in net.parameters())
    ema.update(nn.Sequential(nn.Linear(2, 2)), 2)
    assert all(torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_a_constant_decay_warms_up() -> None:
    """beta = min(rate, (step - 1) / (step + 9)): the first update copies, late ones decay at the rate."""
    net = nn.Linear(1, 1, bias=False).double()
    ema, expected = Ema(net, Decay(0.8)), 0.0
    for step in range(1, 80):
        with torch.no_grad():
            net.weight.fill_(step**0.5)
        ema.update(net, step)
        beta = min(0.8, (step - 1) / (step + 9))
        expected = beta * expected + (1 - beta) * step**0.5
        assert float(ema.net.weight) == pytest.approx(expected, rel=1e-12)
        if step == 1:
            assert float(ema.net.weight) == 1.0
    assert Decay(0.8).beta(79) == 0.8 > Decay(0.8).beta(20)
