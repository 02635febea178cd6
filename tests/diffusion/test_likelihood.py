"""log p under the probability-flow ODE, against exact densities; Hutchinson's estimate; bits a dimension."""

import math

import pytest
import torch
from helpers_golden import close, golden, mixture
from helpers_oracles import exact_denoiser, plain, random_mixture
from torch import Tensor, nn

from mezzotint.cond import Cond
from mezzotint.diffusion import parameterization as p
from mezzotint.diffusion.exact import Mixture
from mezzotint.diffusion.likelihood import Likelihood, bits_per_dim, dequantize, gaussian, log_likelihood
from mezzotint.diffusion.process import Process, flow, ve, vp

CLEAN = torch.tensor(math.inf, dtype=torch.float64)
PROCESSES = [vp, ve, flow]


def _points(count: int, d: int, seed: int = 0) -> Tensor:
    return torch.randn(count, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


# Process, level of the reference's time T, standard deviation of the Gaussian prior there. Pure noise (vpcos, rf) is met
# here at a very low level.
REFERENCES: dict[str, tuple[Process, float, float]] = {
    "ve": (ve, -2 * math.log(80), 80.0),
    "vplin": (vp, -math.log(math.expm1(10.05)), 1.0),
    "vpcos": (vp, -42.0, 1.0),
    "rf": (flow, -42.0, 1.0),
}


@pytest.mark.parametrize(
    ("problem", "name"),
    [("g2", "ve"), ("g2", "vpcos"), ("g4", "rf"), ("g16", "vplin")],
)
def test_equals_the_reference(problem: str, name: str) -> None:
    """log p to 1e-8 with the exact marginal as prior and with a Gaussian one, the integral of div, and the latent."""
    numbers, (process, low, std) = golden("exact"), REFERENCES[name]
    key, exact = f"nll__{problem}__{name}__", mixture(problem, process)
    x0, wanted = numbers[f"nll__{problem}__x"][:8], {k: numbers[key + k][:8] for k in ("xT", "int_div")}
    seen: list[Tensor] = []

    def marginal(x: Tensor, logsnr: Tensor) -> Tensor:
        seen.append(x)
        return exact.log_prob(x, logsnr)

    found = log_likelihood(exact, process, x0, low=low, high=34.0, tolerance=4e-10, prior=marginal)
    close(found.nats, numbers[f"nll__{problem}__logp_data"][:8], atol=1e-8)
    close(found.standard_error, torch.zeros_like(found.nats))
    (x,) = seen
    close(x / std, wanted["xT"] / std, atol=2e-8)
    integral = found.nats - exact.log_prob(x, torch.tensor(low, dtype=torch.float64))
    close(integral, wanted["int_div"], atol=1e-8)
    normal = -0.5 * ((x / std) ** 2).sum(1) - x.shape[1] * math.log(std * math.sqrt(2 * math.pi))
    close(integral + normal, numbers[key + "logp_gauss_prior"][:8], atol=2e-8)


@pytest.mark.parametrize("process", PROCESSES)
@pytest.mark.parametrize("seed", [11, 12])
def test_equals_the_density_of_fresh_mixtures(process: Process, seed: int) -> None:
    exact = random_mixture(process, seed, d=2 + seed % 2)
    x0 = _points(12, 2 + seed % 2, seed)
    found = log_likelihood(exact, process, x0, low=-38.0, high=34.0, tolerance=1e-8)
    close(found.nats, exact.log_prob(x0, CLEAN), atol=1e-6)


@pytest.mark.parametrize("process", PROCESSES)
def test_one_gaussian_in_closed_form(process: Process) -> None:
    """Between finite ends and with the Gaussian prior. The ODE of N(m, C) is linear: along an eigenvector of C it keeps
    (y - m) / sqrt(c + exp(-logsnr)), so the latent and its volume are known without an exact marginal at `low`."""
    low, high = -3.0, 4.0
    m, c = torch.tensor([0.5, -1.0, 0.2]).double(), torch.tensor([2.0, 0.3, 0.01]).double()
    exact = Mixture(process, torch.ones(1).double(), m[None], c.diag()[None])
    x0, level = _points(9, 3), torch.tensor(low, dtype=torch.float64)
    alpha, sigma = process(level)
    stretch = ((c + math.exp(-low)) / (c + math.exp(-high))).sqrt()
    latent = alpha * (m + (x0 - m) * stretch)
    normal = torch.distributions.Normal(0.0, (alpha**2 + sigma**2).sqrt()).log_prob(latent).sum(1)
    found = log_likelihood(exact, process, x0, low=low, high=high, tolerance=1e-9)
    close(found.nats, normal + (alpha * stretch).log().sum(), atol=1e-7)
    close(gaussian(process)(latent, level.expand(9)), normal, atol=1e-12)


def test_a_smaller_tolerance_is_a_smaller_error_at_more_calls() -> None:
    exact, x0 = random_mixture(vp, 5), _points(20, 2)
    errors, calls = [], []
    for tolerance in (1e-4, 1e-6, 1e-8):
        found = log_likelihood(exact, vp, x0, low=-36.0, high=32.0, tolerance=tolerance)
        errors.append(float((found.nats - exact.log_prob(x0, CLEAN)).abs().max()))
        calls.append(found.calls)
    assert errors[0] < 0.1 and errors[1] < errors[0] / 20 and errors[2] < errors[1] / 20
    assert calls[0] < calls[1] < calls[2] < 2500


@pytest.mark.parametrize("process", [ve, flow])
def test_any_network_has_a_density_that_integrates_to_one(process: Process) -> None:
    """A change of variables holds for every denoiser, also one that is the belief about no data at all."""
    torch.manual_seed(3)
    net = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 2)).double()

    def belief(x: Tensor, logsnr: Tensor) -> Tensor:
        y = x / process(logsnr)[0][:, None]
        return net(torch.cat([y, logsnr[:, None] / 4], dim=1))

    side = torch.linspace(-5, 5, 101, dtype=torch.float64)
    grid = torch.cartesian_prod(side, side)
    found = log_likelihood(plain(belief), process, grid, low=-5.0, high=0.5, tolerance=1e-5)
    mass = found.nats.exp().reshape(101, 101) * 0.1**2
    assert max(mass[[0, -1]].max(), mass[:, [0, -1]].max()) < 1e-7  # nothing is beyond the grid
    assert mass.max() > 3e-3  # and the density is far from flat
    close(mass.sum(), torch.tensor(1.0, dtype=torch.float64), atol=5e-5)


def test_hutchinson_is_unbiased_and_knows_its_error() -> None:
    """400 seeds on one picture: the mean within 4 standard errors, and the stated variance the one observed."""
    n, probes, d = 400, 4, 4
    exact = random_mixture(vp, 2, d=d)
    x0 = _points(1, d).expand(n, d)
    found = log_likelihood(
        exact, vp, x0, low=-16.0, high=16.0, tolerance=1e-5, probes=probes, seeds=torch.arange(n)
    )
    truth = log_likelihood(exact, vp, x0[:1], low=-16.0, high=16.0, tolerance=1e-6).nats
    spread = float(found.nats.std())
    assert spread > 0.05  # the picture is not one where the estimate happens to be exact
    assert abs(float(found.nats.mean() - truth)) < 4 * spread / math.sqrt(n)
    stated = float(found.standard_error.square().mean())
    # Relative deviations of the two variances: sqrt(2 / n) and about sqrt(2 / ((probes - 1) n)).
    assert abs(stated / spread**2 - 1) < 4 * math.sqrt(2 / n + 2 / (n * (probes - 1)))


def test_random_signs_are_exact_where_the_jacobian_is_diagonal() -> None:
    """p' J p = tr J for signs p and a diagonal J, so every probe agrees (Rademacher, not normal, probes)."""
    c = torch.tensor([2.0, 0.3, 0.01]).double()
    exact = Mixture(flow, torch.ones(1).double(), torch.zeros(1, 3).double(), c.diag()[None])
    x0 = _points(6, 3)
    alike = log_likelihood(exact, flow, x0, low=-9.0, high=9.0, probes=3, seeds=torch.arange(6))
    close(alike.nats, log_likelihood(exact, flow, x0, low=-9.0, high=9.0).nats, atol=1e-10)
    close(alike.standard_error, torch.zeros(6).double(), atol=1e-12)


CLASSES = [random_mixture(vp, seed, d=4) for seed in (1, 2)]


def _by_class(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
    """Two classes of pictures, each with a mixture of its own."""
    assert cond.label is not None
    return torch.stack([exact(x, logsnr) for exact in CLASSES])[cond.label, torch.arange(len(x))]


@pytest.mark.parametrize("probes", [0, 3])
def test_a_picture_alone_is_the_picture_in_a_batch(probes: int) -> None:
    """Its own steps, condition, probes and error, whoever arrives first."""
    x0, seeds, label = 2 * _points(3, 4).reshape(3, 1, 2, 2), torch.arange(3) + 40, torch.tensor([0, 1, 0])

    def answer(rows: slice) -> Likelihood:
        cond = Cond(label=label[rows])
        return log_likelihood(
            _by_class, vp, x0[rows], cond, low=-12.0, high=14.0, probes=probes, seeds=seeds[rows]
        )

    batch, calls = answer(slice(3)), []
    for i in range(3):
        alone = answer(slice(i, i + 1))
        close(alone.nats, batch.nats[i : i + 1], atol=1e-12)
        close(alone.standard_error, batch.standard_error[i : i + 1], atol=1e-12)
        calls.append(alone.calls)
    assert len(set(calls)) > 1  # they took different numbers of steps,
    assert batch.calls == max(calls)  # and the batch was asked until the slowest had arrived
    if not probes:
        truth = [CLASSES[k].log_prob(x0[i : i + 1], CLEAN) for i, k in enumerate(label.tolist())]
        close(batch.nats, torch.cat(truth), rtol=0.01)


def test_calls_are_counted_and_only_the_rows_on_their_way_are_asked_about() -> None:
    exact, x0 = random_mixture(vp, 5), 3 * _points(8, 2)
    sizes: list[int] = []

    def counted(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        sizes.append(len(x))
        assert logsnr.shape == (len(x),) and logsnr.dtype == torch.float64
        return exact(x, logsnr)

    found = log_likelihood(counted, vp, x0, low=-9.0, high=9.0)
    assert found.calls == len(sizes) and found.calls % 6 == 1  # one to begin with, then six a step
    assert sizes[0] == 8 and sizes[-1] < 8


def test_a_float32_network_in_float32() -> None:
    """The network sees the pictures' dtype and shape; everything else stays in float64."""
    exact = random_mixture(vp, 7, d=4)
    network, x0 = exact_denoiser(exact, p.v), _points(10, 4).reshape(10, 1, 2, 2)
    fine = log_likelihood(network, vp, x0, low=-12.0, high=12.0)

    def watched(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        assert x.dtype == torch.float32 and x.shape[1:] == (1, 2, 2)
        return network(x, logsnr, cond)

    with torch.no_grad():
        coarse = log_likelihood(watched, vp, x0.float(), low=-12.0, high=12.0)
    assert coarse.nats.dtype == torch.float64
    close(coarse.nats, fine.nats, atol=2e-3)
    close(fine.nats, exact.log_prob(x0, torch.tensor(12.0).double()), atol=5e-2)


def _uniform(x: Tensor, logsnr: Tensor) -> Tensor:
    """The belief about dequantized uniform noise: y ~ N(x0, s^2), x0 uniform in +- a, a truncated normal's mean."""
    s, a = (-logsnr / 2).exp()[:, None], 256 / 255
    y = x / vp(logsnr)[0][:, None]
    left, right = (-a - y) / s, (a - y) / s
    density = [(-z.square() / 2).exp() / math.sqrt(2 * math.pi) for z in (left, right)]
    return y + s * (density[0] - density[1]) / (torch.special.ndtr(right) - torch.special.ndtr(left))


def test_uniform_noise_costs_eight_bits() -> None:
    """Bytes, dequantized, under the exact denoiser of uniform noise; by hand, and by the ODE."""
    d = 16
    volume = torch.tensor(d * math.log(2 * 256 / 255), dtype=torch.float64)
    close(bits_per_dim(-volume, d), torch.tensor(8.0, dtype=torch.float64), atol=1e-12)
    images = torch.randint(0, 256, (8, d), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    x0 = dequantize(images, torch.arange(8)).double()
    found = log_likelihood(plain(_uniform), vp, x0, low=-14.0, high=20.0, probes=2, seeds=torch.arange(8))
    close(bits_per_dim(found.nats, d), torch.full((8,), 8.0, dtype=torch.float64), atol=2e-3)


def test_dequantized_bytes_fill_their_bins() -> None:
    images = torch.arange(256).repeat(40).reshape(40, 1, 16, 16).to(torch.uint8)
    seeds = torch.arange(40)
    x0 = dequantize(images, seeds)
    assert x0.dtype == torch.float32 and x0.shape == images.shape
    place = (x0.double() + 1) * 127.5 - images + 0.5  # u again
    assert place.min() > -1e-4 and place.max() < 1 + 1e-4
    assert abs(float(place.mean()) - 0.5) < 4 / math.sqrt(12 * place.numel())
    assert abs(float(place.var()) - 1 / 12) < 0.002
    assert torch.equal(dequantize(images[7:8], seeds[7:8]), x0[7:8])
    assert not torch.equal(dequantize(images[7:8], seeds[8:9]), x0[7:8])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low": 3.0, "high": 1.0}, "low < high"),
        ({"low": -math.inf, "high": 1.0}, "finite"),
        ({"low": -3.0, "high": math.inf}, "finite"),
        ({"low": -3.0, "high": 1.0, "probes": 1}, "0 for the exact trace"),
        ({"low": -3.0, "high": 1.0, "probes": 4}, "seeds"),
    ],
)
def test_mistakes_are_named(options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        log_likelihood(random_mixture(vp, 0), vp, _points(2, 2), **options)  # type: ignore[arg-type]


def test_bytes_are_refused() -> None:
    with pytest.raises(ValueError, match="dequantize"):
        log_likelihood(random_mixture(vp, 0), vp, torch.zeros(2, 2, dtype=torch.uint8), low=-3.0, high=1.0)


@pytest.mark.parametrize("worst", [math.nan, math.inf, -math.inf])
def test_a_broken_denoiser_is_an_error_not_an_endless_loop(worst: float) -> None:
    """From the middle of the way on its answers are not finite."""
    broken = plain(lambda x, logsnr: x * torch.where(logsnr < 0, worst, 0.5)[:, None])
    with pytest.raises(ValueError, match="not finite"):
        log_likelihood(broken, vp, _points(4, 2), low=-9.0, high=9.0)
