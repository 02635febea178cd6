"""Muon: momentum whose singular values are made equal, for weights that are matrices; AdamW for all others.

Jordan 2024 ("Muon: an optimizer for hidden layers"). A convolution's weight (out, in, h, w) is the matrix
(out, in h w) that its unfolded patches are multiplied with. Updates have root mean square 0.2 per unit of learning
rate, about that of AdamW, so that one rate serves both (Liu et al. 2025, "Muon is scalable for LLM training", eq. 4).
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
A, B, C = 3.4445, -4.7750, 2.0315  # of Jordan's quintic: steep at 0, and [0.7, 1.2] is mapped into itself


class Muon(torch.optim.AdamW):
    """AdamW (fused), except for the groups with `orthogonal`, whose weights have two or more dimensions."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """One step; none of it where `found_inf`, a 0-d tensor that may be set on the optimiser, is 1."""
        assert closure is None
        for group in self.param_groups:
            if group["orthogonal"]:
                weights = [p for p in group["params"] if p.grad is not None]
                self._move(weights, group["lr"], group["weight_decay"])
                for weight in weights:
                    weight.grad = None  # AdamW passes over weights without a gradient
        return super().step()

    def _move(self, weights: list[nn.Parameter], lr: float, weight_decay: float) -> None:
        if not weights:
            return
        for weight in weights:
            self.state[weight].setdefault("momentum", torch.zeros_like(weight))
            self.state[weight].setdefault(
                "step", torch.zeros(())
            )  # unused, but AdamW looks for it when it loads
        skip = getattr(self, "found_inf", None)
        skip = torch.zeros((), device=weights[0].device) if skip is None else skip
        momenta: list[Tensor] = [self.state[weight]["momentum"] for weight in weights]
        # a gradient that equals the momentum leaves it as it is
        raw = [weight.grad for weight in weights if weight.grad is not None]
        gradients = [torch.where(skip > 0, m, g) for m, g in zip(momenta, raw)]
        rate = lr * (1 - skip)
        torch._foreach_lerp_(momenta, gradients, 1 - MOMENTUM)
        ahead = torch._foreach_lerp(gradients, momenta, MOMENTUM)  # Nesterov's
        if weight_decay:
            torch._foreach_mul_([w.data for w in weights], 1 - rate * weight_decay)
        for alike in _by_shape(ahead):
            matrices = torch.stack([ahead[i].flatten(1) for i in alike])
            scale = 0.2 * max(matrices.shape[1:]) ** 0.5
            for i, update in zip(alike, orthogonal(matrices)):
                weights[i].sub_(update.view_as(weights[i]) * (rate * scale))


def _by_shape(tensors: Iterable[Tensor]) -> list[list[int]]:
    """Which tensors have the same shape, so that they can share a batched product."""
    shapes: dict[torch.Size, list[int]] = {}
    for i, tensor in enumerate(tensors):
        shapes.setdefault(tensor.shape, []).append(i)
    return list(shapes.values())


def orthogonal(matrices: Tensor) -> Tensor:
    """U V^T, nearly, of the singular value decompositions U S V^T of matrices (N, rows, columns): singular values come
    out between 0.7 and 1.2. Five Newton-Schulz steps, X <- A X + B (X X^T) X + C (X X^T)^2 X."""
    x = matrices / (matrices.flatten(1).norm(dim=1)[:, None, None] + 1e-7)
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x  # the smaller of the two squares
    for _ in range(5):
        square = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(square, square, square, beta=B, alpha=C), x, beta=A)
    return x.mT if tall else x


def muon(net: nn.Module, lr: float = 4e-3, weight_decay: float = 0.0) -> Muon:
    """Muon for every weight with two or more dimensions, but for those that the network itself calls `elementwise`; AdamW for
    these, biases and norms, which do not decay."""
    apart = {id(p) for p in getattr(net, "elementwise", list)()}
    weights = [p for p in net.parameters() if p.ndim > 1 and id(p) not in apart]
    others = [p for p in net.parameters() if p.ndim <= 1 or id(p) in apart]
    groups = [
        {"params": weights, "weight_decay": weight_decay, "orthogonal": True},
        {"params": others, "weight_decay": 0.0, "orthogonal": False},
    ]
    return Muon(groups, lr=lr, betas=(0.9, 0.99), fused=True)
