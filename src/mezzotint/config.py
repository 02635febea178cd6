"""The configuration: one tree, which is the YAML of a run, the key=value overrides, and the header of a model file.

Imports no torch, so that --help and a wrong key answer at once.
"""

import difflib
import re
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)

from mezzotint.errors import ConfigError

SamplerName = Literal["ddpm", "ddim", "euler_a", "heun", "dpmpp_2m"]
SpacingName = Literal["leading", "trailing", "linspace", "karras", "logsnr", "time"]
Share = Annotated[float, Field(ge=0, lt=1)]


def _interval(text: str) -> str:
    if not re.fullmatch(r"\s*\d+(\.\d+)?\s*(%|steps?|epochs?)\s*", text):
        raise ValueError("say it as '500 steps', '2 epochs' or '10%' (of the budget)")
    return text


Interval = Annotated[str, AfterValidator(_interval)]


class Tree(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Data(Tree):
    """What to learn from."""

    name: str = "digits"  # a 2-D set, digits, mnist, cifar10, ..., folder, parquet, or a hub id "owner/set"
    path: Path | None = None  # local files to read instead of asking the hub
    size: PositiveInt | tuple[PositiveInt, PositiveInt] | None = None  # height and width; None: the set's own
    channels: Literal[1, 3] | None = None  # None: 1 if all pictures are grey, else 3
    limit: PositiveInt | None = None  # the first so many only
    only: str | None = None  # one class alone
    labels: bool | None = None  # condition on the class; None: where there are classes
    flip: bool | None = None  # mirror at random; None: where that makes sense for the set
    crop: Annotated[int, Field(ge=0)] = 0  # shift at random by up to so many pixels
    colour: Annotated[float, Field(ge=0, lt=1)] = 0.0  # jitter of brightness, contrast and saturation
    holdout: Share = 0.05  # kept out of training (at most 1,000 pictures), for the held-out loss
    memory_gb: Annotated[float, Field(gt=0)] = 2.0  # larger sets are decoded as they are needed


class MLP(Tree):
    """For points."""

    kind: Literal["mlp"] = "mlp"
    width: PositiveInt = 128
    depth: PositiveInt = 4


class UNetSimple(Tree):
    """A plain U-Net without attention."""

    kind: Literal["unet_simple"]
    width: PositiveInt = 32
    levels: Annotated[int, Field(ge=2, le=5)] = 3
    norm: Literal["group", "batch"] = "group"
    down: Literal["pool", "stride"] = "pool"


class UNet(Tree):
    """The full U-Net: residual blocks with adaptive norm, attention where asked."""

    kind: Literal["unet"] = "unet"
    width: PositiveInt = 64
    multipliers: Annotated[list[PositiveInt], Field(min_length=1)] = [1, 2, 2]
    blocks: PositiveInt = 2
    attention: list[PositiveInt] = []  # downsampling factors, relative to the picture, at which to attend
    linear_attention: bool = False
    head_channels: PositiveInt = 32
    dropout: Share = 0.0
    patch: PositiveInt = 1  # space-to-depth at the entrance: 2 makes it about 4 times faster


class Discrete(Tree):
    """T timesteps, as in DDPM."""

    kind: Literal["linear", "scaled_linear", "quadratic", "sigmoid_beta", "cosine", "sigmoid"] = "cosine"
    timesteps: Annotated[int, Field(ge=2, le=100_000)] = 1000
    zero_terminal_snr: bool = False  # rescale so that the last level is pure noise


class Karras(Tree):
    kind: Literal["karras"]
    sigma_min: Annotated[float, Field(gt=0)] = 0.002
    sigma_max: Annotated[float, Field(gt=0)] = 80.0
    rho: Annotated[float, Field(gt=0)] = 7.0


class Lognormal(Tree):
    """EDM's density of sigma; with the flow process, logit-normal times."""

    kind: Literal["lognormal"]
    mean: float = -1.2
    std: Annotated[float, Field(gt=0)] = 1.2


class LinearTime(Tree):
    kind: Literal["linear_time"]


class Diffusion(Tree):
    """The mathematics: noise, levels, what is predicted, what is minimised."""

    process: Literal["vp", "ve", "flow"] = "vp"
    schedule: Annotated[Discrete | Karras | Lognormal | LinearTime, Field(discriminator="kind")] = Discrete()
    parameterization: Literal["eps", "x0", "v", "velocity", "edm"] = "v"
    sigma_data: Annotated[float, Field(gt=0)] = 0.5  # standard deviation of the data, for edm
    weight: Literal["simple", "snr", "min_snr", "p2", "edm", "vlb"] = "simple"
    distance: Literal["l2", "l1", "huber"] = "l2"

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

    epochs: Annotated[float, Field(gt=0)] | None = None
    images: PositiveInt | None = None
    steps: PositiveInt | None = None
    minutes: Annotated[float, Field(gt=0)] | None = None
    batch_size: PositiveInt = 128
    accumulate: PositiveInt = 1  # micro-batches that a batch is computed in; less memory, the same step
    lr: Annotated[float, Field(gt=0)] = 1e-3
    warmup: Share = 0.05  # share of the budget
    decay: Literal["cosine", "constant"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0)] | None = 1.0  # norm of the gradient
    ema: Annotated[float, Field(gt=0, lt=0.28)] = (
        0.05  # length of the average of weights, as a share of training
    )
    label_drop: Share = 0.1  # share of labels replaced by "none", for guidance
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool | None = None  # None: on CUDA
    log_every: Interval = "50 steps"
    validate_every: Interval = "10%"
    sample_every: Interval = "20%"
    checkpoint_every: Interval = "10%"
    keep: PositiveInt = 2  # checkpoints

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
    guidance: Annotated[float, Field(ge=0, le=100)] = 1.0  # 1: off
    clip: bool | None = None  # keep the belief in the range of the data; None: for pictures


class Config(Tree):
    data: Data = Data()
    network: Annotated[MLP | UNetSimple | UNet, Field(discriminator="kind")] = UNet()
    diffusion: Diffusion = Diffusion()
    train: Train = Train()
    sample: Sample = Sample()


def recipes() -> dict[str, Path]:
    """The recipes that come with the package, by name."""
    folder = resources.files("mezzotint") / "recipes"
    return {
        Path(str(f)).stem: Path(str(f)) for f in sorted(folder.iterdir(), key=str) if str(f).endswith(".yaml")
    }


def load(source: str, overrides: list[str] | tuple[str, ...] = (), **changes: Any) -> Config:
    """The configuration of a recipe's name or a YAML file, with `key=value` overrides ("train.lr=1e-4").

    changes: values by dotted key with __ for the dot (train__steps=10); None is passed over. A budget among the
    overrides or changes takes the place of the recipe's. Raises ConfigError in one line, with the remedy.
    """
    known = recipes()
    path = Path(source)
    if source in known and not path.is_file():
        path = known[source]
    elif not path.is_file():
        close = difflib.get_close_matches(source, known, 1)
        hint = f"did you mean {close[0]!r}?" if close else f"recipes: {', '.join(known)}"
        raise ConfigError(f"no recipe and no file is called {source!r}; {hint}")
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ConfigError(f"{path} must hold keys such as data, network and train")
    pairs = [(key.replace("__", "."), value) for key, value in changes.items() if value is not None]
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ConfigError(f"{text!r} is not an override; write key=value, for instance train.lr=1e-4")
        try:
            pairs.append((key.strip(), yaml.safe_load(value)))
        except yaml.YAMLError as error:
            raise ConfigError(f"the value of {key} is not valid YAML: {value!r}") from error
    if any(key.split(".")[-1] in BUDGETS for key, _ in pairs) and isinstance(tree.get("train"), dict):
        tree["train"] = {key: value for key, value in tree["train"].items() if key not in BUDGETS}
    for key, value in pairs:
        _set(tree, key, value)
    return parse(tree)


def _set(tree: dict[str, Any], key: str, value: Any) -> None:
    *parents, leaf = key.split(".")
    for parent in parents:
        tree = tree.setdefault(parent, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"{key}: {parent} is a single value, not a group of keys")
    tree[leaf] = value


def parse(tree: dict[str, Any]) -> Config:
    """A checked configuration from plain data. Raises ConfigError in one line that names the key."""
    try:
        return Config.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(" · ".join(_explain(e, tree) for e in error.errors()[:3])) from None


def _explain(error: Any, tree: dict[str, Any]) -> str:
    """One pydantic error as a sentence, with the nearest known key where one is unknown."""
    steps = [str(s) for s in error["loc"]]
    where: Any = tree
    path: list[str] = []  # without the tags of unions, which are no keys
    for step in steps:
        if isinstance(where, dict) and (step in where or error["type"] == "missing"):
            where = where.get(step)
            path.append(step)
        elif isinstance(where, list) and step.isdigit():
            path.append(step)
    key = ".".join(path) or "the configuration"
    match error["type"]:
        case "extra_forbidden":
            siblings = _siblings(Config, path[:-1], tree)
            close = difflib.get_close_matches(path[-1], siblings, 1)
            hint = (
                f"did you mean {'.'.join([*path[:-1], close[0]])}?"
                if close
                else f"known: {', '.join(siblings)}"
            )
            return f"unknown key {key}; {hint}"
        case "union_tag_invalid":
            return f"{key}: kind {error['ctx']['tag']!r} is not one of {error['ctx']['expected_tags']}"
        case "union_tag_not_found":
            return f"{key}: say which with a key 'kind'"
        case _:
            message = error["msg"].removeprefix("Value error, ")
            return f"{key}: {message[:1].lower()}{message[1:]}" + (
                f", not {where!r}" if not isinstance(where, dict | list) else ""
            )


def _siblings(model: type[BaseModel], path: list[str], tree: Any) -> list[str]:
    """The keys that are known beside the one at the end of a path; a union's member is found by its kind."""
    for step in path:
        tree = tree.get(step, {}) if isinstance(tree, dict) else {}
        annotation = model.model_fields[step].annotation
        members = [
            m
            for m in get_args(annotation) or (annotation,)
            if isinstance(m, type) and issubclass(m, BaseModel)
        ]
        kind = tree.get("kind") if isinstance(tree, dict) else None
        named = [
            m
            for m in members
            if "kind" in m.model_fields and kind in get_args(m.model_fields["kind"].annotation)
        ]
        model = (named or members)[0]
    return list(model.model_fields)


def dump(config: Config) -> str:
    """The whole tree as YAML, every key written out."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False)


def difference(old: Config, new: Config, ignore: frozenset[str] = frozenset()) -> list[str]:
    """Where two configurations differ, as "key: old -> new"."""

    def flat(tree: Any, prefix: str = "") -> dict[str, Any]:
        if not isinstance(tree, dict):
            return {prefix: tree}
        return {
            k: v
            for key, value in tree.items()
            for k, v in flat(value, f"{prefix}.{key}" if prefix else key).items()
        }

    a, b = flat(old.model_dump(mode="json")), flat(new.model_dump(mode="json"))
    keys = [k for k in {**a, **b} if k not in ignore and a.get(k) != b.get(k)]
    return [f"{k}: {a.get(k)} -> {b.get(k)}" for k in keys]
