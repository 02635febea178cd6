"""Solutions to the exercises of phase 13: `python docs/guide/solutions/phase13.py` prints all answers."""

from itertools import pairwise

import torch

from mezzotint import load
from mezzotint.exchange.sampler import sampler_table


def exercise_13_1(bits: int = 8) -> tuple[float, float]:
    """The error of a number is even over a step, whose variance is step^2 / 12. A bit more halves the step.

    Returns the root mean squared error over that of the weights, predicted and measured.
    """
    weights = [p.detach() for p in load("mnist", precision="fp32").net.parameters() if p.ndim > 1]
    rows = max(weights, key=torch.numel).flatten(1).double()
    most = 2 ** (bits - 1) - 1
    scale = rows.abs().amax(1, keepdim=True) / most
    error = (rows / scale).round() * scale - rows
    size = rows.square().mean().sqrt()
    return float((scale.square().mean() / 12).sqrt() / size), float(error.square().mean().sqrt() / size)


def exercise_13_2(sampler: str) -> tuple[int, int]:
    """Moves with "x" are questions, the others are draws. heun asks twice a step, but once in the first, which begins at pure
    noise, and in the last, which ends at clean. Returns the numbers of both."""
    moves = sampler_table(load("digits", precision="fp32"), sampler=sampler, steps=8)["moves"]
    return sum("x" in move for move in moves), sum("draw" in move for move in moves)


def remembers(sampler: str) -> bool:
    """Whether some row is not the row before it, times a number, plus a multiple of the last answer."""
    moves = sampler_table(load("digits", precision="fp32"), sampler=sampler, steps=8)["moves"]
    for earlier, later in pairwise(torch.tensor(move["x"], dtype=torch.float64) for move in moves):
        part = later[: len(earlier)]
        factor = (part @ earlier) / (earlier @ earlier)
        if not torch.allclose(part, factor * earlier, atol=1e-9):
            return True
    return False


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("exercise_13_1:", {bits: exercise_13_1(bits) for bits in (8, 9)})
    print("exercise_13_2:", {name: exercise_13_2(name) for name in ("ddim", "heun", "ddpm")})
    print("remembers:", {name: remembers(name) for name in ("ddim", "dpmpp_2m")})
