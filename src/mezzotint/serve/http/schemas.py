"""Requests and responses. Types and limits are those of the configuration."""

import base64
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from mezzotint.config import Sample, SamplerName, SpacingName

MAX_CLASSES = 256  # of one request's list
Name = Annotated[str, Field(max_length=2000)]
Text = Annotated[str, Field(max_length=2000)]
ClassNumber = Annotated[int, Field(ge=0, lt=2**31)]
Class = ClassNumber | Name | Annotated[list[ClassNumber | Name], Field(min_length=1, max_length=MAX_CLASSES)]
N = Annotated[int, Field(ge=1, lt=2**31, description="number of pictures")]
Seed = Annotated[
    int, Field(ge=0, lt=2**63, description="picture i is made from seed + i; random if left out")
]
Steps = Annotated[
    int, Field(ge=1, le=10_000, description="number of steps; more is slower and more accurate")
]
Guidance = Annotated[
    float, Field(ge=0, le=100, description="guidance scale (CFG): 1 is off; 2 to 4 is clearer, less varied")
]
ModelName = Annotated[
    str, Field(max_length=200, description="name from /v1/models; the first one if left out")
]


class Query(BaseModel):
    """Settings of `GET /generate`; what is left out is the model's default."""

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
            description="a name, a number, a list a,b, all, or none; random if left out",
        ),
    ] = None
    model: ModelName | None = None


class Body(BaseModel):
    """Pictures to make; what is left out is the model's default. The settings inside a PNG are such a body."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, populate_by_name=True)

    model: ModelName | None = None
    n: N = 1
    label: Annotated[
        Class | None,
        Field(
            alias="class",
            description='a name, a number, a list of them in turn, "all" or "none"; random if left out',
        ),
    ] = None
    prompt: (
        Annotated[
            Text | Annotated[list[Text], Field(min_length=1, max_length=MAX_CLASSES)],
            Field(description="prompt, for models with captions; several in turn"),
        ]
        | None
    ) = None
    negative: Annotated[Text, Field(description="negative prompt: guidance steers away from it")] | None = (
        None
    )
    seed: Seed | None = None
    sampler: SamplerName | None = None
    steps: Steps | None = None
    guidance: Guidance | None = None
    eta: Annotated[float, Field(ge=0, le=1, description="share of fresh noise, for ddim")] | None = None
    churn: (
        Annotated[
            float, Field(ge=0, le=1e6, description="amount of fresh noise (S_churn), for heun, euler, dpm2")
        ]
        | None
    ) = None
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
            Field(
                strict=False,
                description="range of noise levels sigma / alpha with guidance; null: no upper end",
            ),
        ]
        | None
    ) = None
    guidance_rescale: (
        Annotated[float, Field(ge=0, le=1, description="CFG rescale factor, against strong contrast")] | None
    ) = None
    step: Annotated[int, Field(description="training step of the model; refused if it differs")] | None = None
    weights: Annotated[Name, Field(description="weights of the model; refused if they differ")] | None = None


Format = Literal["png", "json", "zip"]


PictureFormat = Annotated[
    Format, Field(description="png: one picture or a grid; json: PNGs in base64; zip: single PNGs")
]


class GenerateBody(Body):
    format: PictureFormat = "png"


PreviewEvery = Annotated[
    int, Field(ge=1, le=10_000, description="steps between previews; a tenth of all if left out")
]


class JobBody(Body):
    preview_every: PreviewEvery | None = None


# --- edits -----------------------------------------------------------------------------------------------

Task = Literal["edit", "vary", "enlarge", "colour", "morph"]
TAKES: dict[Task, tuple[str, ...]] = {  # what each task takes beside the settings; it needs the first
    "edit": ("image", "mask", "strength", "returns", "feather"),
    "vary": ("image", "strength"),
    "enlarge": ("image", "factor", "returns", "grain"),
    "colour": ("image", "returns"),
    "morph": ("seeds",),
}
MORPH_N = 9  # pictures of a morph, unless it is said


def _file(value: Any) -> bytes:
    """The bytes of a file: as they are in a form, in base64 in JSON."""
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError):
        raise PydanticCustomError("file", "give one file: in a form as it is, in JSON as base64") from None


def _schema(description: str) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "contentEncoding": "base64", "description": description})


Image = Annotated[bytes, PlainValidator(_file), _schema("a picture file; in JSON as base64")]
Mask = Annotated[
    bytes,
    PlainValidator(_file),
    _schema("a picture file: white is repainted, or the transparent parts if it has some"),
]


class Edit(Body):
    """An edit of a picture, or a morph of two seeds; settings that are left out are the model's defaults."""

    task: Annotated[
        Task,
        Field(
            description="edit: the picture changed, or repainted under a mask; vary: pictures like it; enlarge; colour; "
            "morph: from one seed to another"
        ),
    ] = "edit"
    image: Image | None = None
    mask: Mask | None = None
    strength: (
        Annotated[float, Field(ge=0, le=1, description="strength of the change, for edit and vary")] | None
    ) = None
    returns: (
        Annotated[
            int, Field(ge=1, le=1000, description="repetitions of each step (RePaint), where a part is known")
        ]
        | None
    ) = None
    feather: (
        Annotated[
            float, Field(ge=0, le=1000, description="width of the soft edge inside the mask, in pixels")
        ]
        | None
    ) = None
    factor: (
        Annotated[
            int, Field(ge=2, le=1000, description="factor of enlarge; 2 or the model's own if left out")
        ]
        | None
    ) = None
    grain: (
        Annotated[
            float,
            Field(ge=0, le=0.5, description="noise added to the picture, for models trained to enlarge"),
        ]
        | None
    ) = None
    seeds: (
        Annotated[
            list[Annotated[int, Field(ge=0, lt=2**63)]],
            Field(min_length=2, max_length=2, description="seeds of the beginning and the end of a morph"),
        ]
        | None
    ) = None
    n: Annotated[int, Field(ge=1, lt=2**31, description="number of pictures; 9 for a morph if left out")] = 1
    label: Annotated[
        Class | None,
        Field(
            alias="class",
            description='as in /v1/generate, but "none" if left out; for a morph one or two, random if left out',
        ),
    ] = None

    @model_validator(mode="after")
    def _only_what_the_task_takes(self) -> Self:
        takes = TAKES[self.task]
        for name in dict.fromkeys(name for names in TAKES.values() for name in names):
            if getattr(self, name) is not None and name not in takes:
                raise PydanticCustomError("task", f"{name} is not for {self.task}; leave it out")
        if getattr(self, takes[0]) is None:
            raise PydanticCustomError("task", f"{self.task} needs {takes[0]}")
        if self.task == "morph" and self.seed is not None:
            raise PydanticCustomError("task", "a morph takes two seeds; give seeds in place of seed")
        if self.task == "morph" and isinstance(self.label, list) and len(self.label) > 2:
            raise PydanticCustomError("task", "a morph goes from one class to one other; name two at most")
        return self

    @property
    def count(self) -> int:
        """Number of pictures."""
        return MORPH_N if self.task == "morph" and "n" not in self.model_fields_set else self.n


class EditBody(Edit):
    format: PictureFormat = "png"


class EditJobBody(Edit):
    preview_every: PreviewEvery | None = None


# --- answers ---------------------------------------------------------------------------------------------


Shown = Literal["sheet", "single", "none"]  # of previews


class JobStatus(BaseModel):
    """State of a job. Finished jobs are kept for a while; see /v1/limits."""

    id: str
    state: Literal["queued", "started", "done", "failed", "cancelled"]
    step: int
    steps: int
    n: int
    seed: int
    model: str
    seconds: float  # since its arrival, or from there to its end
    detail: str | None = None  # of a failure
    note: str | None = None  # on what was sent: that a picture was resized
    ahead: int | None = None  # requests that came before it, while it is queued


class Pictures(BaseModel):
    """Samples: PNGs in base64, or points. Sample i alone is made again by seeds[i] and the class labels[i]."""

    settings: dict[str, object]
    seeds: list[int]
    labels: list[str] | None  # names
    images: list[str] | None = None
    points: list[list[float]] | None = None  # (n, 2)


class ModelInfo(BaseModel):
    name: str
    default: bool
    kind: str  # of what it makes: pictures, points or clips
    network: str
    data: str  # what it was trained on, by name
    guidable: bool  # whether guidance has a meaning
    samplers: list[str]  # those that it takes
    enlarges: int | None  # how many times; None for models that make pictures out of noise
    shape: list[int]  # [channels, height, width], or [2] for points
    classes: list[str]
    words: int  # that prompts may have; 0 without captions, and where any will do
    reading: Literal["words", "bytes", "encoder"] | None = None  # of prompts, None without captions
    examples: list[str]  # of prompts
    parameters: int
    step: int  # of training
    weights: str
    device: str
    defaults: Sample
    rows: int  # pictures that share a call, at most
    paces: list[
        tuple[int, float]
    ]  # milliseconds of a call, by its rows, measured at the start; empty where it was not


class RunInfo(BaseModel):
    name: str
    step: int  # of the newest checkpoint
    until: int | None  # the steps it will have; None before its first checkpoint
    model: bool  # whether it has a model that may be asked
    seconds_ago: float  # since something was written


class RunDetails(RunInfo):
    rows: int  # of its metrics
    metrics: dict[str, list[tuple[int, float]]]  # (step, value) by name; thinned
    sheets: list[int]  # steps
    checkpoints: list[int]
    snapshots: list[int]


class SamplerInfo(BaseModel):
    name: str
    when: str  # to use it
    paper: str
    order: int
    calls: int  # of the network, a step
    stochastic: bool
    eta: bool  # whether it takes eta,
    churn: bool  # or churn


class Health(BaseModel):
    status: Literal["ok", "stopping"]
    name: str = "mezzotint"
    version: str
    models: int
    requests: int  # that are not over
    shows_runs: bool  # whether /v1/runs has something to tell
