"""The first frames of a clip as a condition: the others continue them.

Beside x, networks get the known frames without noise, and a channel that is 1 where they are ("RaMViD", Höppe et al. 2022;
"MCVD", Voleti et al. 2022, who train one network for clips with and without a beginning alike). Frames that are not known are 0 in both. Setting known
frames in what is believed (`tasks.edit`) is not enough by itself: what the network sees of them is then as noisy as the others
(docs/experiments/bouncing.md has both, measured).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.randomness import FRAMES, uniform


def begun(codes: Tensor, count: Tensor) -> Tensor:
    """The condition for clips (B, C, T, H, W) whose first count (B,) int64 frames are known: (B, C + 1, T, H, W)."""
    frames = torch.arange(codes.shape[2], device=codes.device)
    there = (frames < count.to(codes.device)[:, None])[:, None, :, None, None].to(codes.dtype)
    return torch.cat([codes * there, there.expand_as(codes[:, :1])], 1)


@dataclass(frozen=True)
class Begun:
    """An objective of clips, in a share of whose rows the first frames are known: 1 to half of them, all numbers alike.

    objective: as in training, (x0, eps, u, cond) -> (B,). What is random of a row is a function of its u, which has 52
    random bits: so a resumed run and a held-out loss repeat.
    """

    objective: Callable[[Tensor, Tensor, Tensor, Cond], Tensor]
    share: float

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        """x0, eps: (B, C, T, H, W) on the device; u: (B,) float64 on the CPU in (0, 1). Returns (B,)."""
        drawn = uniform((u * 2.0**52).long(), 0, FRAMES, 2)
        count = 1 + (drawn[:, 1] * (x0.shape[2] // 2)).long()
        count = torch.where(drawn[:, 0] < self.share, count, 0)
        return self.objective(x0, eps, u, replace(cond, image=begun(x0, count)))
