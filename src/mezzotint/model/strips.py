"""The forward and the reverse process as pictures: data to noise, and noise to pictures."""

from collections.abc import Sequence

import torch
from PIL import Image

from mezzotint import build
from mezzotint.cond import Batch
from mezzotint.config import Config
from mezzotint.diffusion.process import add_noise
from mezzotint.media.codec import Codec
from mezzotint.media.facts import Facts
from mezzotint.model.samples import Preview
from mezzotint.randomness import noise
from mezzotint.tasks.generate import seeds_from

TIMES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
END = 0.9995  # the last place shown: at 1 itself some schedules have infinite noise


def noising(
    config: Config, facts: Facts, codec: Codec, batch: Batch, times: Sequence[float] = TIMES, seed: int = 0
) -> Image.Image:
    """The same examples with more and more noise: a row for each picture, a column for each time.

    batch: x0 as the network sees it, as a source's `preview` gives it; labels are the colours of points. times: places
    u on the schedule, from 0, clean, to 1, noise. Example i gets the noise of seed + i.
    """
    u = torch.tensor(times, dtype=torch.float64).clamp(max=END)
    levels = build.make_schedule(config)(u)
    eps = noise(seeds_from(seed, len(batch.x0), batch.x0.device), 0, 0, batch.x0.shape[1:])
    frames = [
        codec.decode(add_noise(build.make_process(config), batch.x0, eps, level)).cpu() for level in levels
    ]
    return facts.medium.strip(frames, [f"u = {u:g}" for u in times], batch.cond.label)


def spread_steps(steps: int, most: int = 8) -> set[int]:
    """The steps, of 1 to `steps`, that a strip shows: spread evenly, with the first and the last."""
    return set(torch.linspace(1, steps, min(most, steps)).round().int().tolist())


def denoising(previews: Sequence[Preview]) -> Image.Image:
    """The reverse process at some steps. Top: the noisy picture. Below: the network's guess at the clean one."""
    medium = previews[0].medium
    frames = [medium.pair(preview.state, preview.belief) for preview in previews]
    return medium.strip(frames, [f"step {preview.step}" for preview in previews])
