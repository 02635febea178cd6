"""The group `diffusion`: noise, levels, what is predicted, what is minimised."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from mezzotint.config.base import Tree


class Discrete(Tree):
    """T timesteps, as in DDPM."""

    kind: Literal["linear", "scaled_linear", "quadratic", "sigmoid_beta", "cosine", "sigmoid"] = "cosine"
    timesteps: Annotated[int, Field(ge=2, le=100_000)] = 1000  # number of timesteps, T
    zero_terminal_snr: bool = False  # rescale so that the last level is pure noise


class Betas(Discrete):
    """T timesteps whose variances beta run along a curve between two ends, as published models say it."""

    kind: Literal["betas"]  # type: ignore[assignment]
    curve: Literal["linear", "scaled_linear", "sigmoid_beta"] = "linear"
    start: Annotated[float, Field(gt=0, lt=1)] = 1e-4
    end: Annotated[float, Field(gt=0, lt=1)] = 0.02


class Karras(Tree):
    """sigma to the power 1 / rho is uniform, between two ends; sigma here is sigma / alpha."""

    kind: Literal["karras"]
    sigma_min: Annotated[float, Field(gt=0)] = 0.002
    sigma_max: Annotated[float, Field(gt=0)] = 80.0
    rho: Annotated[float, Field(gt=0)] = 7.0

    @model_validator(mode="after")
    def _check_order(self) -> "Karras":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} must be below sigma_max {self.sigma_max:g}")
        return self


class Lognormal(Tree):
    """EDM's density of sigma; with the flow process, logit-normal times."""

    kind: Literal["lognormal"]
    mean: float = -1.2  # mean of log(sigma / alpha)
    std: Annotated[float, Field(gt=0)] = 1.2


class LinearTime(Tree):
    """Uniform time of the straight flow."""

    kind: Literal["linear_time"]


class Diffusion(Tree):
    """The mathematics: noise, levels, what is predicted, what is minimised."""

    process: Literal["vp", "ve", "flow"] = "vp"
    schedule: Annotated[Discrete | Betas | Karras | Lognormal | LinearTime, Field(discriminator="kind")] = (
        Discrete()
    )
    parameterization: Literal["eps", "x0", "v", "velocity", "edm"] = "v"  # what the network predicts
    sigma_data: Annotated[float, Field(gt=0)] = 0.5  # standard deviation of the data, for edm
    weight: Literal["simple", "snr", "min_snr", "p2", "edm", "vlb", "jit"] = (
        "simple"  # weight of the levels in the loss
    )
    distance: Literal["l2", "l1", "huber"] = "l2"  # distance between prediction and target

    @model_validator(mode="after")
    def _check_combination(self) -> "Diffusion":
        zero_snr = isinstance(self.schedule, Discrete) and self.schedule.zero_terminal_snr
        if self.parameterization == "eps" and (zero_snr or self.schedule.kind == "linear_time"):
            raise ValueError(
                "eps cannot be learned from pure noise: use v, x0 or velocity with this schedule"
            )
        if self.process == "ve" and (zero_snr or self.schedule.kind == "linear_time"):
            raise ValueError("the ve process has no pure noise: use vp or flow with this schedule")
        if self.weight == "vlb" and self.schedule.kind in ("lognormal", "linear_time"):
            raise ValueError("the vlb weight needs a schedule with finite ends: a discrete one or karras")
        return self
