"""Solutions to the exercises of phase 1, the forward process: python docs/guide/solutions/phase1.py"""

import math

import torch
from torch import Tensor

from mezzotint.data import load_pictures, to_model
from mezzotint.diffusion.process import add_noise, flow, vp
from mezzotint.diffusion.schedule import linear, zero_terminal_snr


def digits() -> Tensor:
    """The bundled digits, (1797, 1, 8, 8) float32 in [-1, 1]."""
    return to_model(load_pictures("digits").batch(torch.arange(1797))[0])


def normal(shape: torch.Size, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def exercise_1_1() -> dict[float, tuple[float, float]]:
    """What variance is preserved?

    Picture and noise are independent, so variances add: alpha^2 s^2 + sigma^2, with s the standard deviation of the data.
    With s = 1 this is alpha^2 + sigma^2 = 1; with s = 0.75 it lies between 0.75 and 1, and 1 is only reached in pure noise.
    Returns, for each logsnr, the standard deviation by formula and as measured.
    """
    x0 = digits()
    deviations = {}
    for logsnr in (2.0, 0.0, -2.0):
        level = torch.tensor(logsnr, dtype=torch.float64)
        alpha, sigma = vp(level)
        formula = (alpha**2 * x0.double().var() + sigma**2).sqrt()
        deviations[logsnr] = float(formula), float(add_noise(vp, x0, normal(x0.shape), level).std())
    return deviations


def exercise_1_2() -> tuple[float, float, float]:
    """Change the process, keep the picture.

    x / alpha is the same in both, so multiply by alpha_flow / alpha_vp. The flow's time is its sigma.
    Returns the largest difference from noising in the flow directly, the time at level -1, and the time that belongs to
    timestep 500 (index 499) of linear(1000).
    """
    x0 = digits()[:1]
    eps, level = normal(x0.shape), torch.tensor(-1.0, dtype=torch.float64)
    turned = add_noise(vp, x0, eps, level) * (flow(level)[0] / vp(level)[0])
    difference = (turned - add_noise(flow, x0, eps, level)).abs().max()
    return float(difference), float(flow(level)[1]), float(flow(linear(1000).logsnr[499])[1])


def exercise_1_3() -> tuple[Tensor, Tensor]:
    """Get the betas back.

    From the share kept: alpha_t^2 = alpha_{t-1}^2 (1 - beta_t). From the fresh variance, with s = t - 1:
    sigma_t^2 (1 - SNR_t / SNR_s) = sigma_t^2 - (alpha_t^2 / alpha_s^2) sigma_s^2. As sigma^2 = 1 - alpha^2 in vp and
    alpha_t^2 / alpha_s^2 = 1 - beta_t, this is 1 - alpha_t^2 - (1 - beta_t) + alpha_t^2 = beta_t.
    Returns both, (999,) each.
    """
    logsnr = linear(1000).logsnr
    alpha, sigma = vp(logsnr)
    kept = 1 - (alpha[1:] / alpha[:-1]) ** 2
    fresh = sigma[1:] ** 2 * -torch.expm1(logsnr[1:] - logsnr[:-1])
    return kept, fresh


def exercise_1_4() -> dict[str, float]:
    """How much is left at the end?

    Between normal distributions of variance sigma^2 and 1, one number at a time: (sigma^2 + alpha^2 x0^2 - 1 -
    log sigma^2) / 2, and sigma^2 = 1 - alpha^2. For small alpha it is about alpha^2 x0^2 / 2, half the signal-to-noise
    ratio. Returns nats a digit, summed over its 64 pixels.
    """
    power = digits().double().square()
    tables = {"linear(1000)": linear(1000), "linear(300)": linear(300)}
    tables["zero_terminal_snr(linear(300))"] = zero_terminal_snr(linear(300))
    found = {}
    for name, table in tables.items():
        left = vp(table.logsnr[-1])[0] ** 2
        found[name] = float((left * power - left - torch.log1p(-left)).flatten(1).sum(1).mean() / 2)
    return found


def exercise_1_5(logsnr: float = -3.0, times: int = 8) -> tuple[float, Tensor, Tensor]:
    """The same noise on a larger picture.

    The mean of a block is alpha x0 plus the mean of 64 independent noises, which has standard deviation sigma / 8: a
    signal-to-noise ratio 64 times higher. What the eye, and a network with pooling, sees is a digit at logsnr 1.16.
    Returns the logsnr measured on the averages of many digits, and one digit enlarged and noised, and averaged.
    """
    x0 = digits()[:200]
    large = x0.repeat_interleave(times, 2).repeat_interleave(times, 3)
    level = torch.tensor(logsnr, dtype=torch.float64)
    noised = add_noise(vp, large, normal(large.shape), level)
    averages = torch.nn.functional.avg_pool2d(noised, times)
    alpha = vp(level)[0]
    left = (averages - alpha * x0).double().std()
    return float(2 * (alpha.log() - left.log())), noised[:1], averages[:1]


def exercise_1_6() -> tuple[float, float]:
    """One bit.

    Given x0 = 1 (x0 = -1 mirrors it), alpha x / sigma^2 = snr + sqrt(snr) z with z standard normal, so the perfect answer
    is tanh(snr + sqrt(snr) z). The error of a conditional mean is what it leaves of the power of x0: m = 1 - E tanh^2.
    Integrate over z, then over logsnr. The integral is the mutual information of x0 and x, in nats. Half of it is learned
    by logsnr 0.05: where picture and noise are about equally strong.
    Returns the integral, and the logsnr at which half of it is reached.
    """
    z = torch.linspace(-10, 10, 1001, dtype=torch.float64)
    density = (-(z**2) / 2).exp() / math.sqrt(2 * math.pi)
    logsnr = torch.linspace(-30, 8, 1521, dtype=torch.float64)
    snr = logsnr.exp()[:, None]
    mmse = 1 - torch.trapezoid(density * (snr + snr.sqrt() * z).tanh() ** 2, z, dim=1)
    learned = torch.cumulative_trapezoid(logsnr.exp() / 2 * mmse, logsnr)
    half = logsnr[1:][learned > learned[-1] / 2][0]
    return float(learned[-1]), float(half)


if __name__ == "__main__":
    print("1.1", {k: tuple(round(v, 4) for v in pair) for k, pair in exercise_1_1().items()})
    print("1.2", exercise_1_2())
    print("1.3", *(betas[[0, -1]].tolist() for betas in exercise_1_3()))
    print("1.4", exercise_1_4())
    print("1.5", exercise_1_5()[0])
    print("1.6", exercise_1_6())
