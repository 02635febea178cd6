"""Sets of points in the plane: unlimited, seeded, and with densities that are known exactly.

Every set but the checkerboard is Gaussian noise about a curve, or about a few centres, so its density is a
mixture of Gaussians: of 8 for `mixture`, of infinitely many for a curve, where quadrature nodes along it
stand for them. Each set is shifted and scaled by constants in closed form to mean 0 and an overall standard
deviation of 1 (the root of the mean of the two variances), the scale that diffusion models expect of data.
"""

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

TOYS: tuple[str, ...] = ("moons", "swiss_roll", "mixture", "checkerboard", "rings")

NOISE = {"moons": 0.1, "swiss_roll": 0.1, "mixture": 0.2, "rings": 0.1}  # standard deviation after scaling
COMPONENTS = 8  # Gaussians of `mixture`, equally spaced on a circle
RADII = np.array([1.0, 2.0, 3.0])  # of `rings`, before scaling; each ring holds a third of the points
ROLL = (1.5 * math.pi, 4.5 * math.pi)  # the swiss roll's angle, which is also its radius
HALF_WIDTH = math.sqrt(3)  # of the checkerboard: a uniform coordinate on [-sqrt 3, sqrt 3] has variance 1
NODES = 384  # quadrature nodes along each curve


def class_names(name: str) -> list[str]:
    """Names of the natural classes of a set, in the order of its labels; empty where there are none."""
    match _known(name):
        case "moons":
            return ["upper", "lower"]
        case "mixture":
            return [str(k) for k in range(COMPONENTS)]
        case "rings":
            return ["inner", "middle", "outer"]
        case _:
            return []


def points(name: str, n: int, seed: int | tuple[int, ...] = 0) -> tuple[Tensor, Tensor]:
    """`n` points and the class of each: (n, 2) float32 and (n,) int64.

    A pure function of its arguments (seeds are integers from 0 up); training asks for seed (run's seed,
    step), so that every batch is fresh and a resumed run sees the batches it would have seen. The class is
    all zeros where there is none.
    """
    rng = np.random.default_rng(seed)
    label = rng.integers(max(len(class_names(name)), 1), size=n)
    where = rng.random(n)  # position along the curve, as a share of its parameter
    if name == "checkerboard":
        row, pair = rng.integers((4, 2), size=(n, 2)).T
        corner = np.stack(
            (2 * pair + row % 2, row), -1
        )  # of a square of the 4 x 4 board with column + row even
        inside = 0.5 + (1 - 1e-6) * (
            np.stack((where, rng.random(n)), -1) - 0.5
        )  # safe from rounding to float32
        x = (corner + inside) * (HALF_WIDTH / 2) - HALF_WIDTH
    else:
        x = _curve(name, where, label) + NOISE[name] * rng.standard_normal((n, 2))
    return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(label)


def log_prob(name: str, x: Tensor) -> Tensor:
    """Exact log density at points (n, 2), in nats: (n,) float64, -inf outside the checkerboard's squares.

    The curves' integrals are Gauss-Legendre quadratures whose relative error is below 1e-6 within 4 of the
    origin.
    """
    x = x.double()
    if _known(name) == "checkerboard":
        cell = ((x + HALF_WIDTH) / (HALF_WIDTH / 2)).floor()
        inside = (cell.sum(-1) % 2 == 0) & (cell >= 0).all(-1) & (cell < 4).all(-1)
        return torch.where(inside, -math.log(2 * HALF_WIDTH**2), -math.inf).double()
    centres, log_weights = (part.to(x.device) for part in _nodes(name))
    log_normal = -math.log(2 * math.pi * NOISE[name] ** 2)
    chunks = []
    for chunk in x.split(1024):  # so that a chunk's distances stay in the processor's cache
        squared = chunk.square().sum(-1, True) - 2 * chunk @ centres.T + centres.square().sum(-1)
        chunks.append(torch.logsumexp(log_weights - squared / (2 * NOISE[name] ** 2), dim=1) + log_normal)
    return torch.cat(chunks)


def _known(name: str) -> str:
    if name not in TOYS:
        raise ValueError(f"there is no 2-D set {name!r}; choose from {', '.join(TOYS)}")
    return name


def _curve(name: str, where: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Noise-free points (n, 2), scaled, at a share `where` in [0, 1] of the parameter of curve `label`.

    A curve of mean m and overall variance v becomes (curve - m) sqrt((1 - s^2) / v): s^2 is the noise's.
    """
    match name:
        case "moons":  # half circles: (cos t, sin t), and the same turned about the point (1/2, 1/4)
            t = math.pi * where
            turn = 1 - 2 * label
            curve = np.stack((turn * (np.cos(t) - 0.5), turn * (np.sin(t) - 0.25)), -1)
            # E (cos t - 1/2)^2 = 3/4 and E (sin t - 1/4)^2 = 9/16 - 1/pi
            variance = (3 / 4 + 9 / 16 - 1 / math.pi) / 2
        case "swiss_roll":  # (t cos t, t sin t) with t uniform
            a, b = ROLL
            t = a + (b - a) * where
            mean = np.array([6 * math.pi, 2]) / (b - a)  # E t cos t and E t sin t over [3 pi / 2, 9 pi / 2]
            curve = np.stack((t * np.cos(t), t * np.sin(t)), -1) - mean
            variance = float((a * a + a * b + b * b) / 3 - mean @ mean) / 2
        case "mixture":
            t = 2 * math.pi * label / COMPONENTS
            curve = np.stack((np.cos(t), np.sin(t)), -1)
            variance = 1 / 2
        case _:  # rings
            t = 2 * math.pi * where
            curve = RADII[label, None] * np.stack((np.cos(t), np.sin(t)), -1)
            variance = float((RADII**2).mean()) / 2
    return curve * math.sqrt((1 - NOISE[name] ** 2) / variance)


@cache
def _nodes(name: str) -> tuple[Tensor, Tensor]:
    """The Gaussians that make up a set: centres (m, 2) and log weights (m,), float64."""
    nodes, weights = (
        (np.zeros(1), np.ones(1)) if name == "mixture" else np.polynomial.legendre.leggauss(NODES)
    )
    classes = max(len(class_names(name)), 1)
    label = np.repeat(np.arange(classes), len(nodes))
    centres = _curve(name, np.tile((nodes + 1) / 2, classes), label)
    log_weights = np.log(np.tile(weights / weights.sum(), classes) / classes)
    return torch.from_numpy(centres), torch.from_numpy(log_weights)
