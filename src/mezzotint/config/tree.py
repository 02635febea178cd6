"""The configuration: one tree, which is the YAML of a run, the key=value overrides, and the header of a model file.

Imports no torch, so that --help and a wrong key answer at once.
"""

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    model_validator,
)

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
Share = Annotated[float, Field(ge=0, lt=1)]
Factors = Annotated[list[PositiveInt], Field(min_length=1)]


def _interval(text: str) -> str:
    if not re.fullmatch(r"\s*(?=.*[1-9])\d+(\.\d+)?\s*(%|steps?|epochs?)\s*", text):
        raise ValueError("say it as '500 steps', '2 epochs' or '10%' (of the budget)")
    return text


def _size(value: Any, check: ValidatorFunctionWrapHandler) -> Any:
    try:
        return check(value)
    except ValidationError:
        raise ValueError("say it as one number, or as [height, width], of 1 to 4096") from None


Interval = Annotated[str, AfterValidator(_interval)]
Side = Annotated[int, Field(ge=1, le=4096)]
Size = Annotated[Side | tuple[Side, Side], WrapValidator(_size)]
Count = Annotated[int, Field(ge=1, le=10**12)]
Amount = Annotated[float, Field(gt=0, le=1e12)]


class Tree(BaseModel):
    # numbers are taken for words, since YAML reads the name of class 7 as a number
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, coerce_numbers_to_str=True)


class Data(Tree):
    """What to learn from."""

    name: str = "digits"  # a 2-D set, digits, mnist, cifar10, ..., folder, parquet, or a hub id "owner/set"
    path: Path | None = None  # local files to read instead of asking the hub
    size: Size | None = None  # height and width; None: the set's own
    channels: Literal[1, 3] | None = None  # None: 1 if all pictures are grey, else 3
    limit: PositiveInt | None = None  # so many only, spread evenly over the set
    only: str | None = None  # one class alone
    labels: bool | None = None  # condition on the class; None: where there are classes
    flip: bool | None = None  # mirror at random; None: where that makes sense for the set
    crop: Annotated[int, Field(ge=0)] = 0  # shift at random by up to so many pixels
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0  # jitter of brightness, contrast and saturation
    holdout: Share = 0.05  # kept out of training (at most 1,000 pictures), for the held-out loss
    memory_gb: Annotated[float, Field(gt=0)] = 2.0  # larger sets are decoded as they are needed
    stream: bool = False  # parquet files read as they are needed: for sets that fit neither memory nor disk


class MLP(Tree):
    """For points."""

    kind: Literal["mlp"] = "mlp"
    width: PositiveInt = 128
    depth: PositiveInt = 4  # residual blocks


class UNetSimple(Tree):
    """A plain U-Net without attention."""

    kind: Literal["unet_simple"]
    width: PositiveInt = 32  # channels of the first level; each next has twice as many
    levels: Annotated[int, Field(ge=2, le=5)] = 3  # each of half the size of the one before
    norm: Literal["group", "batch"] = "group"
    down: Literal["pool", "stride"] = (
        "pool"  # halve by the largest of four, or by a convolution with stride 2
    )


class UNet(Tree):
    """The full U-Net: residual blocks with adaptive norm, attention where asked."""

    kind: Literal["unet"] = "unet"
    width: PositiveInt = 64  # channels, times the level's multiplier
    multipliers: Factors = [1, 2, 2]  # of the width, one a level; each level has half the size
    blocks: PositiveInt = 2  # residual blocks a level on the way down, one more on the way up
    attention: list[PositiveInt] = []  # downsampling factors, relative to the picture, at which to attend
    linear_attention: bool = False  # cost grows with the positions, not with their square
    head_channels: PositiveInt = 32
    dropout: Share = 0.0  # in every residual block
    patch: PositiveInt = 1  # space-to-depth at the entrance: 2 makes it about 4 times faster


class Discrete(Tree):
    """T timesteps, as in DDPM."""

    kind: Literal["linear", "scaled_linear", "quadratic", "sigmoid_beta", "cosine", "sigmoid"] = "cosine"
    timesteps: Annotated[int, Field(ge=2, le=100_000)] = 1000  # T
    zero_terminal_snr: bool = False  # rescale so that the last level is pure noise


class Karras(Tree):
    """sigma to the power 1 / rho is uniform, between two ends; sigma here is sigma / alpha."""

    kind: Literal["karras"]
    sigma_min: Annotated[float, Field(gt=0)] = 0.002
    sigma_max: Annotated[float, Field(gt=0)] = 80.0
    rho: Annotated[float, Field(gt=0)] = 7.0

    @model_validator(mode="after")
    def _ordered(self) -> "Karras":
        if self.sigma_min >= self.sigma_max:
            raise ValueError(f"sigma_min {self.sigma_min:g} must be below sigma_max {self.sigma_max:g}")
        return self


class Lognormal(Tree):
    """EDM's density of sigma; with the flow process, logit-normal times."""

    kind: Literal["lognormal"]
    mean: float = -1.2  # of log(sigma / alpha)
    std: Annotated[float, Field(gt=0)] = 1.2


class LinearTime(Tree):
    """Uniform time of the straight flow."""

    kind: Literal["linear_time"]


class Diffusion(Tree):
    """The mathematics: noise, levels, what is predicted, what is minimised."""

    process: Literal["vp", "ve", "flow"] = "vp"
    schedule: Annotated[Discrete | Karras | Lognormal | LinearTime, Field(discriminator="kind")] = Discrete()
    parameterization: Literal["eps", "x0", "v", "velocity", "edm"] = "v"  # what the network predicts
    sigma_data: Annotated[float, Field(gt=0)] = 0.5  # standard deviation of the data, for edm
    weight: Literal["simple", "snr", "min_snr", "p2", "edm", "vlb"] = "simple"  # of the levels in the loss
    distance: Literal["l2", "l1", "huber"] = "l2"  # between prediction and target

    @model_validator(mode="after")
    def _fits(self) -> "Diffusion":
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


class Train(Tree):
    """How to learn. One budget: epochs, images, steps or minutes."""

    epochs: Amount | None = None
    images: Count | None = None
    steps: Count | None = None
    minutes: Amount | None = None
    batch_size: PositiveInt = 128
    accumulate: PositiveInt = 1  # micro-batches that a batch is computed in; less memory, the same step
    optimizer: Literal["adamw", "muon"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    warmup: Share = 0.05  # share of the budget
    decay: Literal["cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] | None = 1.0  # norm of the gradient
    ema: Annotated[float, Field(gt=0, lt=0.28)] = (
        0.05  # length of the average of weights, as a share of training; any other can be made afterwards
    )
    ema_decay: Annotated[float, Field(gt=0, lt=1)] | None = (
        None  # instead: a constant decay with warm-up, such as 0.9999
    )
    label_drop: Share = 0.1  # share of labels replaced by "none", for guidance
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool | None = None  # None: on CUDA
    recompute: bool = False  # activation checkpointing: less memory, about a third more time
    nonfinite: Literal["skip", "rollback"] = (
        "skip"  # a step that is not finite: leave it out, or go back to the last checkpoint at half the rate
    )
    log_every: Interval = "50 steps"
    validate_every: Interval = "10%"
    sample_every: Interval = "20%"
    evaluate_every: Interval | None = (
        None  # a Fréchet distance, as of `mezzotint evaluate`, but of fewer samples
    )
    checkpoint_every: Interval = "10%"
    keep: PositiveInt = 2  # checkpoints: the newest,
    keep_every: Interval | None = None  # and those of such steps for good
    snapshot_every: Interval = "10%"  # of the averages, from which those of other lengths are made

    @model_validator(mode="after")
    def _one_budget(self) -> "Train":
        if len(given := [b for b in BUDGETS if getattr(self, b) is not None]) > 1:
            raise ValueError(f"give one budget, not {' and '.join(given)}")
        if self.accumulate > self.batch_size:
            raise ValueError(f"accumulate {self.accumulate} is more than the batch size {self.batch_size}")
        return self


BUDGETS = ("epochs", "images", "steps", "minutes")


class Sample(Tree):
    """How to sample unless told otherwise."""

    sampler: SamplerName = "dpmpp_2m"
    steps: Annotated[int, Field(ge=1, le=10_000)] = 20
    spacing: SpacingName | None = None  # None: trailing for discrete schedules, time for flow, else karras
    eta: Annotated[float, Field(ge=0, le=1)] = 0.0  # ddim only: 1 is DDPM
    churn: Annotated[float, Field(ge=0)] = 0.0  # euler, heun, dpm2 only: EDM's S_churn
    guidance: Annotated[float, Field(ge=0, le=100)] = 1.0  # 1: off
    guidance_interval: tuple[Annotated[float, Field(ge=0)], float] | None = (
        None  # only for sigma / alpha in between
    )
    guidance_rescale: Annotated[float, Field(ge=0, le=1)] = (
        0.0  # share of CFG rescale, against washed-out contrast
    )
    clip: bool | None = None  # keep the belief in the range of the data; None: for pictures

    @model_validator(mode="after")
    def _has_noise(self) -> "Sample":
        if self.eta and self.sampler != "ddim":
            raise ValueError(f"eta is for the ddim sampler; {self.sampler} has none: leave eta out")
        if self.churn and self.sampler not in ("euler", "heun", "dpm2"):
            raise ValueError(f"churn is for euler, heun and dpm2; {self.sampler} has none: leave churn out")
        return self


class Config(Tree):
    data: Data = Data()
    network: Annotated[MLP | UNetSimple | UNet, Field(discriminator="kind")] = UNet()
    diffusion: Diffusion = Diffusion()
    train: Train = Train()
    sample: Sample = Sample()
