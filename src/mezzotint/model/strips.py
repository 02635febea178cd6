"""The two ways of diffusion as pictures: data into noise, and noise into pictures."""

from collections.abc import Sequence

import torch
from PIL import Image

from mezzotint import build
from mezzotint.cond import Batch
from mezzotint.config import Config
from mezzotint.diffusion.process import add_noise
from mezzotint.diffusion.schedule import Table, linear_time
from mezzotint.media.facts import Facts
from mezzotint.model.samples import Preview
from mezzotint.randomness import noise
from mezzotint.tasks.generate import seeds_from

TIMES = (0, 50, 100, 200, 400, 600, 800, 999)


def noising(
    config: Config, facts: Facts, batch: Batch, times: Sequence[int] = TIMES, seed: int = 0
) -> Image.Image:
    """The same examples with more and more noise: a row for each picture, a column for each time.

    batch: x0 as the network sees it, as a source's `preview` gives it; labels are the colours of points. times: of 1000,
    timesteps of a discrete schedule, else the time of the flow. Example i is given the noise of seed + i.
    """
    u = (torch.tensor(times, dtype=torch.float64) + 0.5) / 1000
    schedule = build.make_schedule(config)
    levels = schedule(u) if isinstance(schedule, Table) else linear_time(u)
    eps = noise(seeds_from(seed, len(batch.x0), batch.x0.device), 0, 0, batch.x0.shape[1:])
    codec = build.codec(config, facts)
    frames = [
        codec.decode(add_noise(build.make_process(config), batch.x0, eps, level)).cpu() for level in levels
    ]
    return facts.medium.strip(frames, [f"t = {t}" for t in times], batch.cond.label)


def spread_steps(steps: int, most: int = 8) -> set[int]:
    """The steps, of 1 to `steps`, that a strip shows: spread evenly, with the first and the last."""
    return set(torch.linspace(1, steps, min(most, steps)).round().int().tolist())


def denoising(previews: Sequence[Preview]) -> Image.Image:
    """The way from noise at some steps. Top: the noisy picture. Below: the network's guess at the clean one."""
    medium = previews[0].medium
    frames = [medium.pair(preview.state, preview.belief) for preview in previews]
    return medium.strip(frames, [f"step {preview.step}" for preview in previews])
