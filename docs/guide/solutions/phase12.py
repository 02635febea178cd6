"""Solutions to the exercises of phase 12: `python docs/guide/solutions/phase12.py` prints all answers."""

import torch
from torch import Tensor

from mezzotint.data.bouncing import bundled, clip
from mezzotint.evaluate.metrics.motion import centres, straightness


def clips(n: int) -> Tensor:
    """Clips of seed 0, uint8 (n, 1, 16, 32, 32)."""
    return torch.stack([torch.from_numpy(clip(0, i, bundled()).pixels) for i in range(n)])


def exercise_12_1(frames: int, n: int = 200) -> float:
    """The nearest of the clips is the likeliest one. Bisection in log sigma, with the same noise throughout.

    Returns sigma / alpha where the observer is right in half of the cases.
    """
    known = (clips(n)[:, 0, :frames].double() / 127.5 - 1).flatten(1)
    eps = torch.randn(known.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    low, high = 0.5, 64.0
    for _ in range(10):
        sigma = (low * high) ** 0.5
        right = (torch.cdist(known + sigma * eps, known).argmin(1) == torch.arange(n)).double().mean()
        low, high = (sigma, high) if right > 0.5 else (low, sigma)
    return (low * high) ** 0.5


def exercise_12_2(frames: int = 16, positions: int = 64) -> float:
    """(T N)^2 against T N^2 + N T^2: the ratio is T N / (T + N), which grows with T towards N. Returns it."""
    everywhere = (frames * positions) ** 2
    return everywhere / (frames * positions**2 + positions * frames**2)


def exercise_12_3(n: int = 20) -> tuple[float, float, float]:
    """The first frame, sixteen times. A line of speed 0 is a line. The mean distance of neighbouring centres tells it apart.

    Returns the largest distance of still clips from their paths, their speed, and that of real ones, in pixels.
    """
    real = clips(n)
    still = real[:, :, :1].expand(-1, -1, 16, -1, -1)

    def speed(made: Tensor) -> float:
        return float(centres(made)[0].diff(dim=1).norm(dim=-1).mean())

    return float(straightness(still).max()), speed(still), speed(real)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("exercise_12_1:", {frames: exercise_12_1(frames) for frames in (1, 4, 16)})
    print("exercise_12_2:", exercise_12_2())
    print("exercise_12_3:", exercise_12_3())
