"""The loss of an autoencoder: pictures that can be decoded from codes, and codes that diffusion can learn.

Three differences of a picture and its reconstruction, all in means over elements: of pixels (L1); of the levels of a Laplacian
pyramid (Burt & Adelson 1983), which makes errors that many pixels share as dear as they look; and of gradients, for edges.
Then the Kullback-Leibler divergence of the codes from standard normal ones, as a mean over elements, too: the papers' sums, of
another number of elements on either side, give weights that mean nothing at another size. Wanted, a distance of features as
well, under a network that is given.

Equivariance (EQ-VAE, Kouzelis et al. 2025): half of the steps turn or shrink the *code* and ask for the picture turned or shrunk
as well. Such codes are smooth, and are what is drawn of them at other sizes; diffusion learns them faster.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mezzotint.cond import Cond

KL = 1e-3  # weight of the divergence; codes then have a noise of 1 to 5 % of their deviation
LEVELS = 3  # of the pyramid, where the picture is large enough
EQUIVARIANT = 0.5  # share of steps
SCALES, TURNS, OF = range(8, 32), 4, 32  # a step shrinks to 8/32 ... 31/32 and turns by 0 to 3 quarters
BINOMIAL = (1.0, 4.0, 6.0, 4.0, 1.0)  # whose outer product blurs a level before every second pixel is taken


class AutoencodeLoss:
    """net: called as net(x0, eps, change) -> (reconstruction, means, log variances of codes), as `nets.vae.VAE` is, or what
    several processes wrap around one. factor, latents: of its codes. dtype: precision of the network. features: one more
    distance (x, target) -> (B,) of pictures, such as `nets.features.FeatureNet.distance`, and weight, what it is multiplied by.
    """

    def __init__(
        self,
        net: nn.Module,
        factor: int,
        latents: int,
        *,
        dtype: torch.dtype = torch.float32,
        features: Callable[[Tensor, Tensor], Tensor] | None = None,
        weight: float = 0.0,
    ) -> None:
        self.net, self.factor, self.latents, self.dtype = net, factor, latents, dtype
        self.features, self.weight = features, weight

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        """(B,) float32. x0: (B, C, H, W) in [-1, 1]. Of eps, standard normal like x0, as much is used as codes have elements;
        u (B,) float64 on the CPU in (0, 1) decides for all rows what is done to the codes; nothing is told of conditions."""
        height, width = x0.shape[-2] // self.factor, x0.shape[-1] // self.factor
        noise = eps.flatten(1)[:, : self.latents * height * width].unflatten(1, (-1, height, width))
        change, target = transform(u, (height, width), self.factor)
        with torch.autocast(x0.device.type, self.dtype, enabled=self.dtype != torch.float32):
            x, mean, log_variance = self.net(x0, noise.float(), change)
        divergence = (mean.square() + log_variance.exp() - 1 - log_variance) / 2
        loss = difference(x.float(), target(x0)) + KL * divergence.flatten(1).mean(1)
        if self.features is not None:
            loss = loss + self.weight * self.features(x.float(), target(x0))
        return loss


Change = Callable[[Tensor], Tensor]


def transform(u: Tensor, size: tuple[int, int], factor: int) -> tuple[Change, Change]:
    """The transform of codes (B, c, *size), and of pictures `factor` times as large; nothing in half of the cases. A function of
    the first u alone, of whose digits those below 2^-20 are taken: the ones above say which row of the batch it is."""
    draw = float(u[0] * 2**20 % 1)
    if draw < EQUIVARIANT:
        return (lambda z: z), (lambda x: x)
    kind = int((draw - EQUIVARIANT) / (1 - EQUIVARIANT) * len(SCALES) * TURNS)
    scale, turns = SCALES[kind // TURNS] / OF, kind % TURNS
    small = [max(1, round(side * scale)) for side in size]

    def change(times: int) -> Change:
        def apply(x: Tensor) -> Tensor:
            x = F.interpolate(x.float(), [times * side for side in small], mode="bilinear", antialias=True)
            return x.rot90(turns, (-2, -1))

        return apply

    return change(1), change(factor)


def difference(x: Tensor, target: Tensor) -> Tensor:
    """(B,): L1 of pixels, of pyramid levels and of gradients of two pictures (B, C, H, W), each a mean over elements."""
    error = x - target  # all three are linear, so the error is taken apart in place of both
    total = error.abs().flatten(1).mean(1)
    total = total + error.diff(dim=-1).abs().flatten(1).mean(1) + error.diff(dim=-2).abs().flatten(1).mean(1)
    for level in pyramid(error):
        total = total + level.abs().flatten(1).mean(1)
    return total


def pyramid(x: Tensor, levels: int = LEVELS) -> list[Tensor]:
    """The Laplacian pyramid of pictures (B, C, H, W): `levels` bands, each half the size of the one before, and the rest. What
    is expanded from the rest and the bands again is x. A band is left out where a side has fewer than four pixels."""
    bands = []
    for _ in range(levels):
        if min(x.shape[-2:]) < 4:
            break
        small = blur(x)[..., ::2, ::2]
        bands.append(x - F.interpolate(small, x.shape[-2:], mode="bilinear"))
        x = small
    return [*bands, x]


def blur(x: Tensor) -> Tensor:
    """(B, C, H, W) by the 5x5 binomial kernel, borders mirrored."""
    row = torch.tensor(BINOMIAL, dtype=x.dtype, device=x.device) / sum(BINOMIAL)
    kernel = (row[:, None] * row).expand(x.shape[1], 1, 5, 5)
    return F.conv2d(F.pad(x, (2, 2, 2, 2), mode="reflect"), kernel, groups=x.shape[1])
