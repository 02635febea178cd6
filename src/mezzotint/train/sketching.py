"""An objective beside which a network learns to sketch what it is asked for (`nets.sketch`)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from mezzotint.cond import Cond
from mezzotint.train.objectives import Objective, bare

WEIGHT = 4.0  # of the sketch's loss


@dataclass(frozen=True)
class Sketched:
    """objective: what else is minimised. net: with a method `sketched(x0, text=...) -> (B,)`, or what several processes wrap around one.
    dtype: precision of the network."""

    objective: Objective
    net: Callable[..., Tensor]
    dtype: torch.dtype = torch.float32

    def __call__(self, x0: Tensor, eps: Tensor, u: Tensor, cond: Cond) -> Tensor:
        """(B,): the number is the objective's, so that losses are comparable; the gradient is that of both."""
        loss = self.objective(x0, eps, u, cond)
        if not torch.is_grad_enabled():
            return loss
        with torch.autocast(x0.device.type, self.dtype, enabled=self.dtype != torch.float32):
            beside = WEIGHT * bare(self.net).sketched(x0, **cond.inputs())  # type: ignore[operator]
        return loss + (beside - beside.detach())
