"""What do we believe x0 is?  `Denoiser` turns a network into a belief; the one place that calls the network."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mezzotint.cond import NO_COND, Cond
from mezzotint.diffusion.parameterization import Parameterization
from mezzotint.diffusion.process import Process, per_row

Denoise = Callable[[Tensor, Tensor, Cond], Tensor]  # (x (B, *D), logsnr (B,), cond) -> x0 (B, *D)


def takes_to(denoise: object) -> bool:
    """Whether a denoiser is a flow map, which is called with one thing more: `to`, (B,) float64, the level until which its
    answer will be held."""
    return getattr(denoise, "takes_to", False)


def time_condition(logsnr: Tensor) -> Tensor:
    """c_noise = 1000 t, the time sigma / (alpha + sigma) of the flow, in the range the sinusoidal embedding is made for."""
    return 1000 / (1 + (logsnr / 2).exp())


def sigma_condition(logsnr: Tensor) -> Tensor:
    """c_noise = log(sigma / alpha) / 4 (EDM, Karras et al. 2022, table 1)."""
    return -logsnr / 8


class Denoiser:
    """A network's belief about the clean picture: x0 = c_skip x + c_out F(c_in x, c_noise).

    net: any module called as net(x (B, *D), c_noise (B,), label=(B,) where there are classes) -> (B, *D).
    c_noise: level (B,) -> what the network is told about it: `time_condition`, `sigma_condition`, or, for the
    (fractional) timestep of a discrete schedule as in DDPM, `table.index`. dtype: the precision of the network (bfloat16 through
    autocast, float32 weights); everything outside it stays in the dtype of x.
    compile: torch.compile the network; batches are then padded to 1, 2, 4, 8, ... rows when no gradient is wanted, so
    that few shapes are compiled.
    """

    def __init__(
        self,
        net: Callable[..., Tensor],
        process: Process,
        parameterization: Parameterization,
        c_noise: Callable[[Tensor], Tensor] = time_condition,
        *,
        dtype: torch.dtype = torch.float32,
        compile: bool = False,
    ) -> None:
        self.net, self.process, self.parameterization, self.c_noise = net, process, parameterization, c_noise
        self.dtype = dtype
        self.compiled = compile
        self._call: Callable[..., Any] = torch.compile(net) if compile else net

    def c_skip(self, logsnr: Tensor) -> Tensor:
        """The share of x in the belief at each level, (B,) float64."""
        return self.parameterization(*self.process(logsnr)).c_skip

    def predict(self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND) -> Tensor:
        """The raw prediction F (B, *D) in the dtype of x: what the loss compares with its target."""
        c_in = self.parameterization(*self.process(logsnr)).c_in
        told = self.c_noise(logsnr).to(x.device, x.dtype, non_blocking=True).expand(len(x))
        return self._network(per_row(c_in, x) * x, told, cond.inputs()).to(x.dtype)

    def __call__(self, x: Tensor, logsnr: Tensor, cond: Cond = NO_COND) -> Tensor:
        """x0 (B, *D). x: (B, *D) on the network's device; logsnr: (B,) or 0-d float64 on the CPU."""
        c = self.parameterization(*self.process(logsnr))
        if not c.c_skip.abs().max() < 22026:  # exp(10), that is logsnr -20 for eps-prediction
            raise ValueError(
                "eps prediction says nothing about the picture at (nearly) pure noise, logsnr below -20: "
                "start lower, or train with v, x0 or velocity"
            )
        return per_row(c.c_skip, x) * x + per_row(c.c_out, x) * self.predict(x, logsnr, cond)

    def _network(self, x: Tensor, told: Tensor, inputs: dict[str, Tensor]) -> Tensor:
        rows_given = len(x)
        if self.compiled and not torch.is_grad_enabled():
            pad = (1 << (rows_given - 1).bit_length()) - rows_given
            x, told, inputs = _pad(x, pad), _pad(told, pad), {k: _pad(v, pad) for k, v in inputs.items()}
        with torch.autocast(x.device.type, self.dtype, enabled=self.dtype != torch.float32):
            return self._call(x, told, **inputs)[:rows_given]


def _pad(rows_given: Tensor, count: int) -> Tensor:
    return (
        torch.cat([rows_given, rows_given[-1:].expand(count, *rows_given.shape[1:])]) if count else rows_given
    )
