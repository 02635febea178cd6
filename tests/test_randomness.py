"""Noise is a pure function of its key, as good as a generator, and never changes."""

import math

import pytest
import torch
from helpers_golden import close
from torch import Tensor

from mezzotint import randomness as module
from mezzotint.randomness import GOLDEN, bits, noise, uniform

SEEDS = torch.tensor([0, 1, 7, 8, -1, 2**32, 2**32 + 7, 2**63 - 1, -(2**63), 123456789])

FROZEN_BITS = [[2391539541053276776, 920862675595841680], [3167992149630043406, 3808983650526223041]]
FROZEN_UNIFORM = [[0.12964561829974752, 0.049920065672091396], [0.17173719855229586, 0.20648541744311488]]
FROZEN_NOISE = [
    [-0.3911857008934021, -0.2660965919494629, -0.16452519595623016],
    [0.14123179018497467, -1.8182011842727661, -0.40472403168678284],
]


def _numbers(*values: int) -> Tensor:
    return torch.tensor([value - 2**64 if value >= 2**63 else value for value in values])


def _splitmix(z: int) -> int:
    """splitmix64's finalizer on unsigned Python integers."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def _expected_bits(seed: int, step: int, draw: int, count: int) -> list[int]:
    golden = 0x9E3779B97F4A7C15
    key = _splitmix((seed + golden) % 2**64)
    for part in (step, draw):
        key = _splitmix((key + part + golden) % 2**64)
    return [_splitmix((key + i * golden) % 2**64) for i in range(1, count + 1)]


def test_the_hash_is_splitmix64() -> None:
    # The first outputs of the published generator from state 0.
    known = _numbers(0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)
    assert torch.equal(module._mix(torch.arange(1, 4) * GOLDEN), known)


@pytest.mark.parametrize(("step", "draw"), [(0, 0), (1, 0), (0, 1), (999, 3), (-5, 2**40)])
def test_bits_equal_unsigned_arithmetic(step: int, draw: int) -> None:
    expected = torch.stack(
        [_numbers(*_expected_bits(int(seed) % 2**64, step % 2**64, draw, 9)) for seed in SEEDS]
    )
    assert torch.equal(bits(SEEDS, step, draw, 9), expected)
    assert torch.equal(bits(SEEDS, torch.full_like(SEEDS, step), draw, 9), expected)


def test_the_stream_never_changes() -> None:
    """Frozen: whoever changes these numbers changes every picture of every seed that people have written down."""
    seeds = torch.tensor([0, 7])
    assert bits(seeds, 0, 0, 2).tolist() == FROZEN_BITS
    assert torch.equal(uniform(seeds, 0, 0, 2), torch.tensor(FROZEN_UNIFORM, dtype=torch.float64))
    assert torch.equal(noise(seeds, 3, 1, (3,)), torch.tensor(FROZEN_NOISE))


@pytest.mark.parametrize("shape", [(1,), (2,), (3,), (17,), (1, 5, 7), (3, 8, 8), (1, 28, 28), (3, 30, 41)])
def test_alone_as_in_any_batch(shape: tuple[int, ...]) -> None:
    together = noise(SEEDS, torch.arange(10), 2, shape)
    assert together.shape == (10, *shape) and together.dtype == torch.float32 and together.isfinite().all()
    for i in range(10):
        assert torch.equal(noise(SEEDS[i : i + 1], i, 2, shape)[0], together[i])
    assert torch.equal(noise(SEEDS[3:8], torch.arange(3, 8), 2, shape), together[3:8])
    assert torch.equal(noise(SEEDS, torch.arange(10), 2, shape), together)  # no state


def test_every_part_of_the_key_matters() -> None:
    keys = [
        (7, 1, 0),
        (8, 0, 0),
        (7, 0, 1),
        (7, 0, 0),
        (1, 7, 0),
        (0, 7, 1),
        (0, 8, 0),
        (7, 1, 1),
        (0, 0, 7),
        (-7, 1, 0),
        (0, 1, 7),
    ]
    keys += [(7 + 2**bit, 1, 0) for bit in range(63)]
    drawn = torch.stack([noise(torch.tensor([seed]), step, draw, (64,))[0] for seed, step, draw in keys])
    correlation = torch.corrcoef(drawn).fill_diagonal_(0)
    assert correlation.abs().max() < 0.6  # 64 numbers each, 2,701 pairs: 0.5 is expected of the largest
    assert len(drawn.unique(dim=0)) == len(keys)


def test_all_64_bits_of_the_seed_are_used() -> None:
    for bit in range(64):
        other = torch.tensor([7 ^ (1 << bit if bit < 63 else -(2**63))])
        flipped = bits(torch.tensor([7]), 0, 0, 256) ^ bits(other, 0, 0, 256)
        share = sum((flipped >> i & 1).sum() for i in range(64)) / (256 * 64)
        assert abs(share - 0.5) < 0.02, (
            bit
        )  # each of 16,384 bits changes with probability one half: 5 standard errors


def test_uniform_numbers_lie_in_the_open_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    u = uniform(torch.arange(100), 0, 0, 10_000).flatten()
    assert u.dtype == torch.float64 and 0 < u.min() < 1e-5 and 1 - 1e-5 < u.max() < 1
    assert _kolmogorov(u) < 1.95
    for extreme, value in ((0, 2.0**-53), (-1, 1 - 2.0**-53)):  # all bits 0, all bits 1
        monkeypatch.setattr(
            module, "bits", lambda seed, step, draw, count, b=extreme: torch.full((1, count), b)
        )
        assert uniform(torch.tensor([0]), 0, 0, 2).tolist() == [[value, value]]
        assert noise(torch.tensor([0]), 0, 0, (4,)).isfinite().all()


def _kolmogorov(u: Tensor) -> float:
    """sqrt(n) times the distance of the empirical distribution from the uniform one; above 1.95 once in a thousand."""
    n = len(u)
    ordered, steps = u.sort().values, torch.arange(n + 1, dtype=torch.float64) / n
    return float(torch.maximum((steps[1:] - ordered).max(), (ordered - steps[:-1]).max())) * math.sqrt(n)


@pytest.mark.parametrize("by", ["seed", "step", "draw", "element"])
def test_normal_whatever_is_counted(by: str) -> None:
    """A million numbers along each part of the key: moments to 4 standard errors, and Kolmogorov's test."""
    n = 1_000_000
    counter = torch.arange(n // 4)
    z = {
        "seed": lambda: noise(counter, 5, 0, (4,)),
        "step": lambda: noise(torch.full_like(counter, 5), counter, 0, (4,)),
        "draw": lambda: torch.cat([noise(torch.arange(50), 5, draw, (400,)) for draw in range(50)]),
        "element": lambda: noise(torch.tensor([5, 6]), 0, 0, (n // 2,)),
    }[by]().double()
    assert z.numel() == n
    for power, moment, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(z.pow(power).mean() - moment) < 4 * math.sqrt(variance / n), power
    assert _kolmogorov(torch.special.ndtr(z.flatten())) < 1.95
    assert 4.5 < z.abs().max() < 6.5


def test_neighbours_are_uncorrelated() -> None:
    seeds = torch.arange(400)
    z = torch.stack(
        [noise(seeds, step, 0, (250,)) for step in range(3)] + [noise(seeds, 0, 1, (250,))]
    ).double()
    limit = 4 / math.sqrt(z[0].numel())
    pairs = {
        "seeds": (z[:, :-1], z[:, 1:]),
        "steps": (z[:2], z[1:3]),
        "draws": (z[0], z[3]),
        "a seed and a step": (z[0, 1:], z[1, :-1]),
        "elements": (z[..., :-1], z[..., 1:]),
        "halves": (z[..., :125], z[..., 125:]),
    }
    for name, (a, b) in pairs.items():
        assert abs((a * b).mean()) < limit, name
        assert abs(((a**2 - 1) * (b**2 - 1)).mean()) < 2 * limit, name  # Box and Muller share a radius
    close(z.std(), torch.tensor(1.0, dtype=torch.float64), atol=0.01)
