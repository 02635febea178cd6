"""Solutions to the exercises of phase 5: `python docs/guide/solutions/phase5.py` prints all answers."""

import torch
from torch import Tensor

from mezzotint import Cond, Gaussian, load
from mezzotint.diffusion.corrections import Correction
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.engine import alone, together
from mezzotint.diffusion.guidance import Guidance, Guided, autoguidance, cfg
from mezzotint.diffusion.inverse import ddnm, inpainting
from mezzotint.diffusion.process import vp
from mezzotint.diffusion.routes import repaint
from mezzotint.diffusion.schedule import grid
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.randomness import noise
from mezzotint.tasks.generate import seeds_from

CPU = torch.device("cpu")
LEVELS = torch.linspace(-12, 12, 41, dtype=torch.float64)


def gaussian(mean: float, variance: float) -> Gaussian:
    """An exact denoiser of numbers."""
    return Gaussian(vp, torch.tensor([mean]).double(), torch.tensor([variance]).double())


def draw(
    belief: Denoise | Guided,
    n: int,
    d: int,
    levels: Tensor,
    scale: float = 1.0,
    sampler: str = "dpmpp_2m",
    known: Correction | None = None,
) -> Tensor:
    """n samples of d numbers at a scale of guidance, (n, d) float64; known: what corrects every answer. They begin where almost all is noise."""
    seeds = seeds_from(0, n, CPU)
    steps = SAMPLERS[sampler].walk(
        vp, noise(seeds, 0, 0, (d,)).double(), levels, lambda i, k: noise(seeds, i + 1, k, (d,)).double()
    )
    guidance = None
    if scale != 1:
        guidance = Guidance(torch.full((n,), scale, dtype=torch.float64), Cond(torch.tensor([1])))
    cond = Cond(torch.zeros(n, dtype=torch.int64))
    *_, last = alone(belief, steps, cond, guidance, [known] if known else [])
    return last.x


def choice(asked: Denoise, none: Denoise) -> Denoise:
    """A conditional denoiser of one class, 0, and the null label 1."""

    def belief(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        assert cond.label is not None
        return torch.where(cond.label[:, None] == 0, asked(x, logsnr, cond), none(x, logsnr, cond))

    return belief


def exercise_5_1() -> tuple[int, int]:
    """What does a picture of the bundled mnist cost? A step asks at the level where it begins, once, and once more where
    0.6 < sigma / alpha <= 4. Of the 14 beginnings 6 are there: 20 rows.

    Returns the rows by prediction and by counting.
    """
    model = load("mnist", precision="fp32")
    settings = model.settings()
    low, high = settings.guided_between
    sigma = (-grid("time", settings.steps, model.schedule)[:-1] / 2).exp()
    predicted = settings.steps + int(((low < sigma) & (sigma <= high)).sum())
    rows = 0

    def counting(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        nonlocal rows
        rows += len(x)
        return model.denoiser(x, logsnr, cond)

    for _ in together(cfg(counting), {0: model.walk(model.request(1, label="7"))}):
        pass
    return predicted, rows


def exercise_5_2(mean: float = 1.0, variance: float = 0.25, scale: float = 3.0) -> tuple[float, float]:
    """A class N(m, v) within N(0, v). A Gaussian's belief is m + k (x - alpha m), where k depends on v and the level
    alone. So the two beliefs differ by (1 - k alpha) m, whatever x, and the guided one, none + g (class - none), is k
    x + (1 - k alpha) g m: the belief of N(g m, v). Guidance moved the class as a whole to g m, where there need not
    be any data.

    Returns mean and variance of samples.
    """
    belief = cfg(choice(gaussian(mean, variance), gaussian(0.0, variance)))
    made = draw(belief, 4000, 1, LEVELS, scale)
    return float(made.mean()), float(made.var())


def exercise_5_3(scale: float = 2.0) -> tuple[float, float]:
    """Autoguidance. Sampling ends with the variance strong^g weak^(1 - g), by the formula of section 2. Its
    logarithm, g log 1.2 + (1 - g) 2 log 1.2, is 0 at g = 2: the weak model errs twice as far, and the step from weak
    to strong, made once more, arrives at the truth. Guided away from N(0, 4), whose error is no larger copy of ours,
    the same g gives 1.2^2 / 4 = 0.36: too narrow.

    Returns the two variances.
    """
    strong, weak, everything = gaussian(0.0, 1.2), gaussian(0.0, 1.44), gaussian(0.0, 4.0)
    right = draw(autoguidance(strong, weak), 4000, 1, LEVELS, scale)
    wrong = draw(cfg(choice(strong, everything)), 4000, 1, LEVELS, scale)
    return float(right.var()), float(wrong.var())


def exercise_5_4(rho: float = 0.8) -> tuple[float, float, float]:
    """DDNM on two correlated pixels, the first known to be 1. With s = sigma / alpha and u = 1 + s^2, the mean m of
    the second pixel (over alpha) follows dm/du = (u m - rho) / (2 (u^2 - rho^2)): the first pixel is y plus noise,
    and the belief weighs it as if the noise hid it. Solved from u = inf, where m is 0 (of the noise), down to u = 1:

        m(1) = rho / 2 (1 - rho^2)^(1/4) integral_1^inf (u^2 - rho^2)^(-5/4) du,

    and with w = 1 / u the integral is that of w^(1/2) (1 - rho^2 w^2)^(-5/4) over (0, 1). For rho = 0.8 it is 0.35:
    less than half of the truth, rho, since most of the second pixel was decided while noise hid the first. Going up
    and down 20 times on each stretch lets it change its mind.

    Returns the mean once, by the formula, and with `repaint`.
    """
    covariance = torch.tensor([[1.0, rho], [rho, 1.0]], dtype=torch.float64)
    exact = Gaussian(vp, torch.zeros(2, dtype=torch.float64), covariance)
    seen = inpainting(torch.tensor([[True, False]]))
    known = ddnm(seen, torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    once = draw(exact, 4000, 2, LEVELS, known=known)[:, 1].mean()
    often = draw(exact, 1000, 2, repaint(LEVELS, 4, 20), sampler="ddim", known=known)[:, 1].mean()
    w = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    integral = (w.sqrt() * (1 - (rho * w) ** 2) ** -1.25).mean()
    return float(once), float(rho / 2 * (1 - rho**2) ** 0.25 * integral), float(often)


if __name__ == "__main__":
    for exercise in (exercise_5_1, exercise_5_2, exercise_5_3, exercise_5_4):
        print(f"{exercise.__name__}: {exercise()}")
