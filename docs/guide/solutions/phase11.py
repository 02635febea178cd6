"""Solutions to the exercises of phase 11: `python docs/guide/solutions/phase11.py` prints all answers."""

import math

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mezzotint import Gaussian
from mezzotint.data import load_pictures, to_model
from mezzotint.diffusion.process import flow
from mezzotint.nets.dit import Block, Places


def exercise_11_1() -> tuple[int, int]:
    """Components are sorted by variance, and leaving some out leaves exactly their variance as error: the sum of the squared
    singular values from k on. Noise has no direction that is better than others, so nearly all of them are needed.

    Returns k of the digits, and of noise.
    """
    digits = load_pictures("digits")
    x = to_model(digits.batch(torch.arange(len(digits)))[0]).flatten(1)
    noise = x.std() * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    return numbers_for(x, 30), numbers_for(noise, 30)


def numbers_for(x: Tensor, decibels: float) -> int:
    """The fewest components by which x (n, d), of range 2, is read back at so many decibels."""
    squares = torch.linalg.svdvals((x - x.mean(0)).double()).square()
    left = (
        squares.flip(0).cumsum(0).flip(0) / x.numel()
    )  # mean squared error without component k and all after it
    return int((left > 4 * 10 ** (-decibels / 10)).sum())


def exercise_11_2(tokens: int, width: int = 64) -> tuple[float, float, float]:
    """The linear layers have (3 + 1) w^2 weights for attention and 3 * 8/3 w^2 for SwiGLU, 12 w^2 in all. Attention itself is two
    products of N x w by w x N numbers.

    Returns the multiplications counted, those of the formula, and the share of N^2 in the formula.
    """
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        turn = torch.zeros(2, tokens, width // 4)
        told = torch.zeros(1, 6, width)
        Block(width, 2)(torch.zeros(1, tokens, width), told, Places(turn, turn))
    formula = 12 * tokens * width**2 + 2 * tokens**2 * width
    return counter.get_total_flops() / 2, formula, 2 * tokens**2 * width / formula


def exercise_11_3(deviation: float = 5.5) -> tuple[float, float]:
    """Noised data are alpha d x + sigma eps: of x they have alpha d to sigma, whose log ratio, doubled, is lambda + 2 log d. In the flow
    x_t / (1 + (d - 1) alpha) has alpha' = alpha d / (...) and sigma' = sigma / (...), which sum to 1 again.

    Returns by how much the two denoisers differ, and 2 log d, where the level 0 is seen from standardised codes.
    """
    zero, level = torch.zeros(1, dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    wide, plain = Gaussian(flow, zero, zero + deviation**2), Gaussian(flow, zero, zero + 1)
    x = torch.randn(100, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    moved = level + 2 * math.log(deviation)
    (alpha, _), (other, _) = flow(level), flow(moved)
    same = deviation * plain(x * other / (alpha * deviation), moved)
    return float((wide(x, level) - same).abs().max()), float(moved)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("exercise_11_1:", exercise_11_1())
    print("exercise_11_2:", {n: exercise_11_2(n) for n in (64, 384, 1024)})
    print("exercise_11_3:", exercise_11_3())
