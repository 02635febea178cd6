"""Solutions to the exercises of phase 7: `python docs/guide/solutions/phase7.py` prints all answers."""

import math

import torch
from torch import Tensor

from mezzotint import Cond, load
from mezzotint.diffusion.engine import Walk, together
from mezzotint.diffusion.guidance import cfg


def exercise_7_1() -> tuple[int, int]:
    """Calls for both together, and for one after the other. `dpmpp_2m` asks once a step, 12 times. `heun` asks twice a
    step, but once in the first, which begins at pure noise, and in the last, which ends at a clean picture: 14 times.
    Together they need as many calls as the longer of the two, 14; one after the other their sum, 26.
    """
    model = load("digits", precision="fp32")
    calls = 0

    def counting(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        nonlocal calls
        calls += 1
        return model.denoiser(x, logsnr, cond)

    ann = model.request(4, label=3, sampler="dpmpp_2m", steps=12)
    ben = model.request(2, label=5, seed=10, sampler="heun", steps=8)

    def walks() -> dict[str, Walk]:
        return {"ann": model.walk(ann), "ben": model.walk(ben)}

    for _ in together(cfg(counting), walks()):
        pass
    shared, calls = calls, 0
    for name, walk in walks().items():
        for _ in together(cfg(counting), {name: walk}):
            pass
    return shared, calls


def exercise_7_2(steps: int = 20, every: float = 10.0, requests: int = 100_000) -> tuple[float, ...]:
    """Mean times of a request, batched by the request and by the step.

    By the request: after a batch the server is idle with the probability q = exp(-steps / every) that nobody has come
    meanwhile. So between two batches come steps / every requests that wait, half a batch on average, and q that do not:
    steps (1 + r / 2 / (r + q)) with r = steps / every. By the step: a request waits for the next call alone, half a
    unit where somebody is being served, which is so with the probability 1 - q.

    Returns both as simulated, then both as worked out.
    """
    gaps = torch.empty(requests, dtype=torch.float64).exponential_(
        1 / every, generator=torch.Generator().manual_seed(0)
    )
    arrivals = gaps.cumsum(0).tolist()
    by_request, free = 0.0, 0.0  # free: when the server has ended its batch
    by_step, tick, last = (
        0.0,
        0.0,
        -math.inf,
    )  # tick: when some call began; last: when the latest request ends
    k = 0
    while k < requests:
        begin = max(free, arrivals[k])
        free = begin + steps
        while k < requests and arrivals[k] <= begin:
            by_request += free - arrivals[k]
            k += 1
    for arrival in arrivals:
        if arrival >= last:
            tick = arrival  # nobody is being served: calls begin anew
        last = tick + math.ceil(arrival - tick) + steps
        by_step += last - arrival
    r, q = steps / every, math.exp(-steps / every)
    return by_request / requests, by_step / requests, steps * (1 + r / 2 / (r + q)), steps + (1 - q) / 2


if __name__ == "__main__":
    for exercise in (exercise_7_1, exercise_7_2):
        print(f"{exercise.__name__}: {exercise()}")
