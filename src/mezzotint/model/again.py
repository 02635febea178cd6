"""The settings stored in a picture, as the command that makes it again."""

import shlex
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mezzotint.config import Sample
from mezzotint.diffusion.table import SAMPLERS


class _Weak(BaseModel):
    """A weak model that guidance drove away from."""

    model_config = ConfigDict(extra="forbid", strict=True)

    model: str = Field(pattern="^[^-]")
    step: int
    weights: str


class _Rest(BaseModel):
    """What settings have beside those of sampling."""

    model_config = ConfigDict(extra="forbid", strict=True)

    n: int = Field(ge=1)
    seed: int = Field(ge=0)
    label: str | list[str] | None
    model: str = Field(pattern="^[^-]")  # which would be an option
    step: int
    weights: str
    prompt: str | list[str] | None = None
    negative: str | None = None
    weak: _Weak | None = None
    step_of_sampling: int | None = None  # of a trajectory


def command(settings: Mapping[str, Any], run: str | None = None) -> str | None:
    """The command that makes the same picture. run: the name or path of its model; by default its name at that

    time. None where no `mezzotint sample` made it: its settings are others, such as those of a strip or of an older version. Of a
    chain, `run` is the last model; that its weights are the same is not said in it.
    """
    if settings.get("usual") is True and isinstance(settings.get("of"), Mapping):  # a chain of two models
        first, model, grain = command(settings["of"]), run or settings.get("model"), settings.get("grain")
        if (
            first is None
            or not isinstance(model, str)
            or model.startswith("-")
            or not isinstance(grain, float)
        ):
            return None
        return f"{first} {shlex.join(['--then', model, '--grain', _number(grain)])}"
    own = {key: value for key, value in settings.items() if key in Sample.model_fields}
    try:
        sample = Sample.model_validate(own)
        rest = _Rest.model_validate({key: value for key, value in settings.items() if key not in own})
    except ValidationError:
        return None
    if own.keys() != Sample.model_fields.keys() or sample.spacing is None or sample.sampler not in SAMPLERS:
        return None
    words = ["mezzotint", "sample", run or rest.model, "-n", str(rest.n), "--seed", str(rest.seed)]
    names = [rest.label] if isinstance(rest.label, str) else rest.label or []
    words += [f"--class={name}" for name in names]
    texts = [rest.prompt] if isinstance(rest.prompt, str) else rest.prompt or []
    words += [f"--prompt={text}" for text in texts]
    words += [f"--negative={rest.negative}"] if rest.negative is not None else []
    words += ["--sampler", sample.sampler, "--steps", str(sample.steps), "--spacing", sample.spacing]
    if SAMPLERS[sample.sampler].eta:
        words += ["--eta", _number(sample.eta)]
    if SAMPLERS[sample.sampler].churn:
        words += ["--churn", _number(sample.churn)]
    words += ["--guidance", _number(sample.guidance)]
    if sample.guidance != 1:
        low, high = sample.guidance_interval or (0.0, None)
        words += ["--interval", f"{_number(low)},{'inf' if high is None else _number(high)}"]
        words += ["--rescale", _number(sample.guidance_rescale)]
    words += ["--clip" if sample.clip else "--no-clip", "--weights", rest.weights]
    if rest.weak is not None:
        itself = rest.weak.model == rest.model and rest.weak.weights.endswith(f"@{rest.weak.step}")
        words += ["--weak", str(rest.weak.step) if itself else rest.weak.model]
    words += ["--trajectory"] if rest.step_of_sampling is not None else []
    return shlex.join(words)


def _number(value: float) -> str:
    """In full, and no longer than it has to be."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)
