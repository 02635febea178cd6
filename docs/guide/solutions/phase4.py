"""Solutions to the exercises of phase 4, sampling: `python docs/guide/solutions/phase4.py` prints them all."""

import math
from itertools import pairwise

import torch
from torch import Tensor

import mezzotint
from mezzotint import Gaussian, Mixture, exact_flow
from mezzotint.checking.check import Check, Denoised
from mezzotint.diffusion import solvers
from mezzotint.diffusion.hop import Hop
from mezzotint.diffusion.process import Process, ve, vp
from mezzotint.diffusion.schedule import grid, karras
from mezzotint.randomness import noise

CLEAN = torch.tensor(math.inf, dtype=torch.float64)


def level(value: float) -> Tensor:
    """A logsnr as solvers take it: 0-d float64."""
    return torch.tensor(value, dtype=torch.float64)


def quiet(process: Process) -> Hop:
    """A hop without fresh noise."""
    return Hop(process, level(0.0), lambda draw: torch.zeros(()))


def drawing(z: Tensor) -> Hop:
    """A hop of DDPM (eta = 1, in vp) that draws z."""
    return Hop(vp, level(1.0), lambda draw: z)


def normal(n: int, seed: int = 0) -> Tensor:
    """Standard normal points (n, 2) float64."""
    return noise(seed + torch.arange(n), 0, 0, (2,)).double()


def moons(process: Process, nodes: int = 32) -> Mixture:
    """The exact denoiser of two moons, as on the page."""
    angle = torch.linspace(0, math.pi, nodes, dtype=torch.float64)
    upper = 1.41 * torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    means = torch.cat([upper, -upper])
    return Mixture(
        process, torch.full((2 * nodes,), 0.5 / nodes).double(), means, 0.01 * torch.ones_like(means)
    )


def exercise_4_1() -> float:
    """Does it matter where one stops, if the belief stays the same?

    No. A hop keeps exp(-(t - s) / 2) of y - x0, and exp(-(t - m) / 2) exp(-(m - s) / 2) = exp(-(t - s) / 2). With one
    picture in the data set the belief is always that picture, so one step is as exact as a thousand. Returns the largest
    difference between two hops and one.
    """
    x, x0 = normal(100).chunk(2)
    s, m, t = level(-3.0), level(0.5), level(4.0)
    hop = quiet(vp)
    return float((hop(hop(x, x0, s, m), x0, m, t) - hop(x, x0, s, t)).abs().max())


def exercise_4_2() -> dict[int, tuple[float, float]]:
    """What does DDIM make of the standard deviation of N(0, I), and of which order is the error?

    E[x0 | x] = alpha x / (alpha^2 + sigma^2) = alpha x, so eps = (x - alpha^2 x) / sigma = sigma x, and a hop from angle a
    to angle b multiplies x by cos(b) cos(a) + sin(b) sin(a) = cos(a - b). N steps of equal angle leave cos(pi / 2N)^N =
    1 - pi^2 / 8N + ...: order one. log cos is concave, so for a given N equal angles are the best grid (Jensen). They
    are dense around logsnr 0, much like the even times of the flow. Returns, for each N, the standard
    deviation by the package and in closed form.
    """
    exact = Gaussian(vp, torch.zeros(2).double(), torch.ones(2).double())
    found = {}
    for steps in (5, 10, 20, 40):
        angles = torch.linspace(math.pi / 2, 0, steps + 1, dtype=torch.float64)
        levels = -2 * angles.tan().log()
        levels[0], levels[-1] = -math.inf, math.inf
        x = normal(10)
        end = x
        for s, t in pairwise(levels):
            end = quiet(vp)(end, exact(end, s), s, t)
        found[steps] = (float((end / x).mean()), math.cos(math.pi / 2 / steps) ** steps)
    return found


def exercise_4_3() -> float:
    """Which one belief makes a hop of EDM's trapezoid?

    In ve, eps_s = (x - x0) / sigma_s. The Euler step ends at x' = x0 + sigma_t eps_s, where eps_t = (x' - ahead) / sigma_t
    = eps_s - (ahead - x0) / sigma_t. A hop with belief b moves by (sigma_t - sigma_s) (x - b) / sigma_s, so
    (x - b) / sigma_s = (eps_s + eps_t) / 2 = eps_s - (ahead - x0) / (2 sigma_t), that is
    b = x0 + sigma_s / sigma_t / 2 (ahead - x0), where sigma_s / sigma_t = exp((t - s) / 2). Returns the largest difference
    between EDM's lines and `heun` over a grid.
    """
    exact, levels = moons(ve), torch.linspace(-6, 6, 13, dtype=torch.float64)
    theirs = ours = ve(levels[0])[1] * normal(50)
    for s, t in pairwise(levels):
        now, then = ve(s)[1], ve(t)[1]
        slope = (theirs - exact(theirs, s)) / now
        ahead = theirs + (then - now) * slope
        theirs = theirs + (then - now) * (slope + (ahead - exact(ahead, t)) / then) / 2
        step = solvers.heun(quiet(ve), ours, s, t, None)
        question = next(step)
        question = step.send(exact(question.x, question.level))
        try:
            step.send(exact(question.x, question.level))
        except StopIteration as done:
            ours = done.value[0]
    return float((theirs - ours).abs().max())


def midpoint(denoise: Denoised, x: Tensor, sigmas: Tensor) -> Tensor:
    """The midpoint rule in sigma, on dx/dsigma = (x - x0) / sigma."""
    for s, t in pairwise(sigmas):
        m = (s + t) / 2
        half = x + (m - s) * (x - denoise(x, s)) / s
        x = x + (t - s) * (half - denoise(half, m)) / m
    return x


def misinformed(denoise: Denoised, x: Tensor, sigmas: Tensor) -> Tensor:
    """The same, but in the middle the denoiser is told the sigma of the start."""
    for s, t in pairwise(sigmas):
        m = (s + t) / 2
        half = x + (m - s) * (x - denoise(x, s)) / s
        x = x + (t - s) * (half - denoise(half, s)) / m
    return x


def exercise_4_4() -> tuple[Check, Check]:
    """Is a midpoint rule of order two, and what becomes of it if the denoiser is told a wrong sigma?

    It is. Told the sigma of the start, the denoiser believes that x holds more noise than it does: the belief is off by
    something like the step, in every step, so that the sum is of order one. Pictures would look a bit too smooth, and
    nothing would crash: the order tells. Returns both checks.
    """
    steps = (20, 40, 80, 160)  # fewer than by default, to be quick
    return mezzotint.check(midpoint, order=2, steps=steps), mezzotint.check(misinformed, order=2, steps=steps)


def exercise_4_5() -> dict[str, tuple[float, float]]:
    """Which variance of DDPM is right for N(0, I)?

    The belief alpha_s x makes the posterior's mean k x with k = alpha_s / alpha_t. To keep the variance 1, the fresh noise
    must have variance 1 - k^2. The posterior's is v = sigma_t^2 (1 - exp(s - t)), too small by (sigma_s^2 - sigma_t^2)
    (1 - exp(s - t)): that is alpha_t^2 (1 - exp(s - t))^2 sigma_s^2, the spread sigma_s^2 of x0 given x, which a belief,
    being a mean, forgets. The larger one, v sigma_s^2 / sigma_t^2 = sigma_s^2 (1 - exp(s - t)), is 1 - k^2 exactly. For
    data of one picture it is the other way round (Ho et al. 2020, section 3.2). Returns the variance of 20,000 samples
    after 10 steps from logsnr -6 to 6, and that of the recursion, for both.
    """
    exact = Gaussian(vp, torch.zeros(2).double(), torch.ones(2).double())
    levels, seeds = torch.linspace(-6, 6, 11, dtype=torch.float64), torch.arange(10_000)
    errors = {}
    for name, large in (("ddpm", False), ("ddpm_large", True)):
        x, variance = normal(len(seeds)), 1.0
        for i, (s, t) in enumerate(pairwise(levels)):
            (alpha_s, sigma_s), (alpha_t, sigma_t), fresh = vp(s), vp(t), -torch.expm1(s - t)
            gain = sigma_s / sigma_t if large else 1.0
            z = gain * noise(seeds, i + 1, 0, (2,)).double()
            x = drawing(z)(x, exact(x, s), s, t)
            variance = float((alpha_s / alpha_t) ** 2 * variance + (gain * sigma_t) ** 2 * fresh)
        errors[name] = (float(x.var()), variance)
    return errors


def exercise_4_6() -> dict[str, float]:
    """Where should 8 steps of DDIM stop?

    Half of them between logsnr -2 and 2, where the belief moves. And the stops found are nearly those of `time`, the even
    spacing of the flow, which knew nothing of the moons: data of spread about 1 are decided where signal and noise are
    alike. Returns the median error of each grid.
    """
    exact, fine = moons(vp), torch.linspace(-10, 10, 201, dtype=torch.float64)
    x, beliefs = normal(100, seed=1000), []
    for s, t in pairwise(fine):
        beliefs.append(exact(x, s))
        x = quiet(vp)(x, beliefs[-1], s, t)
    speed = torch.stack(beliefs).diff(dim=0).square().sum(2).mean(1).sqrt()
    share = (vp(fine[1:-1])[0] * speed).sqrt().cumsum(0)
    stops = fine[1:-1][torch.searchsorted(share / share[-1], torch.arange(8) / 8)]
    grids = {"even shares": torch.cat([stops, CLEAN[None]])}
    grids |= {name: grid(name, 8, karras()) for name in ("karras", "logsnr", "time")}
    found = {}
    for name, levels in grids.items():
        end = x = normal(40)
        for s, t in pairwise(levels):
            end = quiet(vp)(end, exact(end, s), s, t)
        truth = exact_flow(exact, x, levels[0], CLEAN, tolerance=1e-6)
        found[name] = float((end - truth).norm(dim=1).median())
    return found


if __name__ == "__main__":
    for number, solve in enumerate(
        (exercise_4_1, exercise_4_2, exercise_4_3, exercise_4_4, exercise_4_5, exercise_4_6), 1
    ):
        print(f"4.{number}:", solve())
