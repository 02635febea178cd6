"""Where do we stop, and where do we turn back?  A grid may go up: an interval towards noise adds fresh noise and costs
no call (`process.renoise`). This one rule makes samplers stochastic, repairs errors, and harmonises inpainting.

Every function takes levels (N + 1,) float64 from noise to clean and returns levels.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor

from mezzotint.diffusion.process import vp


def ancestral(grid: Tensor, eta: float = 1.0) -> Tensor:
    """Makes a sampler stochastic: every stop t becomes "further down, then up to t with fresh noise".

    Further down is t - log(1 - eta^2 + eta^2 exp(s - t)), which is DDPM's posterior for eta = 1 (Ho et al. 2020,
    eq. 7), DDIM's sigma(eta) (Song et al. 2021, eq. 16), and k-diffusion's ancestral step.
    """
    if eta == 0:
        return grid
    stops = [grid[:1]]
    for s, t in pairwise(grid):
        down = t - (1 - eta**2 + eta**2 * (s - t).exp()).log()
        stops.append(t[None] if t == math.inf else torch.stack([down, t]))
    return torch.cat(stops)


def churn(grid: Tensor, amount: float, low: float = 0.0, high: float = math.inf) -> Tensor:
    """EDM's stochasticity (Karras et al. 2022, algorithm 2): before every step from a sigma / alpha in [low, high], up
    to sigma (1 + gamma) with gamma = min(amount / N, sqrt(2) - 1). Their S_noise is the `gain` of `sample`."""
    gamma = min(amount / (len(grid) - 1), math.sqrt(2) - 1)
    stops = []
    for s in grid[:-1]:
        sigma = (-s / 2).exp()
        stops.append(torch.stack([s, s - 2 * math.log1p(gamma)]) if low <= sigma <= high else s[None])
    return torch.cat([*stops, grid[-1:]])


def through_clean(grid: Tensor) -> Tensor:
    """Down to clean and up again at every stop: multistep consistency sampling (Song et al. 2023, algorithm 1)."""
    clean = torch.full_like(grid[:1], math.inf)
    return torch.cat([grid[:1], *(torch.stack([clean[0], t]) for t in grid[1:-1]), clean])


def restart(grid: Tensor, low: float, high: float, times: int) -> Tensor:
    """From the first stop at or below sigma / alpha = `low` back up to `high`, and down again, `times` times (Restart,
    Xu et al. 2023, algorithm 1)."""
    sigma = (-grid / 2).exp()
    if not low < high or not (sigma[:-1] <= low).any() or not sigma[0] >= high:
        raise ValueError(f"restart needs stops at or below {low} and above {high}, from {high} back to {low}")
    turn = int((sigma <= low).nonzero()[0])
    again = torch.cat(
        [torch.tensor([-2 * math.log(high)], dtype=grid.dtype), grid[: turn + 1][sigma[: turn + 1] < high]]
    )
    return torch.cat([grid[: turn + 1], *[again] * times, grid[turn + 1 :]])


def repaint(grid: Tensor, jump: int, times: int) -> Tensor:
    """After every `jump` stops back up by as many, so that each stretch is walked `times` times (RePaint, Lugmayr et
    al. 2022, algorithm 1): what is known and what is invented come to agree. The last stretch, to clean, too."""
    if jump < 1 or times < 1:
        raise ValueError(f"repaint needs jump and times of at least 1, not {jump} and {times}")
    stretches = [grid[i : i + jump + 1] for i in range(0, len(grid) - 1, jump)]
    return torch.cat([grid[:1], *(torch.cat([part[1:], *[part] * (times - 1)]) for part in stretches)])


def inner(grid: Tensor, level: float) -> Tensor:
    """The rest of a grid from a level inside it: to go on from a picture noised to that level (SDEdit, Meng et al. 2022)."""
    if not grid[0] <= level < grid[-1]:
        raise ValueError(f"level {level:g} is outside of the grid, {float(grid[0]):g} to {float(grid[-1]):g}")
    return torch.cat([torch.tensor([level], dtype=grid.dtype), grid[grid > level]])


def shrink(grid: Tensor, share: float) -> Tensor:
    """All stops of a grid below the level at `share` of its way, for pictures that keep some of what they were (SDEdit,
    Meng et al. 2022): every stop's time of the flow, sigma / (alpha + sigma), times the share, 0 < share <= 1. Continuous
    in the share, which no count of steps is; 1 is the grid itself, up to rounding."""
    if not 0 < share <= 1:
        raise ValueError(f"share must be above 0 and at most 1, not {share:g}")
    time = share / (1 + (grid / 2).exp())
    return 2 * torch.log((1 - time) / time)


def fixed_large(grid: Tensor) -> Tensor:
    """The gain (N,) of every interval of an ancestral grid that turns DDPM's posterior variance into beta_t, its "fixed
    large" choice (Ho et al. 2020, section 3.2): sigma_s / sigma_t for fresh noise at t, where the step began at s."""
    gain = torch.ones(len(grid) - 1, dtype=torch.float64)
    begin = grid[0]
    for i, (s, t) in enumerate(pairwise(grid)):
        if t < s:
            gain[i] = vp(begin)[1] / vp(t)[1]
            begin = t
    return gain
