"""AdamW as published, and a learning rate that is a function of the share of the budget."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from mezzotint.train.optim import adamw, learning_rate


def test_the_rate_warms_up_then_falls_along_half_a_cosine() -> None:
    rate = learning_rate(2e-3, warmup=0.1, decay="cosine")
    assert rate(0.0) == 0
    assert rate(0.05) == pytest.approx(1e-3)
    assert rate(0.1) == pytest.approx(2e-3)
    assert rate(0.55) == pytest.approx(1e-3)  # halfway from 0.1 to 1
    assert rate(0.1 + 0.9 / 3) == pytest.approx(2e-3 * 0.75)  # (1 + cos 60 degrees) / 2
    assert rate(1.0) == pytest.approx(0, abs=1e-15)


def test_the_rate_is_continuous_and_has_one_summit() -> None:
    rate = learning_rate(1.0, warmup=0.2, decay="cosine")
    values = [rate(i / 1000) for i in range(1001)]
    assert max(abs(a - b) for a, b in pairwise(values)) < 0.0051
    assert values[:201] == sorted(values[:201]) and values[200:] == sorted(values[200:], reverse=True)


def test_a_constant_rate_stays_at_its_peak() -> None:
    rate = learning_rate(0.3, warmup=0.5, decay="constant")
    assert [rate(s) for s in (0.25, 0.5, 0.75, 1.0)] == [0.15, 0.3, 0.3, 0.3]


def test_no_warm_up_begins_at_the_peak() -> None:
    assert learning_rate(0.3, warmup=0.0, decay="cosine")(0.0) == 0.3


def test_one_step_is_the_papers() -> None:
    """Loshchilov & Hutter 2019, algorithm 2, by hand: the first step is lr (g / |g| + decay w)."""
    net = nn.Linear(2, 1).double()
    weight, bias = net.weight.detach().clone(), net.bias.detach().clone()
    optimizer = adamw(net, lr=0.01, weight_decay=0.1)
    (3 * net.weight.sum() - 2 * net.bias.sum()).backward()
    optimizer.step()
    torch.testing.assert_close(net.weight.detach(), weight - 0.01 * (1 + 0.1 * weight), rtol=0, atol=1e-9)
    torch.testing.assert_close(net.bias.detach(), bias + 0.01, rtol=0, atol=1e-9)  # biases do not decay


def test_every_parameter_is_in_one_group() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Linear(4, 2))
    decays, others = adamw(net, 1e-3, 0.5).param_groups
    assert {id(p) for p in decays["params"]} == {id(net[0].weight), id(net[2].weight)}
    assert {id(p) for p in others["params"]} == {id(p) for p in net.parameters() if p.ndim == 1}
    assert (decays["weight_decay"], others["weight_decay"]) == (0.5, 0.0)
    assert math.isclose(decays["betas"][1], 0.99)
