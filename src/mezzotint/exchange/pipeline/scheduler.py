"""A DDPMScheduler's or DDIMScheduler's configuration in terms of ours, and back."""

from types import NoneType
from typing import Any

import torch

from mezzotint import build
from mezzotint.config import Betas, Config, Discrete, parse
from mezzotint.diffusion.schedule import Table
from mezzotint.errors import ConfigError
from mezzotint.exchange.pipeline.fields import Fields

PREDICTIONS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
CURVES = {"linear": "linear", "scaled_linear": "scaled_linear", "sigmoid": "sigmoid_beta"}
# What ends our kinds of schedules have, by (curve, beta_start, beta_end).
KINDS = {
    ("linear", 1e-4, 0.02): "linear",
    ("scaled_linear", 0.00085, 0.012): "scaled_linear",
    ("scaled_linear", 1e-4, 0.02): "quadratic",
    ("sigmoid_beta", 1e-4, 0.02): "sigmoid_beta",
}
SPACINGS = {"leading": "leading", "trailing": "trailing"}
VARIANCES = {"fixed_small": "ddpm", "fixed_small_log": "ddpm", "fixed_large": "ddpm_large"}
DDIM_STEPS = 50  # that diffusers takes where nobody says how many


def read_scheduler(fields: Fields) -> dict[str, Any]:
    """The groups `diffusion` and `sample` of a configuration. Raises ModelError, naming the field.

    Clipping is ours, which steps along the noise that follows from the clipped picture, as theirs does in DDPM, and in DDIM with
    use_clipped_model_output. Spacing linspace is refused, since their steps of T // n do not meet its timesteps.
    """
    ddpm = fields.one_of("_class_name", {"DDPMScheduler": True, "DDIMScheduler": False})
    steps = fields.count("num_train_timesteps")
    clip = fields.take("clip_sample", bool, True)
    if clip:
        fields.only("clip_sample_range", 1, default=1)
    fields.unused("clip_sample_range")
    fields.only("thresholding", False, default=False)
    fields.unused("dynamic_thresholding_ratio", "sample_max_value")  # of thresholding
    fields.only("steps_offset", 0, default=0)
    sample: dict[str, Any] = {
        "spacing": fields.one_of("timestep_spacing", SPACINGS, "leading"),
        "clip": clip,
        "sampler": "ddim",
        "steps": min(DDIM_STEPS, steps),
    }
    if ddpm:
        sample |= {"sampler": fields.one_of("variance_type", VARIANCES, "fixed_small"), "steps": steps}
    else:
        fields.only("set_alpha_to_one", True, default=True)
    diffusion = {
        "process": "vp",
        "parameterization": fields.one_of("prediction_type", PREDICTIONS, "epsilon"),
        "schedule": {
            **_curve(fields),
            "timesteps": steps,
            "zero_terminal_snr": fields.take("rescale_betas_zero_snr", bool, False),
        },
    }
    fields.finish()
    return {"diffusion": diffusion, "sample": sample}


def _curve(fields: Fields) -> dict[str, Any]:
    if fields.take("trained_betas", (list, NoneType), None) is not None:
        fields.refuse("trained_betas", "[...]", "only a beta_schedule by its name can be read")
    curve = fields.one_of("beta_schedule", {**CURVES, "squaredcos_cap_v2": "cosine"}, "linear")
    ends = [fields.take("beta_start", float, 1e-4), fields.take("beta_end", float, 0.02)]
    if curve == "cosine":
        return {"kind": curve}  # whose ends are its own
    for name, end in zip(("beta_start", "beta_end"), ends):
        if not 0 < end < 1:
            fields.refuse(name, end, "a variance lies between 0 and 1")
    if kind := KINDS.get((curve, *ends)):
        return {"kind": kind}
    return {"kind": "betas", "curve": curve, "start": ends[0], "end": ends[1]}


def written_scheduler(config: Config) -> dict[str, Any]:
    """The inverse: the fields of a DDPMScheduler where the model is sampled by ddpm or ddpm_large, else of a DDIMScheduler. Curves
    that the class has no name for go as numbers. Raises ConfigError, naming the key."""
    diffusion, sample = config.diffusion, config.sample
    if diffusion.process != "vp":
        raise ConfigError(
            f"diffusion.process {diffusion.process} has no counterpart in diffusers' DDPM; use vp"
        )
    if not isinstance(diffusion.schedule, Discrete):
        raise ConfigError(
            f"diffusion.schedule.kind {diffusion.schedule.kind} has no counterpart in diffusers' DDPM, which has timesteps; train "
            "with one of `mezzotint show schedule`"
        )
    predictions = {ours: theirs for theirs, ours in PREDICTIONS.items()}
    if diffusion.parameterization not in predictions:
        raise ConfigError(
            f"diffusion.parameterization {diffusion.parameterization} has no counterpart in diffusers' DDPM; {', '.join(predictions)} have"
        )
    ddpm = sample.sampler in ("ddpm", "ddpm_large")
    own = (
        {"variance_type": "fixed_large" if sample.sampler == "ddpm_large" else "fixed_small"}
        if ddpm
        else {"set_alpha_to_one": True}
    )
    spacing = sample.spacing or build.spacing(config)
    return {
        "_class_name": "DDPMScheduler" if ddpm else "DDIMScheduler",
        "num_train_timesteps": diffusion.schedule.timesteps,
        **_written_curve(config, ddpm),
        "rescale_betas_zero_snr": diffusion.schedule.zero_terminal_snr,
        "prediction_type": predictions[diffusion.parameterization],
        "clip_sample": sample.clip is not False,
        "clip_sample_range": 1.0,
        "thresholding": False,
        "timestep_spacing": spacing if spacing in SPACINGS else "trailing",
        "steps_offset": 0,
        **own,
    }


def _written_curve(config: Config, ddpm: bool) -> dict[str, Any]:
    schedule = config.diffusion.schedule
    assert isinstance(schedule, Discrete)
    if schedule.kind == "cosine":
        return {"beta_schedule": "squaredcos_cap_v2", "trained_betas": None}
    ends = {kind: ends for ends, kind in KINDS.items()}.get(schedule.kind)
    if isinstance(schedule, Betas):
        ends = schedule.curve, schedule.start, schedule.end
    if ends is None or (ends[0] == "sigmoid_beta" and not ddpm):
        return {"trained_betas": _betas(config)}
    curve = next(theirs for theirs, ours in CURVES.items() if ours == ends[0])
    return {"beta_schedule": curve, "beta_start": ends[1], "beta_end": ends[2], "trained_betas": None}


def _betas(config: Config) -> list[float]:
    """beta_t = 1 - alpha^2(t) / alpha^2(t - 1), (T,), before they are rescaled."""
    plain = config.model_dump(mode="json")
    plain["diffusion"]["schedule"]["zero_terminal_snr"] = False
    table = build.make_schedule(parse(plain))
    assert isinstance(table, Table)
    kept = 1 / (1 + (-table.logsnr).exp())
    return (1 - kept / torch.cat([kept.new_ones(1), kept[:-1]])).tolist()
