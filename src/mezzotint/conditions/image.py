"""A picture as a condition: a small version of what is wanted, made as large as that, under noise of its own.

"Noise conditioning augmentation" (Ho et al. 2022, "Cascaded diffusion models", section 4): beside x, networks get c

    = sqrt(1 - grain^2) up(small) + grain eps',

and grain. The target is x0 = (picture - up(small)) / UNIT, what the small picture does not say, in a unit in which it varies as
ordinary data does ("SRDiff", Li et al. 2022): 0 is bicubic enlargement. In training grain is drawn for every row, so that a model forgives a small
picture that another model made; in sampling it is chosen: more grain takes the small picture less at its word.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.randomness import GRAIN, noise, uniform

MAX_GRAIN = 0.5  # of training; a model that is shown noise alone learns to ignore the picture
USUAL_GRAIN = 0.1  # of sampling
UNIT = 0.05  # of codes in [-1, 1]: photographs differ from their bicubic enlargement by 0.02 to 0.1
ROUNDS, GAIN = (
    12,
    1.5,
)  # of `consistent`: down(up(x)) keeps 0.23 to 1.01 of a pattern; an error shrinks to 0.65 a round


def smaller(x: Tensor, factor: int) -> Tensor:
    """(B, C, H, W) -> (B, C, H / factor, W / factor), antialiased bicubic. ValueError where the factor does not divide."""
    height, width = x.shape[-2:]
    if height % factor or width % factor:
        raise ValueError(f"the factor {factor} does not divide {height}x{width}; crop or choose another")
    return F.interpolate(x, (height // factor, width // factor), mode="bicubic", antialias=True)


def larger(x: Tensor, factor: int) -> Tensor:
    """(B, C, H, W) -> (B, C, factor H, factor W), bicubic."""
    return F.interpolate(x, scale_factor=factor, mode="bicubic")


def shown(large: Tensor, grain: Tensor, eps: Tensor) -> Cond:
    """The input picture of networks, from pictures (B, C, H, W) that `larger` made. grain: (B,) in [0, 1); eps: like large."""
    share = grain.to(large.device, large.dtype)
    wide = share[:, None, None, None]
    return Cond(image=(1 - wide**2).sqrt() * large + wide * eps, grain=share)


def residual(x: Tensor, large: Tensor) -> Tensor:
    """What pictures x (B, C, H, W) have beyond their `larger` small versions; about unit variance."""
    return (x - large) / UNIT


def of_request(large: Tensor, grain: float, seeds: Tensor) -> Cond:
    """The same for sampling: the noise of row i is that of seeds[i], (n,) int64."""
    eps = torch.cat([noise(few, 0, GRAIN, large.shape[1:]) for few in seeds.split(64)])  # it takes memory
    return shown(large, torch.full((len(seeds),), grain), eps)


@dataclass(frozen=True)
class Shown:
    """An objective whose rows get a small version of themselves, and learn the difference.

    objective: as in training, (x0, eps, u, cond) -> (B,). window: side of the random squares that x0, eps and what is shown of
    it are cut to, the same for all three, at multiples of the factor; 0 for whole pictures. A network of convolutions learns
    from squares what it does to whole pictures, and a square is cheaper.

    What is random of a row is a function of its u, which has 52 random bits: so a resumed run and a held-out loss repeat.
    """

    objective: Callable[[Tensor, Tensor, Tensor, Cond], Tensor]
    factor: int
    window: int = 0

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        """x0, eps: (B, C, H, W) on the device; u: (B,) float64 on the CPU in (0, 1). Returns (B,)."""
        seeds = (u * 2.0**52).long()
        large = larger(smaller(x0, self.factor), self.factor)
        if self.window:
            places = uniform(seeds, 1, GRAIN, 2)
            x0, eps, large = (self._cut(pictures, places) for pictures in (x0, eps, large))
        grain = (
            MAX_GRAIN * uniform(seeds, 2, GRAIN, 1)[:, 0] ** 2
        )  # more of little grain, where there is most to see
        fresh = noise(seeds.to(x0.device), 0, GRAIN, x0.shape[1:])
        seen = shown(large, grain, fresh)
        return self.objective(residual(x0, large), eps, u, replace(cond, image=seen.image, grain=seen.grain))

    def _cut(self, pictures: Tensor, places: Tensor) -> Tensor:
        """One square of each picture (B, C, H, W). places: (B, 2) in (0, 1), of 0 and 1 the first and the last."""
        room = [max(0, side - self.window) // self.factor + 1 for side in pictures.shape[-2:]]
        corners = (places * torch.tensor(room)).long() * self.factor
        return torch.stack(
            [
                picture[:, top : top + self.window, left : left + self.window]
                for picture, (top, left) in zip(pictures, corners.tolist())
            ]
        )


def consistent(things: Tensor, small: Tensor, factor: int) -> Tensor:
    """Enlarged pictures whose small versions are the given ones: x + gain up(small - down(x)), repeated (Irani & Peleg 1991,
    "Improving resolution by image registration"), which also takes back a shift of colours.

    things: uint8 (B, C, H, W); small: uint8 (B or 1, C, h, w). Returns uint8 (B, C, H, W).
    """
    x, wanted = things.float(), small.float()
    for _ in range(ROUNDS):
        x = (x + GAIN * larger(wanted - smaller(x, factor), factor)).clamp(0, 255)
    return x.round().to(torch.uint8)
