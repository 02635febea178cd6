"""What a sampler's settings cost: network calls, counted, and seconds, measured."""

import time
from bisect import bisect_right
from dataclasses import replace

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.conditions.labels import ALL
from mezzotint.config import Discrete, Sample
from mezzotint.diffusion.engine import together
from mezzotint.diffusion.guidance import cfg
from mezzotint.model.model import Model

TIMED_PICTURES = 64  # of a target in seconds


def network_calls(model: Model, settings: Sample) -> int:
    """Network calls a picture (NFE, "number of function evaluations"). Counted by running the sampler with a dummy network: steps at
    the ends and outside of the guidance interval need fewer calls."""
    total = 0

    def answer(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        nonlocal total
        total += len(x)
        return torch.zeros_like(x)

    label = model.classes[0] if model.classes else None
    request = replace(model.request(1, label=label, image=model.blank), settings=settings)
    for _ in together(cfg(answer), {0: model.walk(request)}):
        pass
    return total


def fit_steps(model: Model, settings: Sample, budget: int) -> Sample | None:
    """These settings with as many steps as `budget` network calls allow, or None where one is too many."""
    schedule = model.config.diffusion.schedule
    max_steps = min(budget, schedule.timesteps if isinstance(schedule, Discrete) else 10_000)

    def calls(steps: int) -> int:
        return network_calls(model, settings.model_copy(update={"steps": steps}))

    steps = bisect_right(range(1, max_steps + 1), budget, key=calls)
    return settings.model_copy(update={"steps": steps}) if steps else None


def seconds_of(model: Model, repeats: int = 3) -> float:
    """Of 64 pictures with the model's defaults, the fastest of `repeats` timings."""

    def once() -> float:
        began = time.perf_counter()
        model.sample(TIMED_PICTURES, label=ALL if model.classes else None, image=model.blank)
        return time.perf_counter() - began

    return min(once() for _ in range(repeats))


@torch.no_grad()
def seconds_a_call(model: Model, n: int) -> float:
    """Of one thing in a network call of n: the second of two calls, since the first warms up."""
    x = torch.zeros(n, *model.codec.shape(model.facts.shape), device=model.device)
    request = model.request(n, label=ALL if model.classes else None, image=model.blank)
    cond = request.cond.map(lambda column: column.to(x.device))
    level = model.schedule(torch.tensor(0.5, dtype=torch.float64))
    for _ in range(2):
        began = time.perf_counter()
        model.denoiser(x, level, cond).sum().item()  # waits for the device
    return (time.perf_counter() - began) / n
