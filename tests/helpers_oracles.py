"""Networks that know the truth: the exact F of any parameterization, around an exact denoiser."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mezzotint.cond import Cond
from mezzotint.diffusion.corrections import Correction
from mezzotint.diffusion.denoiser import Denoise, Denoiser
from mezzotint.diffusion.exact import Mixture
from mezzotint.diffusion.parameterization import Parameterization


class ExactNet(nn.Module):
    """F = (x0 - c_skip x) / c_out with the exact x0, as a network would return it: from c_in x and the level it is told.

    Works in float64 inside and answers in the dtype it was asked in.
    """

    def __init__(self, exact: Mixture, parameterization: Parameterization) -> None:
        super().__init__()
        self.exact, self.parameterization = exact, parameterization

    def forward(self, scaled: Tensor, logsnr: Tensor) -> Tensor:
        c = self.parameterization(*self.exact.process(logsnr.double()))
        skip, out, into = (z.reshape(-1, *[1] * (scaled.ndim - 1)) for z in c)
        x = scaled.double() / into
        return ((self.exact(x, logsnr.double()) - skip * x) / out).to(scaled.dtype)


def exact_denoiser(exact: Mixture, parameterization: Parameterization) -> Denoiser:
    """A `Denoiser` whose network is exact. It is told the level itself."""
    return Denoiser(
        ExactNet(exact, parameterization), exact.process, parameterization, c_noise=lambda logsnr: logsnr
    )


def plain(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor, Cond], Tensor]:
    """A denoiser without conditions."""
    return lambda x, logsnr, cond: function(x, logsnr)


def elementwise(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
    """A made-up belief that looks at every element alone, by operations that round alike in every batch shape."""
    level = (1 / (1 + (-logsnr / 2).exp())).to(x.dtype).reshape(-1, *[1] * (x.ndim - 1))
    return (x * level).tanh()


def random_mixture(
    process: Callable[[Tensor], tuple[Tensor, Tensor]], seed: int, d: int = 2, k: int = 3
) -> Mixture:
    """k full-covariance Gaussians in d dimensions, drawn from the seed."""
    draw = torch.Generator().manual_seed(seed)
    root = 0.3 * torch.randn(k, d, d, dtype=torch.float64, generator=draw)
    means = torch.randn(k, d, dtype=torch.float64, generator=draw)
    weights = torch.rand(k, dtype=torch.float64, generator=draw) + 0.2
    return Mixture(
        process, weights / weights.sum(), means, root @ root.mT + 0.05 * torch.eye(d, dtype=torch.float64)
    )


def corrected(denoise: Denoise, *corrections: Correction) -> Denoise:
    """A denoiser whose every answer is corrected, as the engine does it."""

    def answer(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        x0 = denoise(x, logsnr, cond)
        for correct in corrections:
            x0 = correct(x0)
        return x0

    return answer
