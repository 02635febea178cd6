"""The optimiser and its learning rate."""

import math
from collections.abc import Callable

import torch
from torch import nn


def adamw(net: nn.Module, lr: float = 1e-3, weight_decay: float = 0.0) -> torch.optim.AdamW:
    """AdamW (Loshchilov & Hutter 2019), fused; biases and norms (one-dimensional weights) do not decay."""
    weights = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=True)


def learning_rate(peak: float, warmup: float = 0.05, decay: str = "cosine") -> Callable[[float], float]:
    """The learning rate as a function of the share of the budget done, in [0, 1]: linear warm-up over the share
    `warmup`, then constant, or half a cosine down to zero (Loshchilov & Hutter 2017)."""

    def at(share: float) -> float:
        if share < warmup:
            return peak * share / warmup
        if decay == "constant":
            return peak
        return peak * 0.5 * (1 + math.cos(math.pi * (share - warmup) / (1 - warmup)))

    return at
