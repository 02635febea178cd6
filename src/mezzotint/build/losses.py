"""The denoiser and the objective that a configuration describes."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, assert_never

import torch
from torch import Tensor, nn

from mezzotint.build.processes import make_process, make_schedule, spacing
from mezzotint.conditions.frames import Begun
from mezzotint.conditions.image import Shown
from mezzotint.config import VAE, Config, Diffusion, Discrete, Own
from mezzotint.diffusion import loss, parameterization, schedule
from mezzotint.diffusion.denoiser import Denoise, Denoiser, sigma_condition, time_condition
from mezzotint.diffusion.flowmap import FlowMap, flow_span, flow_time
from mezzotint.diffusion.schedule import grid
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.errors import ConfigError
from mezzotint.nets.features import FeatureNet
from mezzotint.train.autoencode import AutoencodeLoss
from mezzotint.train.consistency import ConsistencyLoss
from mezzotint.train.flow_map import WalkLoss
from mezzotint.train.meanflow import MeanFlowLoss
from mezzotint.train.objectives import Objective, bare
from mezzotint.train.progressive import ProgressiveLoss
from mezzotint.train.sketching import Sketched

Told = Literal["timestep", "time", "sigma"]
NO_DENOISER = "an autoencoder makes no pictures by itself; train a model of its codes: mezzotint train latent --codec RUN"


def denoiser(
    config: Config, net: nn.Module, *, dtype: torch.dtype = torch.float32, compile: bool = False
) -> Denoiser:
    """A network bound to its process and parameterization, told the level as it was in training."""
    known = (net, make_process(config), _parameterization(config))
    match config.objective:
        case "map":
            return FlowMap(*known, _condition(config), dtype=dtype, compile=compile)
        case "meanflow":
            return FlowMap(*known, flow_time, flow_span, dtype=dtype, compile=compile)
        case "denoise" | "progressive" | "consistency":
            return Denoiser(*known, _condition(config), dtype=dtype, compile=compile)
        case "autoencode":
            raise ConfigError(NO_DENOISER)
        case _:
            assert_never(config.objective)


def _condition(config: Config) -> Callable[[Tensor], Tensor]:
    levels = make_schedule(config)
    match _told(config):
        case "timestep" if isinstance(levels, schedule.Table):
            return levels.index
        case "timestep":
            raise ConfigError("network.told timestep needs a discrete diffusion.schedule; take time or sigma")
        case "time":
            return time_condition
        case "sigma":
            return sigma_condition


def _told(config: Config) -> Told:
    return config.network.told if isinstance(config.network, Own) else usual_told(config.diffusion)


def telling(config: Config) -> str:
    """What the network of a configuration is told of the level, in words that are the same where its weights mean the same."""
    if config.objective == "meanflow":
        return "time in [0, 1]"
    told = _told(config)
    return f"timesteps of {config.diffusion.schedule}" if told == "timestep" else told


def usual_told(diffusion: Diffusion) -> Told:
    """What networks of a configuration are told of the level (decisions/0003)."""
    if isinstance(diffusion.schedule, Discrete):
        return "timestep"
    return "sigma" if diffusion.parameterization == "edm" else "time"


def _parameterization(config: Config) -> parameterization.Parameterization:
    match config.diffusion.parameterization:
        case "eps":
            return parameterization.eps
        case "x0":
            return parameterization.x0
        case "v":
            return parameterization.v
        case "velocity":
            return parameterization.velocity
        case "edm":
            return partial(parameterization.edm, sigma_data=config.diffusion.sigma_data)
        case _:
            assert_never(config.diffusion.parameterization)


@dataclass(frozen=True)
class Lesson:
    """What a student learns from beside data. teacher: its belief, guided and clipped as it samples. held: an average that
    never moves by itself, for the student of the stage before."""

    teacher: Denoise
    held: nn.Module


def objective(config: Config, bound: Denoiser, lesson: Lesson | None = None) -> Objective:
    """What training minimises, of a denoiser. lesson: where the configuration has a teacher."""
    chosen = _of_denoiser(config, bound, lesson)
    if config.data.known:
        chosen = Begun(chosen, config.data.known)
    knows_texts = getattr(bare(bound.net), "sketch", None) is not None
    return Sketched(chosen, bound.net, bound.dtype) if knows_texts else chosen


def _of_denoiser(config: Config, bound: Denoiser, lesson: Lesson | None) -> Objective:
    match config.objective:
        case "denoise":
            levels = make_schedule(config)
            denoising = loss.DenoisingLoss(bound, levels, _weight(config, levels), _distance(config))
            enlarged = config.data.enlarge
            return Shown(denoising, enlarged, config.data.window) if enlarged else denoising
        case "meanflow":
            assert isinstance(bound, FlowMap)
            return MeanFlowLoss(bound)
        case "consistency":
            return ConsistencyLoss(bound, lesson.teacher if lesson else None)
        case "map":
            assert isinstance(bound, FlowMap) and lesson and config.teacher
            walked = config.teacher.sample
            if walked.eta or walked.churn or SAMPLERS[walked.sampler].stochastic:
                raise ConfigError(
                    f"the teacher samples without fresh noise, and {walked.sampler} adds some with these settings; set "
                    "teacher.sample.sampler=dpmpp_2m teacher.sample.eta=0 teacher.sample.churn=0"
                )
            stops = nested_grid(config, walked.steps)
            return WalkLoss(bound, lesson.teacher, SAMPLERS[walked.sampler].solver, stops)
        case "progressive":
            assert lesson and config.teacher
            last, steps, grids = (
                denoiser(config, lesson.held, dtype=bound.dtype),
                config.teacher.sample.steps,
                [],
            )
            while steps > config.teacher.calls:
                grids.append(nested_grid(config, steps))
                steps //= 2
            return ProgressiveLoss(bound, lesson.teacher, last, lesson.held, grids)
        case "autoencode":
            raise ConfigError(NO_DENOISER)
        case _:
            assert_never(config.objective)


def learned(
    config: Config,
    net: nn.Module,
    lesson: Lesson | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    compile: bool = False,
    features: FeatureNet | None = None,
) -> Objective:
    """What training minimises, of a network: by way of its denoiser, where it is one. features: of an autoencoder, where
    the configuration gives them a weight."""
    if isinstance(config.network, VAE):
        words = config.network
        distance = None if features is None else features.distance
        return AutoencodeLoss(
            net, words.factor, words.latents, dtype=dtype, features=distance, weight=config.train.features
        )
    return objective(config, denoiser(config, net, dtype=dtype, compile=compile), lesson)


def nested_grid(config: Config, steps: int) -> Tensor:
    """The levels (steps + 1,) of a grid whose every second stop is the grid of half the steps. Raises ConfigError where the
    spacing has none such, or where steps is no power of two."""
    chosen = config.sample.spacing or spacing(config)
    if chosen not in ("time", "trailing"):
        raise ConfigError(f"the stops of spacing {chosen} do not nest; set sample.spacing time or trailing")
    if steps & (steps - 1):
        raise ConfigError(f"teacher.sample.steps must be a power of two, not {steps}")
    stops = grid(chosen, steps, make_schedule(config))
    if not make_process(config)(stops[0])[1].isfinite():
        raise ConfigError(
            "the ve process has no pure noise, where spacing time starts; distil a model with vp or flow"
        )
    return stops


def _weight(config: Config, levels: schedule.Schedule) -> loss.Weight | None:
    match config.diffusion.weight:
        case "simple":
            return None
        case "snr":
            return loss.snr
        case "min_snr":
            return loss.min_snr()
        case "p2":
            return loss.p2()
        case "edm":
            return loss.edm(config.diffusion.sigma_data)
        case "vlb":
            return loss.vlb(levels)
        case "jit":
            return loss.jit()
        case _:
            assert_never(config.diffusion.weight)


def _distance(config: Config) -> Callable[[Tensor, Tensor], Tensor]:
    match config.diffusion.distance:
        case "l2":
            return loss.l2
        case "l1":
            return loss.l1
        case "huber":
            return loss.huber
        case _:
            assert_never(config.diffusion.distance)
