"""What people ask of a denoiser: a request for pictures, from the settings they know to a run of the engine."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mezzotint.diffusion.noise import noise
from mezzotint.diffusion.process import Process
from mezzotint.diffusion.sampler import SAMPLERS, Steps, ancestral, sample, start
from mezzotint.diffusion.schedule import Schedule, grid


def request(
    process: Process,
    schedule: Schedule,
    shape: Sequence[int],
    seeds: Tensor,
    *,
    sampler: str,
    steps: int,
    spacing: str,
    eta: float = 0.0,
) -> Steps:
    """One request for len(seeds) things of a shape, ready for `alone` or `together`.

    seeds: (B,) int64 on the device that computes; thing i is a function of seeds[i] alone, whatever the batch. eta:
    fresh noise of samplers that leave it to the user (ddim).
    """
    row = SAMPLERS[sampler]
    stops = ancestral(grid(spacing, steps, schedule), eta if row.fresh is None else row.fresh)
    first = start(process, stops[0], noise(seeds, 0, 0, shape))
    return sample(
        row.solver, process, first, stops, lambda interval, draw: noise(seeds, interval + 1, draw, shape)
    )


def seeds_from(seed: int, count: int, device: torch.device) -> Tensor:
    """The seeds of a request's pictures: seed, seed + 1, ..., (count,) int64, computed on the CPU for all devices."""
    return (torch.arange(count, dtype=torch.int64) + seed).to(device)
