"""What requests say, and what answers look like. Types and limits are those of the configuration."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from mezzotint.config import Sample, SamplerName, SpacingName

MAX_CLASSES = 256  # of one request's list
Name = Annotated[str, Field(max_length=2000)]
ClassNumber = Annotated[int, Field(ge=0, lt=2**31)]
Class = ClassNumber | Name | Annotated[list[ClassNumber | Name], Field(min_length=1, max_length=MAX_CLASSES)]
N = Annotated[int, Field(ge=1, lt=2**31, description="how many pictures")]
Seed = Annotated[
    int, Field(ge=0, lt=2**63, description="picture i is made from seed + i; drawn by chance if left out")
]
Steps = Annotated[int, Field(ge=1, le=10_000, description="more is slower and more accurate")]
Guidance = Annotated[float, Field(ge=0, le=100, description="1 is off; 2 to 4 is clearer, less varied")]
ModelName = Annotated[str, Field(max_length=200, description="of /v1/models; the first one if left out")]


class Query(BaseModel):
    """Settings of `GET /generate`; what is left out is as the model's own defaults say."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    n: N = 1
    steps: Steps | None = None
    sampler: SamplerName | None = None
    seed: Seed | None = None
    guidance: Guidance | None = None
    label: Annotated[
        str | None,
        Field(
            alias="class",
            max_length=2000,
            description="a name, a number, a list a,b, all, or none; drawn if left out",
        ),
    ] = None
    model: ModelName | None = None


class Body(BaseModel):
    """Pictures to make; what is left out is as the model's own defaults say. The settings inside a PNG are such a body."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True)

    model: ModelName | None = None
    n: N = 1
    label: Annotated[
        Class | None,
        Field(
            alias="class",
            description='a name, a number, a list of them in turn, "all" or "none"; drawn if left out',
        ),
    ] = None
    seed: Seed | None = None
    sampler: SamplerName | None = None
    steps: Steps | None = None
    guidance: Guidance | None = None
    eta: Annotated[float, Field(ge=0, le=1, description="fresh noise of ddim")] | None = None
    churn: Annotated[float, Field(ge=0, le=1e6, description="fresh noise of heun, euler, dpm2")] | None = None
    spacing: SpacingName | None = None
    clip: (
        Annotated[
            bool,
            Field(
                description="keep the network's guess at the clean picture (x0 prediction) in the range of the data"
            ),
        ]
        | None
    ) = None
    guidance_interval: (
        Annotated[
            tuple[Annotated[float, Field(ge=0)], float | None],
            Field(strict=False, description="guide for sigma / alpha in between alone; null: no upper end"),
        ]
        | None
    ) = None
    guidance_rescale: (
        Annotated[float, Field(ge=0, le=1, description="share of CFG rescale, for contrast")] | None
    ) = None
    step: (
        Annotated[int, Field(description="refused where the model is of another step of training")] | None
    ) = None
    weights: Annotated[Name, Field(description="refused where the model has others")] | None = None


Format = Literal["png", "json", "zip"]


class GenerateBody(Body):
    format: Annotated[
        Format, Field(description="png: one picture or a grid; json: PNGs in base64; zip: single PNGs")
    ] = "png"


class JobBody(Body):
    preview_every: Annotated[
        int | None, Field(ge=1, le=10_000, description="steps between previews; a tenth of all if left out")
    ] = None


class JobStatus(BaseModel):
    """How far a job is. Finished ones are kept for a while; see /v1/limits."""

    id: str
    state: Literal["queued", "started", "done", "failed", "cancelled"]
    step: int
    steps: int
    n: int
    seed: int
    model: str
    seconds: float  # since its arrival, or from there to its end
    detail: str | None = None  # of a failure


class Pictures(BaseModel):
    """What was made: PNGs in base64, or points of models of points. Picture i is made again, alone, by seeds[i] and the
    class labels[i]."""

    settings: dict[str, object]
    seeds: list[int]
    labels: list[str] | None  # names
    images: list[str] | None = None
    points: list[list[float]] | None = None  # (n, 2)


class ModelInfo(BaseModel):
    name: str
    default: bool
    shape: list[int]  # [channels, height, width], or [2] for points
    classes: list[str]
    parameters: int
    step: int  # of training
    weights: str
    device: str
    defaults: Sample


class SamplerInfo(BaseModel):
    name: str
    when: str  # to use it
    paper: str
    order: int
    calls: int  # of the network, a step
    stochastic: bool


class Health(BaseModel):
    status: Literal["ok", "stopping"]
    name: str = "mezzotint"
    version: str
    models: int
    requests: int  # that are not over
