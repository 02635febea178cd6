"""Sampling settings: the model's defaults with changes, checked and completed."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mezzotint import build
from mezzotint.config import BAKED_IN, Sample, parse
from mezzotint.diffusion.solvers import first_order
from mezzotint.diffusion.table import SAMPLERS, check_noise
from mezzotint.errors import ConfigError
from mezzotint.model.by_weak import told, unnamed

if TYPE_CHECKING:
    from mezzotint.model.model import Model


def chosen(model: "Model", changes: Mapping[str, Any]) -> Sample:
    """The model's sampling defaults with changes. Raises ConfigError for a value or a name that is not possible."""
    given = {key: value for key, value in changes.items() if value is not None}
    _check_origin(model, given)
    if given.get("sampler", model.config.sample.sampler) != model.config.sample.sampler:
        given = {"eta": 0.0, "churn": 0.0, **given}  # the model's own belong to its own sampler
    settings = parse({"sample": {**model.config.sample.model_dump(), **given}}).sample
    try:
        check_noise(settings.sampler, settings.eta, settings.churn)
    except ValueError as error:
        raise ConfigError(f"sample: {error}") from None
    if settings.clip and model.blank is not None:
        raise ConfigError("a model that enlarges predicts a difference, which has no range; leave clip out")
    if settings.guidance != 1 and model.config.teacher is not None:
        raise ConfigError(BAKED_IN)
    if model.config.objective == "map" and SAMPLERS[settings.sampler].solver is not first_order:
        whole = [name for name, row in SAMPLERS.items() if row.solver is first_order]
        raise ConfigError(
            f"this student makes whole steps only, and {settings.sampler} combines several predictions; use {', '.join(whole)}"
        )
    if settings.guidance != 1 and not model.guidable and "guidance" in given:
        raise ConfigError("guidance needs classes or captions, and this model has none; leave guidance out")
    return settings


def _check_origin(model: "Model", given: dict[str, Any]) -> None:
    """Takes out what the settings of a picture say of its model. Its name may have changed; its weights may not."""
    own = {"step": model.header.step, "weights": model.header.weights}
    other = [key for key in own if given.pop(key, own[key]) != own[key]]
    if other:
        raise ConfigError(
            f"{other[0]}: the picture is not of these weights, {own['weights']} at step {own['step']} of training; load the weights that it was made with, or leave step and weights out"
        )
    if (clip := given.pop("by_clip", model.clip)) != model.clip:
        what = "without a CLIP" if clip is None else f"with guidance by the CLIP {clip}"
        raise ConfigError(f"by_clip: the picture was made {what}; load the model so, or leave by_clip out")
    weak = given.pop("weak", model.weak)
    if unnamed(weak) != unnamed(model.weak):
        raise ConfigError(f"weak: the picture was made {told(weak)}; load the model so, or leave weak out")
    given.pop("model", None)


def complete(model: "Model", settings: Sample) -> Sample:
    """Settings with what they leave to the model, so that they mean the same when its defaults are others, and
    without what has no effect."""
    changes: dict[str, Any] = {
        "spacing": settings.spacing or build.spacing(model.config),
        "clip": model.bounded if settings.clip is None else settings.clip,
    }
    if model.clip is not None or model.weak is not None:
        changes |= {
            "guidance_interval": settings.guidance_interval or (0.0, None),
            "guidance_rescale": 0.0,
        }
    elif settings.guidance == 1 or not model.guidable:
        changes |= {"guidance": 1.0, "guidance_interval": None, "guidance_rescale": 0.0}
    elif settings.guidance_interval is None:
        changes["guidance_interval"] = (0.0, None)
    return settings.model_copy(update=changes)
