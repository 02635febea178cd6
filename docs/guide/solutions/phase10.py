"""Solutions to the exercises of phase 10: `python docs/guide/solutions/phase10.py` prints all answers."""

import math

import torch
from torch import Tensor

from mezzotint import Gaussian
from mezzotint.diffusion.engine import alone
from mezzotint.diffusion.inverse import ddnm, inpainting
from mezzotint.diffusion.process import flow, vp
from mezzotint.diffusion.schedule import grid, karras, linear_time
from mezzotint.tasks.generate import seeds_from
from mezzotint.tasks.task import Task, Way

CPU = torch.device("cpu")


def exercise_10_1(strength: float, n: int = 4000) -> tuple[float, float]:
    """x = (1 - tau) x0 + tau eps has the variance (1 - tau)^2 + tau^2, and the flow to clean divides by its root. So the result is
    ((1 - tau) x0 + tau eps) / sqrt((1 - tau)^2 + tau^2), of variance 1, and its covariance with x0 is (1 - tau) over that root.

    Returns the correlation by the formula, and measured.
    """
    formula = (1 - strength) / math.hypot(1 - strength, strength)
    zero = torch.zeros(1, dtype=torch.float64)
    begun = torch.randn(n, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    task = Task(start=begun, strength=strength)
    way = Way(flow, linear_time, (1,), "dpmpp_2m", 40, "time")
    *_, last = alone(Gaussian(flow, zero, zero + 1), task.steps(way, seeds_from(0, n, CPU)))
    return formula, float(torch.corrcoef(torch.cat([begun, last.x], 1).T)[0, 1])


def exercise_10_2(steps: int = 20, variance: float = 1.0) -> float:
    """Up from t to s by the belief at t, v y / (v + t^2): y_s = x0 + (s / t) (y_t - x0) = y_t (v + s t) / (v + t^2). Up and down
    multiply by (v + s t)^2 / ((v + s^2) (v + t^2)), which is at most 1 by the inequality of Cauchy and Schwarz, for the vectors
    (sqrt(v), s) and (sqrt(v), t). It is 1 - v (s - t)^2 / ..., of the second order in a step, so that the whole loss is of the
    first: twice the steps, about half.

    The first step down ends at clean, t = 0, and its way back, where x0 is y itself, is no belief: it is left out.
    Returns what is lost of y on the way up and down, as a share.
    """
    s = (-grid("karras", steps, karras())[:-1] / 2).exp()
    up, down = s[:-1], s[1:]
    kept = (variance + up * down) ** 2 / ((variance + up**2) * (variance + down**2))
    return float(1 - kept.prod())


def exercise_10_3(steering: bool, returns: int, n: int = 4000) -> tuple[float, float]:
    """The middle one's variance. DDNM asks at an x whose outer numbers are noisy, so that the network believes that the
    middle is open when it is not: too wide. By symmetry its mean is 0 in any case.

    (That the truth is 0.105: the covariance with the outer two is (0.9, 0.9), their matrix ((1, 0.81), (0.81, 1)), and
    1 - 2 * 0.81 / 1.81 = 0.105.) Returns mean and variance of the middle one.
    """
    covariance = torch.tensor([[1.0, 0.9, 0.81], [0.9, 1.0, 0.9], [0.81, 0.9, 1.0]], dtype=torch.float64)
    exact = Gaussian(vp, torch.zeros(3, dtype=torch.float64), covariance)
    outer = inpainting(torch.tensor([True, False, True]))
    y: Tensor = torch.tensor([[1.0, 0.0, -1.0]], dtype=torch.float64)
    way, seeds = Way(vp, linear_time, (3,), "ddim", 20, "time"), seeds_from(0, n, CPU)
    if steering:
        *_, last = alone(exact, Task(operator=outer, y=y, returns=returns).steps(way, seeds))
    else:
        *_, last = alone(exact, Task(returns=returns).steps(way, seeds), corrections=[ddnm(outer, y)])
    return float(last.x[:, 1].mean()), float(last.x[:, 1].var())


if __name__ == "__main__":
    torch.set_num_threads(1)
    print("exercise_10_1:", {strength: exercise_10_1(strength) for strength in (0.2, 0.4, 0.6, 0.8)})
    print("exercise_10_2:", {steps: exercise_10_2(steps) for steps in (20, 40)})
    print(
        "exercise_10_3:",
        {(steering, r): exercise_10_3(steering, r) for steering in (False, True) for r in (1, 4)},
    )
