"""The Fréchet distance against closed forms, the reference and another implementation; the line in 1/n; the interval."""

import math

import pytest
import torch
from helpers_golden import golden
from torch import Tensor, nn
from torchmetrics.image.fid import FrechetInceptionDistance

from mezzotint.evaluate.metrics.frechet import Moments, frechet_distance, frechet_infinity


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, generator: torch.Generator) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


def exact(mean: Tensor, covariance: Tensor) -> Moments:
    return Moments(10**9, mean, covariance * (10**9 - 1))


class Features(nn.Module):
    """Stands where torchmetrics expects a network."""

    num_features = 12

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_moments_in_chunks_and_by_processes() -> None:
    x = 1e6 + randn(300, 5, generator=draw())
    whole, other = Moments.of(x[i : i + 7] for i in range(0, 200, 7)), Moments.of(x[203:])
    whole.merge(other)
    together = torch.cat([x[:203], x[203:]])
    assert whole.n == 300
    torch.testing.assert_close(whole.mean, together.mean(0), rtol=1e-14, atol=0)
    torch.testing.assert_close(whole.covariance, together.T.cov(), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("d", [2, 8, 32])
def test_the_reference(d: int) -> None:
    numbers = golden("networks")
    a, b = (exact(numbers[f"frechet__d{d}__mu{i}"], numbers[f"frechet__d{d}__cov{i}"]) for i in (1, 2))
    assert frechet_distance(a, b) == pytest.approx(float(numbers[f"frechet__d{d}__value"]), rel=1e-10)


def test_the_reference_with_fewer_pictures_than_features() -> None:
    numbers = golden("networks")
    a, b = (Moments.of(numbers[f"frechet__rankdef__{name}"]) for name in "xy")
    x, y = (
        (z - z.mean(0)) / math.sqrt(len(z) - 1)
        for z in (numbers[f"frechet__rankdef__{name}"] for name in "xy")
    )
    # the trace of the root is that of the singular values of x y', which no covariance has rounded
    root = torch.linalg.svdvals(x @ y.T).sum()
    exactly = (a.mean - b.mean).square().sum() + x.square().sum() + y.square().sum() - 2 * root
    assert frechet_distance(a, b) == pytest.approx(float(exactly), rel=1e-13)
    assert frechet_distance(a, b) == pytest.approx(float(numbers["frechet__rankdef__value_eig"]), rel=1e-8)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-12)


def test_torchmetrics() -> None:
    generator = draw(1)
    x, y = (
        randn(60, 12, generator=generator),
        0.3 + randn(80, 12, generator=generator) @ randn(12, 12, generator=generator),
    )
    theirs = FrechetInceptionDistance(feature=Features()).set_dtype(torch.float64)
    theirs.update(y.view(80, 3, 2, 2), real=True)
    theirs.update(x.view(60, 3, 2, 2), real=False)
    assert frechet_distance(Moments.of(x), Moments.of(y)) == pytest.approx(float(theirs.compute()), rel=1e-6)


def test_where_covariances_commute() -> None:
    """|a - b|^2 + sum (sqrt(lambda) - sqrt(mu))^2; singular ones lose no digits."""
    turn, _ = torch.linalg.qr(randn(6, 6, generator=draw()))
    first, second = (
        torch.tensor([4.0, 1, 1e-6, 9, 0, 0]).double(),
        torch.tensor([1.0, 1, 4, 0, 16, 0]).double(),
    )
    a, b = (
        exact(torch.full((6,), m), turn @ torch.diag(v) @ turn.T) for m, v in ((0.0, first), (0.5, second))
    )
    expected = 6 * 0.25 + float((first.sqrt() - second.sqrt()).square().sum())
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-12)
    assert frechet_distance(b, a) == pytest.approx(expected, rel=1e-12)


def test_real_against_real_is_not_zero_but_c_over_n() -> None:
    """Of N(0, I) against itself, d (1 + (d + 1) / 4) (1 / n + 1 / m) to the first order: |a - b|^2 gives d, and
    sum_ij E_ij^2 / 4 the rest, at n = 500, 2,000 and 10,000. The extrapolated distance is 0 at every n."""
    d, generator = 8, draw(2)
    for n, times in ((500, 24), (2000, 12), (10000, 4)):
        pairs = [(randn(n, d, generator=generator), randn(n, d, generator=generator)) for _ in range(times)]
        plain = [frechet_distance(Moments.of(x), Moments.of(y)) for x, y in pairs]
        expected = d * (1 + (d + 1) / 4) * 2 / n
        assert sum(plain) / times == pytest.approx(expected, rel=0.2)
        infinite = [frechet_infinity(x, y) for x, y in pairs]
        assert abs(sum(one.value for one in infinite) / times) < 0.2 * expected
        assert sum(one.low < 0 < one.high for one in infinite) >= times - 3


@pytest.mark.parametrize("shift", [0.0, 0.15, 1.0])
@pytest.mark.parametrize(
    ("d", "n", "m", "kind"),
    [(2, 200, 400, "normal"), (32, 160, 200, "normal"), (8, 600, None, "exponential")],
)
def test_the_interval_covers(d: int, n: int, m: int | None, shift: float, kind: str) -> None:
    """The closed form, in 90 to 99 % of 200 cases; the extrapolated distance is right on average."""
    generator = draw(3)
    sizes = torch.arange(1, d + 1, dtype=torch.float64) ** -0.5

    def sample(count: int) -> Tensor:
        if kind == "normal":
            return randn(count, d, generator=generator) * sizes
        u = torch.rand(count, d, dtype=torch.float64, generator=generator)
        return (-(-u).log1p() - 1) * sizes  # mean 0, variance 1, fourth moment 9

    reference = exact(torch.zeros(d), torch.diag(sizes**2))
    gap = torch.full((d,), shift / math.sqrt(d)).double()
    truth = 0.25 * float(sizes.square().sum()) * (shift > 0.5) + shift**2
    wide = 1.5 if shift > 0.5 else 1.0
    found = [
        frechet_infinity(wide * sample(n) + gap, reference if m is None else sample(m)) for _ in range(200)
    ]
    values = torch.tensor([one.value for one in found], dtype=torch.float64)
    assert float(values.mean()) == pytest.approx(truth, abs=5 * float(values.std()) / math.sqrt(200))
    if shift == 0 and d == 32:  # little wider than it must be
        width = sum(one.high - one.low for one in found) / 200
        assert width == pytest.approx(2 * 1.96 * float(values.std()), rel=0.45)
    assert 180 <= sum(one.low <= truth <= one.high for one in found) <= 198


def test_the_order_does_not_matter() -> None:
    """Sets that come class by class: halves must not be of different classes."""
    x, y = randn(400, 4, generator=draw()), randn(400, 4, generator=draw(1))
    x[:200] += 10
    y[200:] += 10
    assert frechet_infinity(x, y).value < 1


def test_features_that_are_always_zero() -> None:
    """As of a dead unit: they change nothing."""
    x, y = 0.5 + randn(400, 4, generator=draw()), randn(400, 4, generator=draw(1))
    found = frechet_infinity(x, y)
    padded = frechet_infinity(*(torch.cat([z, torch.zeros(400, 2)], 1) for z in (x, y)))
    assert tuple(padded) == pytest.approx(tuple(found), rel=1e-9)
    assert frechet_infinity(0 * x, 0 * y) == (0, 0, 0)


def test_errors_say_the_remedy() -> None:
    x = torch.zeros(10, 4)
    with pytest.raises(ValueError, match="different extractors"):
        frechet_distance(Moments.of(x), Moments.of(x[:, :3]))
    with pytest.raises(ValueError, match="different extractors"):
        frechet_infinity(torch.zeros(40, 4), torch.zeros(40, 3))
    with pytest.raises(ValueError, match="take 16 or more"):
        frechet_infinity(x, x)
    with pytest.raises(ValueError, match="not finite"):
        Moments.of(x / 0)
    with pytest.raises(ValueError, match="two features"):
        frechet_distance(Moments.of(x[:1]), Moments.of(x))
