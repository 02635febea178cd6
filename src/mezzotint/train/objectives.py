"""What training minimises, whatever it is: the protocol of the loop."""

from typing import Protocol

from torch import Tensor

from mezzotint.cond import Cond


class Objective(Protocol):
    """A loss for every row, as `diffusion.loss.DenoisingLoss` is one."""

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond, /) -> Tensor:
        """x0, eps: (B, *D) on the device; u: (B,) float64 on the CPU, in (0, 1), where the noise level is drawn at;
        cond: B rows. Returns (B,) float32, differentiable in the weights that are trained."""
        ...
