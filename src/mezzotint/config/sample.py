"""The group `sample`: how to sample unless told otherwise."""

import math
from typing import Annotated, Literal

from pydantic import Field

from mezzotint.config.base import Tree

SamplerName = Literal[
    "ddpm",
    "ddpm_large",
    "ddim",
    "euler_a",
    "heun",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "unipc",
    "consistency",
    "euler",
    "dpm2",
    "dpm2_a",
    "dpmpp_2s",
    "dpmpp_2s_a",
    "dpmpp_sde",
    "dpmpp_3m",
    "dpmpp_3m_published",
    "dpmpp_3m_sde",
    "unipc_3",
    "lms",
    "deis",
    "heun_flow",
]
SpacingName = Literal["leading", "trailing", "linspace", "karras", "logsnr", "time"]


class Sample(Tree):
    """How to sample unless told otherwise."""

    sampler: SamplerName = "dpmpp_2m"
    steps: Annotated[int, Field(ge=1, le=10_000)] = 20
    spacing: SpacingName | None = None  # None: trailing for discrete schedules, time for flow, else karras
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0  # share of fresh noise in ddim: 1 is DDPM
    churn: Annotated[float, Field(ge=0)] = 0.0  # EDM's S_churn, for euler, heun, dpm2
    guidance: Annotated[float, Field(ge=0, le=100)] = 1.0  # scale of classifier-free guidance; 1: off
    guidance_interval: tuple[Annotated[float, Field(ge=0)], float | None] | None = (
        None  # values of sigma / alpha to guide between; [0.3, null] has no upper end
    )
    guidance_rescale: Annotated[float, Field(ge=0, le=1)] = (
        0.0  # share of CFG rescale, against washed-out contrast
    )
    clip: bool | None = None  # limit of the x0 prediction to the range of the data; None: for pictures

    @property
    def guided_between(self) -> tuple[float, float]:
        """The sigma / alpha that guidance is limited to: from 0 to infinity where it is not."""
        low, high = self.guidance_interval or (0.0, None)
        return low, math.inf if high is None else high
