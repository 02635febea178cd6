"""Random numbers as a pure function of (seed, step, draw, element): no generator, no state, no order.

The same seed gives the same picture in any batch, alone or served, and training draws the same noise after a resume.
A counter hash (splitmix64, Steele et al. 2014) of the whole key gives 64 random bits an element; torch has no uint64
arithmetic, so it runs in int64, whose products wrap around, and right shifts mask off the copied sign bits.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

GOLDEN = 0x9E3779B97F4A7C15 - 2**64  # 2^64 / golden ratio, as a signed number: splitmix64's increment


def _mix(z: Tensor) -> Tensor:
    """splitmix64's finalizer: every bit of the key changes every bit of the result with probability one half."""
    z = (z ^ _shift(z, 30)) * (0xBF58476D1CE4E5B9 - 2**64)
    z = (z ^ _shift(z, 27)) * (0x94D049BB133111EB - 2**64)
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    """A logical right shift (int64 shifts copy the sign bit)."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def bits(seed: Tensor, step: Tensor | int, draw: int, count: int) -> Tensor:
    """64 random bits an element.

    seed: (B,) int64, all 64 bits used. step: (B,) int64 or one int. draw: tells apart the uses within a step.
    Returns (B, count) int64, on the device of `seed`.
    """
    key = _mix(seed + GOLDEN)
    for part in (
        step,
        draw,
    ):  # one after the other, so that order matters: (7, 1) is neither (8, 0) nor (1, 7)
        part = torch.as_tensor(part, dtype=torch.int64, device=seed.device)
        key = _mix(key + part + GOLDEN)
    counter = torch.arange(1, count + 1, dtype=torch.int64, device=seed.device)
    return _mix(key[:, None] + counter * GOLDEN)


def uniform(seed: Tensor, step: Tensor | int, draw: int, count: int) -> Tensor:
    """Uniform numbers in the open interval (0, 1): (B, count) float64, multiples of 2^-52 offset by 2^-53 (one more bit,
    and the largest would round to 1)."""
    return (_shift(bits(seed, step, draw, count), 12).double() + 0.5) * 2**-52


def noise(seed: Tensor, step: Tensor | int, draw: int, shape: Sequence[int]) -> Tensor:
    """Standard normal noise (Box & Muller 1958): (B, *shape) float32, on the device of `seed`.

    seed: (B,) int64, one a picture. step: (B,) int64 or one int, the interval of the grid (0 is the start).
    draw: the how-many-eth noise of that step. Computed in float64 and rounded once, so that devices and batch shapes
    agree.
    """
    if seed.device.type == "mps":  # which has no float64
        return noise(seed.cpu(), torch.as_tensor(step).cpu(), draw, shape).to(seed.device)
    size = math.prod(shape)
    half = (size + 1) // 2
    u, angle = uniform(seed, step, draw, 2 * half).split(half, dim=1)
    radius = (-2 * u.log()).sqrt()
    pair = torch.cat([radius * (2 * math.pi * angle).cos(), radius * (2 * math.pi * angle).sin()], dim=1)
    return pair[:, :size].float().reshape(len(seed), *shape)


# Which draws of a seed its class, the noise on a picture shown and the number of frames shown are; solvers draw 0, 1, ...
CLASS, GRAIN, FRAMES = -1, -2, -3


# What a random draw of training is for; the `draw` of `randomness`. Each has numbers of its own.
EPS, LEVEL, LABEL_DROP, AUGMENT, ORDER, DROPOUT, WINDOW, REPLAY = range(8)
