"""New samples from noise: from settings to steps of the engine."""

from collections.abc import Sequence

import torch
from torch import Tensor

from mezzotint.diffusion.process import Process
from mezzotint.diffusion.sampler import Steps
from mezzotint.diffusion.schedule import Schedule
from mezzotint.tasks.task import Task, Way


def generate(
    process: Process,
    schedule: Schedule,
    shape: Sequence[int],
    seeds: Tensor,
    *,
    sampler: str,
    steps: int,
    spacing: str,
    eta: float = 0.0,
    churn: float = 0.0,
) -> Steps:
    """The steps to len(seeds) things of a shape, ready for `alone` or `together`.

    seeds: (B,) int64 on the device that computes; thing i is a function of seeds[i] alone, whatever the batch.
    eta: share of fresh noise; churn: EDM's S_churn; ValueError for a sampler that does not take them.
    """
    way = Way(process, schedule, shape, sampler, steps, spacing, eta, churn)
    return Task().steps(way, seeds)


def seeds_from(seed: int, count: int, device: torch.device) -> Tensor:
    """The seeds of a request's pictures: seed, seed + 1, ..., (count,) int64, computed on the CPU for all devices."""
    return (torch.arange(count, dtype=torch.int64) + seed).to(device)
