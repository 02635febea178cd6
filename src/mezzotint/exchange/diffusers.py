"""Samplers of others in the protocol of `check`. Nothing is imported: an adapter knows its object by what it has."""

import copy
from typing import Any

import torch
from torch import Tensor

from mezzotint.checking.check import AnySampler, Denoised
from mezzotint.diffusion import parameterization
from mezzotint.diffusion.process import Process, flow, ve, vp

PREDICTS = {
    "epsilon": parameterization.eps,
    "sample": parameterization.x0,
    "v_prediction": parameterization.v,
    "flow_prediction": parameterization.velocity,
}


def from_diffusers(scheduler: Any) -> AnySampler:
    """A scheduler of diffusers as a sampler that `check` can measure: its update rule on the levels that it is given.

    Takes schedulers that keep `sigmas` (Euler, Heun, LMS, DPMSolverMultistep, UniPC, DEIS, FlowMatchEuler, ...) and
    those that step through a table (DDIM, DDPM). Their levels are replaced, their rule and options are used as they
    are: mind that many clip x0, or end with steps of a lower order, unless told otherwise. Raises ValueError for a
    scheduler whose levels cannot be given from outside.
    """

    def run(denoise: Denoised, x: Tensor, sigmas: Tensor) -> Tensor:
        inner = copy.deepcopy(scheduler)
        process, calls = _set_levels(inner, sigmas)
        levels = -2 * calls.log()
        predicts = PREDICTS[getattr(inner.config, "prediction_type", "flow_prediction")]
        x = process(levels[0])[0] * x
        for t, level in zip(inner.timesteps, levels):
            alpha, sigma = process(level)
            x0 = denoise(x / alpha, sigma / alpha)
            # Networks see the variance-preserving state (or that of the flow), also where the scheduler's is another.
            network = vp if process is ve else process
            c, state = predicts(*network(level)), network(level)[0] / alpha * x
            x = inner.step((x0 - c.c_skip * state) / c.c_out, t, x, return_dict=False)[0].double()
        return x / process(-2 * sigmas[-1].log())[0]

    run.__name__ = type(scheduler).__name__
    return run


def _set_levels(scheduler: Any, sigmas: Tensor) -> tuple[Process, Tensor]:
    """Replaces a scheduler's levels by sigma / alpha (N + 1,). Its process, and the sigma / alpha of every call."""
    steps = len(sigmas) - 1
    scheduler.set_timesteps(steps)
    if not hasattr(scheduler, "sigmas"):
        # By table: entry j is the level after j steps from clean, and one step goes down by one entry.
        scheduler.alphas_cumprod = 1 / (1 + sigmas.flip(0) ** 2)
        scheduler.num_inference_steps = scheduler.config.num_train_timesteps
        scheduler.timesteps = torch.arange(steps, -1, -1)
        return vp, sigmas[:-1]
    if hasattr(scheduler, "sigmas_interpol") or hasattr(scheduler, "order_list"):
        raise ValueError(
            f"{type(scheduler).__name__} computes levels between its steps, which is not supported; write it as sampler(denoise, x, sigmas)"
        )
    # Two-stage methods visit every level but the first twice: at the end of one step, at the start of the next.
    visits = torch.cat([sigmas[:1], sigmas[1:].repeat_interleave(scheduler.order)])
    calls = visits[: scheduler.order * steps]
    straight = not hasattr(scheduler, "alphas_cumprod") or getattr(scheduler.config, "use_flow_sigmas", False)
    scheduler.sigmas = visits / (1 + visits) if straight else visits
    scheduler.timesteps = torch.arange(len(calls), 0, -1).double()
    scheduler.set_begin_index(0)
    if straight:
        return flow, calls
    scaled = scheduler.scale_model_input(torch.ones(1, 1).double(), scheduler.timesteps[0])
    return (vp if scaled == 1 else ve), calls
