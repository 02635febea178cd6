"""Is this sampler right?  `check` measures anybody's sampler against exact solutions.

    mezzotint.check("dpmpp_2m")                       one of ours
    mezzotint.check(k_diffusion.sampling.sample_lms)  or anything called as sampler(denoise, x, sigmas) -> x

That call is the one protocol, in EDM's words: x (B, d) float64 is x0 + sigmas[0] eps; sigmas (N + 1,) float64 fall, the
last one above 0; denoise(x, sigma) is E[x0 | x], with sigma one number or (B,); the answer is x at sigmas[-1].
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from mezzotint import plots
from mezzotint.cond import Cond
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.exact import Gaussian, Mixture, exact_flow
from mezzotint.diffusion.process import Process, ve, vp
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.randomness import noise

Denoised = Callable[[Tensor, Tensor], Tensor]  # (x (B, d), sigma: one number or (B,)) -> x0 (B, d)
AnySampler = Callable[[Denoised, Tensor, Tensor], Tensor]  # (denoise, x, sigmas (N + 1,)) -> x at sigmas[-1]

# sigma 12 to 0.08, where all the shape of a mixture is made
NOISIEST_LOGSNR, CLEANEST_LOGSNR = -5.0, 5.0
STEPS = (10, 20, 40, 80, 160, 320)
START_UP_STEPS = 16
MIN_ERROR = 1e-10  # errors below are rounding, and the exact flow's own
MAX_ORDER_GAP = 0.15  # of a measured order to the declared one
SAMPLES = 20_000
MAX_STANDARD_ERRORS = 4.0  # of a stochastic sampler's mean or covariance


@dataclass(frozen=True)
class Check:
    """What was measured.

    steps, calls: of every run, the equal steps N and their network calls. errors: the root mean square distance from
    the exact flow, in the unit of the data; of a stochastic sampler the largest deviation of mean and covariance of
    its samples, in standard errors. declared: the order that was promised, or None.
    """

    name: str
    steps: tuple[int, ...]
    calls: tuple[int, ...]
    errors: tuple[float, ...]
    declared: int | None
    stochastic: bool

    def _errors_above_rounding(self) -> list[tuple[int, float]]:
        """Runs whose error is not rounding; one that is NaN or infinite is seen."""
        return [(n, error) for n, error in zip(self.steps, self.errors) if not error <= MIN_ERROR]

    @property
    def order(self) -> float:
        """The error falls like N^-order: the slope over the last three runs. NaN if there are too few, or stochastic."""
        last = self._errors_above_rounding()[-3:]
        if self.stochastic or len(last) < 2 or not all(math.isfinite(error) for _, error in last):
            return math.nan
        (n, error), (more, less) = last[0], last[-1]
        return math.log(error / less) / math.log(more / n)

    @property
    def ever_worse(self) -> bool:
        """Did more steps ever raise the error?"""
        return any(not b < a for (_, a), (_, b) in pairwise(self._errors_above_rounding()))

    @property
    def passed(self) -> bool:
        if self.stochastic:
            return self.errors[-1] < MAX_STANDARD_ERRORS
        near = self.declared is None or abs(self.order - self.declared) < MAX_ORDER_GAP
        return near and not self.ever_worse and math.isfinite(self.order)

    @property
    def verdict(self) -> str:
        """One line."""
        if self.stochastic:
            return (
                f"{'right' if self.passed else 'WRONG'}: at {self.steps[-1]} steps, mean and covariance are off by "
                f"{self.errors[-1]:.1f} standard errors of {MAX_STANDARD_ERRORS:g} allowed"
            )
        declared = "" if self.declared is None else f", declared {self.declared}"
        worse = "; more steps raised the error" if self.ever_worse else ""
        return f"{'right' if self.passed else 'WRONG'}: measured order {self.order:.2f}{declared}{worse}"

    def __str__(self) -> str:
        what = "deviation" if self.stochastic else "error"
        lines = [f"{n:>6} {c:>6}  {e:.2e}" for n, c, e in zip(self.steps, self.calls, self.errors)]
        return "\n".join([f"{self.name}: {self.verdict}", f"{'steps':>6} {'calls':>6}  {what}", *lines])

    __repr__ = __str__

    def plot(self) -> Image.Image:
        """Error against network calls."""
        what = "largest deviation, standard errors" if self.stochastic else "error, root mean square"
        series: dict[str, tuple[Sequence[float], Sequence[float]]] = {self.name: (self.calls, self.errors)}
        if self.stochastic:
            series["allowed"] = (self.calls, (MAX_STANDARD_ERRORS,) * len(self.calls))
        elif self.declared is not None:
            slope = tuple(self.errors[-1] * (self.calls[-1] / c) ** self.declared for c in self.calls)
            series[f"order {self.declared}"] = (self.calls, slope)
        return plots.curves(
            series, xlabel="network calls", ylabel=what, title=self.verdict, logx=True, logy=True
        )

    def save(self, path: str | Path) -> None:
        """The plot as a PNG, with the numbers in a text chunk."""
        numbers = {"steps": self.steps, "calls": self.calls, "errors": self.errors, "verdict": self.verdict}
        plots.save_png(self.plot(), path, {"name": self.name, **numbers})

    def _repr_png_(self) -> bytes | None:
        """What a notebook shows."""
        return self.plot()._repr_png_()


def check(
    sampler: str | AnySampler,
    *,
    order: int | None = None,
    stochastic: bool = False,
    process: Process = vp,
    seed: int = 0,
    steps: tuple[int, ...] = STEPS,
) -> Check:
    """Measures a sampler against exact solutions that are drawn from `seed`.

    sampler: a name of the table of samplers, or anybody's (the protocol is at the top of this file; `from_diffusers`
    makes one of a scheduler). order, stochastic: what is promised; names know theirs. process: in which one of ours
    runs, for names. Deterministic samplers solve the probability-flow ODE of a mixture of Gaussians on grids uniform
    in logsnr, from -5 to 5; stochastic ones draw 20,000 samples of a Gaussian. Raises ValueError for an unknown name.
    """
    if isinstance(sampler, str):
        name, run = sampler, ours(sampler, process, seed)
        order, stochastic = SAMPLERS[name].order, SAMPLERS[name].stochastic
    else:
        name, run = getattr(sampler, "__name__", type(sampler).__name__), sampler
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)  # for samplers that draw from the global generator
        measure = _deviation if stochastic else _distance
        calls, errors = zip(*(measure(run, n, seed) for n in steps))
    return Check(name, tuple(steps), calls, errors, order, stochastic)


def ours(name: str, process: Process = vp, seed: int = 0) -> AnySampler:
    """A row of the table of samplers in the protocol of `check`, run in any process; picture i has seed + i."""
    if name not in SAMPLERS:
        raise ValueError(f"there is no sampler {name!r}; there are {', '.join(SAMPLERS)}")
    row = SAMPLERS[name]

    def run(denoise: Denoised, x: Tensor, sigmas: Tensor) -> Tensor:
        levels = -2 * sigmas.log()
        stops = row.stops(levels)
        if stops[-1] != levels[-1]:
            raise ValueError(
                f"{name} is for consistency models, which predict the end of the flow, not E[x0 | x]: "
                "there is no order to check"
            )
        seeds = seed + torch.arange(len(x))

        def believe(x: Tensor, level: Tensor, cond: Cond) -> Tensor:
            return denoise(x / process(level[0])[0], (-level[0] / 2).exp())

        def draw(interval: int, draw: int) -> Tensor:
            return noise(seeds, interval + 1, draw, x.shape[1:]).to(x.dtype)

        *_, end = alone(believe, row.walk(process, process(levels[0])[0] * x, stops, draw))
        return end.x / process(levels[-1])[0]

    return run


def even_grid(steps: int) -> Tensor:
    """Sigmas uniform in logsnr between finite ends, with an exact start-up: (steps + START_UP_STEPS,) float64.

    Methods that remember earlier answers begin without any, at a lower order than theirs. So the first of the equal
    steps is cut into START_UP_STEPS, growing like j^4 from a 65,000th of it: too short for the first orders to matter.
    """
    levels = torch.linspace(NOISIEST_LOGSNR, CLEANEST_LOGSNR, steps + 1, dtype=torch.float64)
    first = (torch.arange(START_UP_STEPS, dtype=torch.float64) / START_UP_STEPS) ** 4
    return (-torch.cat([levels[0] + first * (levels[1] - levels[0]), levels[1:]]) / 2).exp()


def fresh_mixture(process: Process, seed: int) -> Mixture:
    """Three full-covariance Gaussians in the plane, of variance about 1 together, drawn from the seed."""
    return Mixture(process, *_draw_gaussians(seed, 3))


def _draw_gaussians(seed: int, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Weights (K,), means (K, 2) and covariances (K, 2, 2)."""
    draw = torch.Generator().manual_seed(seed)
    root = 0.3 * torch.randn(count, 2, 2, dtype=torch.float64, generator=draw)
    means = torch.randn(count, 2, dtype=torch.float64, generator=draw)
    weights = torch.rand(count, dtype=torch.float64, generator=draw) + 0.2
    return weights / weights.sum(), means, root @ root.mT + 0.05 * torch.eye(2, dtype=torch.float64)


@cache
def exact_ends(seed: int) -> tuple[Tensor, Tensor]:
    """64 points at the noisiest level of a fresh mixture, and where its exact flow carries them at the cleanest; x0 + sigma eps."""
    high, low = (torch.tensor(level, dtype=torch.float64) for level in (NOISIEST_LOGSNR, CLEANEST_LOGSNR))
    z = torch.randn(64, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    x = ve(high)[1] * z
    return x, exact_flow(fresh_mixture(ve, seed), x, high, low)


def _count_calls(exact: Mixture, calls: list[int]) -> Denoised:
    """The exact denoiser by sigma, which counts its calls."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        calls[0] += 1
        return exact(x, -2 * torch.as_tensor(sigma, dtype=torch.float64).log())

    return denoise


def _distance(run: AnySampler, steps: int, seed: int) -> tuple[int, float]:
    """Network calls of the equal steps (a start-up's are left out), and the error at the end."""
    calls, (x, end), sigmas = [0], exact_ends(seed), even_grid(steps)
    answer = run(_count_calls(fresh_mixture(ve, seed), calls), x, sigmas)
    return round(calls[0] * steps / (len(sigmas) - 1)), float((answer - end).square().mean().sqrt())


def _deviation(run: AnySampler, steps: int, seed: int) -> tuple[int, float]:
    """Network calls, and how far mean and covariance are from the Gaussian's, in standard errors: sqrt(C_ii / n) of a
    mean, sqrt((C_ii C_jj + C_ij^2) / n) of a covariance."""
    _, (mean,), (covariance,) = _draw_gaussians(seed, 1)
    exact, eye = Gaussian(ve, mean, covariance), torch.eye(2, dtype=torch.float64)
    levels = torch.linspace(NOISIEST_LOGSNR, CLEANEST_LOGSNR, steps + 1, dtype=torch.float64)
    sigmas = (-levels / 2).exp()
    z = noise(seed + torch.arange(SAMPLES), 0, 0, mean.shape).double()
    calls = [0]
    x = mean + z @ torch.linalg.cholesky(covariance + sigmas[0] ** 2 * eye).T
    answer = run(_count_calls(exact, calls), x, sigmas)
    expected = covariance + sigmas[-1] ** 2 * eye
    variance = expected.diag()
    off_mean = (answer.mean(0) - mean).abs() / (variance / SAMPLES).sqrt()
    off = (answer.T.cov() - expected).abs() / ((variance.outer(variance) + expected**2) / SAMPLES).sqrt()
    return calls[0], float(torch.cat([off_mean, off.flatten()]).max())
