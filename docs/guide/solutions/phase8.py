"""Solutions to the exercises of phase 8: `python docs/guide/solutions/phase8.py` prints all answers."""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from mezzotint import Batch, Denoiser, Gaussian, Mixture
from mezzotint.diffusion import parameterization
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.flowmap import share
from mezzotint.diffusion.process import flow
from mezzotint.diffusion.schedule import grid, linear_time
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.evaluate.points import energy_distance
from mezzotint.nets.mlp import MLP
from mezzotint.randomness import noise
from mezzotint.train import Ema, State, adamw, learning_rate, train
from mezzotint.train.consistency import ConsistencyLoss


def draw(denoise: Denoise, steps: int, sampler: str, z: Tensor) -> Tensor:
    """Ends (n, d) of the walks that begin at the noise z (n, d); fresh noise is that of seeds 0, 1, ..."""
    stops, seeds = SAMPLERS[sampler].stops(grid("time", steps, linear_time)), torch.arange(len(z))
    walk = SAMPLERS[sampler].walk(
        flow, z, stops, lambda i, k: noise(seeds, i + 1, k, z.shape[1:]).to(z.dtype)
    )
    *_, last = alone(denoise, walk)
    return last.x


def exercise_8_1(steps: int = 8, variance: float = 1.0) -> tuple[float, float]:
    """A Gaussian's belief is v y / (v + s^2). The hop of phase 4, y_t = x0 + (t / s) (y_s - x0) with t and s for sigma /
    alpha, gives y_t = y_s (v + s t) / (v + s^2). So a walk multiplies the noise by the product of these, and the variance
    at the end is its square. The first step begins at s = inf, where y / s is the noise itself: it ends at y = t times the noise.

    Returns the variance by the formula and of samples.
    """
    s = (-grid("time", steps, linear_time) / 2).exp().tolist()
    factor = s[1]
    for begin, end in pairwise(s[1:]):
        factor *= (variance + begin * end) / (variance + begin**2)
    zero = torch.zeros(1, dtype=torch.float64)
    z = torch.randn(4000, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = z / z.square().mean().sqrt()  # of variance 1 exactly: what is left is rounding
    samples = draw(Gaussian(flow, zero, zero + variance), steps, "ddim", z)
    return factor**2, float(samples.square().mean())


def exercise_8_2(steps: int = 8) -> tuple[Tensor, Tensor]:
    """Rises add up: hop i has the weight (R_i+1 - R_i) / (R_t - R_0), and the weights sum to 1. Beliefs of high noise hardly
    count, since R hardly moves there. To clean, R_t is infinite, and the last belief has all the weight: a student of one call
    learns what the teacher believes at the last stop of its walk.

    Returns the weights up to the last stop before clean (steps - 1,), and those of the whole walk (steps,).
    """
    levels = grid("time", steps, linear_time)
    return weights(levels[:-1]), weights(levels)


def weights(levels: Tensor) -> Tensor:
    """The weight of every hop of a walk over levels (N + 1,) in the belief of the one hop that does the same: (N,) float64,
    by the identity alone: adding a hop leaves `share` of the weight to all before it."""
    found = torch.ones(1, dtype=torch.float64)
    for m, t in pairwise(levels[1:]):
        w = share(levels[0], m, t)
        found = torch.cat([found * w, (1 - w)[None]])
    return found


def moons(nodes: int = 32) -> Mixture:
    """The exact denoiser of two moons."""
    angle = torch.linspace(0, math.pi, nodes, dtype=torch.float64)
    upper = 1.41 * torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], dim=1)
    means = torch.cat([upper, -upper])
    even = torch.full((2 * nodes,), 0.5 / nodes, dtype=torch.float64)
    return Mixture(flow, even, means, 0.01 * torch.ones_like(means))


def exercise_8_3(taught: bool, steps: int = 300) -> tuple[float, ...]:
    """Energy distances of 2,000 samples by 1, 2 and 4 calls to real points. taught: whether the exact denoiser says how x
    moves from s to m; else picture and noise do, and that is right on average only: the student pays for it with noise in what it learns.
    """
    exact, random = moons(), torch.Generator().manual_seed(0)

    def points(n: int) -> Tensor:
        which = torch.randint(len(exact.means), (n,), generator=random)
        return exact.means[which] + 0.1 * torch.randn(n, 2, dtype=torch.float64, generator=random)

    def batches() -> Iterator[Batch]:
        while True:
            yield Batch(points(128).float())

    torch.manual_seed(0)
    net = MLP(width=64, depth=2)
    state = State(net, adamw(net), Ema(net, 0.1))
    loss = ConsistencyLoss(Denoiser(net, flow, parameterization.velocity), exact if taught else None)
    for _ in train(loss, state, batches(), until=steps, lr=learning_rate(4e-3)):
        pass
    student, real = Denoiser(state.ema.net.eval(), flow, parameterization.velocity), points(4000)
    z = noise(torch.arange(2000), 0, 0, (2,))
    return tuple(
        energy_distance(draw(student, calls, "consistency", z).double(), real) for calls in (1, 2, 4)
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("exercise_8_1:", {steps: exercise_8_1(steps) for steps in (1, 2, 4, 8)})
    print("exercise_8_2:", *exercise_8_2())
    print("exercise_8_3:", {"data alone": exercise_8_3(False), "taught": exercise_8_3(True)})
