"""The two ways of diffusion as pictures: data into noise, and noise into pictures."""

from collections.abc import Sequence

import torch
from PIL import Image
from torch import Tensor

from mezzotint import build, plots
from mezzotint.config import Config
from mezzotint.diffusion.process import add_noise
from mezzotint.diffusion.schedule import Table, linear_time
from mezzotint.media.pictures import to_uint8
from mezzotint.model.model import Preview
from mezzotint.randomness import noise
from mezzotint.tasks.generate import seeds_from

TIMES = (0, 50, 100, 200, 400, 600, 800, 999)


def noising(
    config: Config, x0: Tensor, label: Tensor | None, times: Sequence[int] = TIMES, seed: int = 0
) -> Image.Image:
    """The same examples with more and more noise: a row for each picture, a column for each time.

    x0: (N, *D) as the network sees them; label: (N,) int64 or None, the colours of points. times: of 1000, timesteps
    of a discrete schedule, else the time of the flow. Example i is given the noise of seed + i.
    """
    u = (torch.tensor(times, dtype=torch.float64) + 0.5) / 1000
    schedule = build.make_schedule(config)
    levels = schedule(u) if isinstance(schedule, Table) else linear_time(u)
    eps = noise(seeds_from(seed, len(x0), x0.device), 0, 0, x0.shape[1:])
    frames = [add_noise(build.make_process(config), x0, eps, level) for level in levels]
    captions = [f"t = {t}" for t in times]
    if x0.ndim == 2:
        return plots.scatter([(c, x, label) for c, x in zip(captions, frames)])
    return plots.strip(torch.stack([to_uint8(x) for x in frames]), captions)


def spread_steps(steps: int, most: int = 8) -> set[int]:
    """The steps, of 1 to `steps`, that a strip shows: spread evenly, with the first and the last."""
    return set(torch.linspace(1, steps, min(most, steps)).round().int().tolist())


def denoising(previews: Sequence[Preview]) -> Image.Image:
    """The way from noise at some steps. Top: the noisy picture. Below: the network's guess at the clean one."""
    captions = [f"step {p.step}" for p in previews]
    if previews[0].x.ndim == 2:
        return plots.scatter([(c, p.state, None) for c, p in zip(captions, previews)])
    rows = [torch.stack([p.state, p.belief], dim=1).flatten(0, 1) for p in previews]
    return plots.strip(torch.stack(rows), captions)
