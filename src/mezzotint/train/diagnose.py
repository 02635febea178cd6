"""Diagnosis of training: where a value stopped being finite, and how noisy the gradient is."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.cond import Batch
from mezzotint.diffusion.schedule import Schedule
from mezzotint.train.loop import draw
from mezzotint.train.objectives import Objective


def blame(
    objective: Objective, schedule: Schedule, net: nn.Module, batch: Batch, seed: int, step: int
) -> str:
    """Computes a step once more, with hooks, and names the first thing in it that is not finite: the data, a layer and
    the noise levels it failed at, or a gradient. One line. Costs one step; changes no weights.

    schedule: of the noise levels. step: optimiser steps done before it. The noise is that of the step; dropped labels and dropout are not.
    """
    x0, cond = batch
    if not bool(x0.isfinite().all()):
        rows = (~x0.flatten(1).isfinite().all(1)).nonzero().flatten().tolist()
        return f"the data has values that are not finite, in {_list_rows(rows)} of the batch"
    for name, weight in net.named_parameters():
        if not bool(weight.isfinite().all()):
            return f"the weights of {name} are not finite any more"
    eps, u, _ = draw(seed, step, x0)
    logsnr = schedule(u)
    failures: list[str] = []

    def watch(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            if failures or not isinstance(output, Tensor) or bool(output.isfinite().all()):
                return
            bad = ~output.detach().isfinite().flatten(1).all(1).cpu()
            place = (
                f" at logsnr {_describe_levels(logsnr[bad])}, {_list_rows(bad.nonzero().flatten().tolist())}"
            )
            kind = type(module).__name__
            failures.append(
                f"layer {name or 'net'} ({kind}) gives values that are not finite,{place} of the batch"
            )

        return hook

    hooks = [module.register_forward_hook(watch(name)) for name, module in net.named_modules()]
    try:
        each = objective(x0, eps, u, cond)
    finally:
        for hook in hooks:
            hook.remove()
    if failures:
        return failures[0]
    finite = each.detach().isfinite().cpu()
    if not bool(finite.all()):
        return f"the loss is not finite at logsnr {_describe_levels(logsnr[~finite])}, though every layer is"
    each.mean().backward()
    bad_gradients = [
        name for name, p in net.named_parameters() if p.grad is not None and not bool(p.grad.isfinite().all())
    ]
    net.zero_grad()
    if bad_gradients:  # backward runs from the last layer to the first
        return f"the gradient is not finite, first in {bad_gradients[-1]}"
    largest = max(float(p.detach().abs().max()) for p in net.parameters())
    return f"with the present weights (the largest is {largest:.3g}) the step is finite again"


def _list_rows(rows: Sequence[int]) -> str:
    text = ", ".join(str(row) for row in rows[:4]) + (", ..." if len(rows) > 4 else "")
    return f"row{'s' if len(rows) > 1 else ''} {text}"


def _describe_levels(logsnr: Tensor) -> str:
    low, high = float(logsnr.min()), float(logsnr.max())
    return f"{low:.1f}" if low == high else f"{low:.1f} to {high:.1f}"


def gradient_noise_scale(
    objective: Objective, net: nn.Module, batches: Sequence[Batch], seed: int = 0, parts: int = 8
) -> float | None:
    """The batch size, in pictures, at which the noise of the gradient equals the gradient: far below it a larger batch
    makes every step better, far above it a larger batch is wasted (McCandlish et al. 2018, appendix A.1).

    Compares the squared norm of the gradient of whole batches (B) with that of their parts (b), whose excess is the
    variance: tr(Sigma) (1 / b - 1 / B). Costs one step a batch, in eval mode; changes no weights. None where the
    gradient drowns in its noise.
    """
    parameters = [p for p in net.parameters() if p.requires_grad]
    training = net.training
    net.eval()
    signal = noise = 0.0
    for step, (x0, cond) in enumerate(batches):
        if len(x0) < 2 * parts:
            continue
        eps, u, _ = draw(seed, step, x0)
        total, small = [torch.zeros_like(p) for p in parameters], 0.0
        for first in range(parts):
            rows = slice(first, None, parts)
            some = cond.map(lambda column, rows=rows: column[rows])  # type: ignore[misc]
            part = torch.autograd.grad(objective(x0[rows], eps[rows], u[rows], some).mean(), parameters)
            small += _squared(part) / parts
            torch._foreach_add_(total, part, alpha=1 / parts)
        large, size = _squared(total), len(x0)
        signal += (size * large - size / parts * small) / (size - size / parts)
        noise += (small - large) / (parts / size - 1 / size)
    net.train(training)
    return noise / signal if signal > 0 and noise > 0 else None


def _squared(tensors: Sequence[Tensor]) -> float:
    return float(sum(t.double().square().sum() for t in tensors))
