"""Averages made afterwards are those that were not tracked."""

import numpy as np
import pytest
import torch
from helpers_golden import golden
from torch import nn

from mezzotint.train.ema import Ema, gamma_of
from mezzotint.train.posthoc import coefficients, overlap


def test_coefficients_equal_the_reference() -> None:
    numbers = golden("networks")
    steps, lengths = numbers["phema__in_ofs"].numpy(), numbers["phema__in_std"].numpy()
    for k, (step, length) in enumerate(zip(numbers["phema__out_ofs"], numbers["phema__out_std"])):
        ours = coefficients(steps, lengths, float(step), float(length))
        np.testing.assert_allclose(ours, numbers["phema__coefficients"][:, k].numpy(), atol=1e-9)


def test_overlaps_equal_the_reference_and_the_integral() -> None:
    numbers = golden("networks")
    for args, value in zip(numbers["phema__corr__args"].T, numbers["phema__corr__value"]):
        t_a, length_a, t_b, length_b = args.tolist()
        a, b = gamma_of(length_a), gamma_of(length_b)
        ours = float(overlap(np.array(t_a), np.array(a), np.array(t_b), np.array(b)))
        assert ours == pytest.approx(float(value), rel=1e-9)
        tau = (np.arange(400_000) + 0.5) / 400_000 * min(t_a, t_b)
        p_a, p_b = ((g + 1) * (tau / t) ** g / t for g, t in ((a, t_a), (b, t_b)))
        assert ours == pytest.approx((p_a * p_b).mean() * min(t_a, t_b), rel=1e-6)


@pytest.mark.parametrize("length", [0.05, 0.07, 0.1, 0.15, 0.2])
def test_any_length_is_made_from_two(length: float) -> None:
    """A network whose weights wander, a snapshot of two averages every tenth of the way."""
    torch.manual_seed(0)
    net, total = nn.Linear(50, 1, bias=False).double(), 1000
    tracked = [Ema(net, 0.05), Ema(net, 0.1)]
    truth, start = Ema(net, length), net.weight.detach().clone()
    steps: list[int] = []
    lengths: list[float] = []
    snapshots: list[torch.Tensor] = []
    for step in range(1, total + 1):
        with torch.no_grad():
            net.weight += 0.05 * torch.randn_like(net.weight) + 0.01
        for ema in (*tracked, truth):
            ema.update(net, step)
        if step % 100 == 0:
            for ema, each in zip(tracked, (0.05, 0.1)):
                steps.append(step)
                lengths.append(each)
                snapshots.append(ema.net.weight.detach().clone())
    share = coefficients(steps, lengths, total, length)
    made = sum(float(c) * s for c, s in zip(share, snapshots))
    change = (truth.net.weight - start).norm()
    assert float((made - truth.net.weight).norm() / change) < 0.01
    assert share.sum() == pytest.approx(1)
