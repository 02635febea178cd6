"""A student's teacher: its configuration made from the teacher's, and the belief that it learns from."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from mezzotint import config as configuration
from mezzotint.cond import Cond
from mezzotint.conditions.labels import nothing
from mezzotint.config import Config
from mezzotint.config.distil import ObjectiveName
from mezzotint.diffusion.corrections import clip
from mezzotint.diffusion.denoiser import Denoise
from mezzotint.diffusion.guidance import Guidance, Guided, cfg
from mezzotint.disk.files import digest
from mezzotint.disk.model_file import read_header
from mezzotint.disk.names import find
from mezzotint.disk.snapshots import snapshots_until
from mezzotint.errors import ConfigError, ModelError
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.run.start import check_same

FEWEST_STEPS = 8  # of a walk that is distilled


def student(
    name: str | Path,
    method: ObjectiveName,
    calls: int,
    overrides: list[str],
    weak: tuple[str, str] | None = None,
    **changes: object,
) -> Config:
    """The configuration of a student of the model `name` for so many calls, with `key=value` overrides and changes by dotted key
    with __ for the dot. Raises ConfigError or ModelError in one line.

    weak: a model and its weights, as `load` takes them, which guidance drives the teacher away from. Data, network and process are the
    teacher's. teacher.sample, how it walks, is its own way of sampling with 8 steps, or with twice the calls where that is more.
    """
    path = find(name)
    teacher = read_header(path).config
    if teacher.objective == "autoencode":
        raise ConfigError(f"{name} is an autoencoder, which makes no samples; distil a model of its codes")
    if teacher.teacher is not None or teacher.objective != "denoise":
        raise ConfigError(f"{name} is a student itself; distil its teacher")
    steps = max(FEWEST_STEPS, 2 * calls)
    walked = {**teacher.sample.model_dump(), "steps": steps}
    sampler = "consistency" if method == "consistency" else "ddim"
    tree = {
        **teacher.model_dump(mode="json", exclude={"train", "sample", "origin"}),
        **(
            {"codec": {"file": str(path.absolute())}} if teacher.codec else {}
        ),  # the teacher has it in its file
        "objective": method,
        "teacher": {
            "file": str(path.absolute()),
            "digest": digest(path),
            "calls": calls,
            "sample": walked,
            "weak": _weak(weak),
        },
        "train": {**TRAIN, "batch_size": teacher.train.batch_size // 2 or 1},
        "sample": {
            "sampler": sampler,
            "steps": calls,
            "spacing": teacher.sample.spacing,
            "clip": teacher.sample.clip,
        },
    }
    return configuration.change(tree, overrides, **changes)


def _weak(weak: tuple[str, str] | None) -> dict[str, str] | None:
    if weak is None:
        return None
    path = find(weak[0])
    return {"file": str(path.absolute()), "digest": _of_weights(path, weak[1]), "weights": weak[1]}


def _of_weights(path: Path, weights: str) -> str:
    """The digest of what weights are read from: of a run's average at a step its snapshots up to there, which stay as they are when the
    run goes on, and else the model file."""
    _, at, step = weights.partition("@")
    if not at:
        return digest(path)
    return digest(*snapshots_until(path.parent, int(step)).values())


TRAIN = {
    "optimizer": "muon",
    "lr": 2e-3,
    "ema": 0.08,
    "label_drop": 0.0,
    "precision": "fp32",
    "compile": False,
    "warmup": 0.02,
    "minutes": 15,
}


def open_teacher(config: Config, device: torch.device) -> Model | None:
    """The model that a student learns from; None where it has none. Raises ModelError where it is gone or another one."""
    if config.teacher is None:
        return None
    path, key, weak = config.teacher.file, config.teacher.digest, config.teacher.weak
    check_same(path, key, "teacher", "this student was trained with")
    teacher = load(path, device=str(device))
    if weak is None:
        return teacher
    if not weak.file.is_file():
        raise ModelError(
            f"the weak model {weak.file} is missing; restore it, or give its place: teacher.weak.file=FILE"
        )
    if _of_weights(weak.file, weak.weights) != weak.digest:
        raise ModelError(
            f"{weak.file} ({weak.weights}) is not the weak model that this student was trained with; restore that one, or --overwrite the run"
        )
    return teacher.by_weak(load(weak.file, device=str(device), weights=weak.weights))


def belief(teacher: Model, config: Config) -> Denoise:
    """What the teacher says, guided and corrected as it samples: (x (B, *D), logsnr (B,), cond) -> x0, without a gradient."""
    assert config.teacher is not None
    settings = teacher.settings(**config.teacher.sample.model_dump())
    ends = torch.tensor([settings.guided_between], dtype=torch.float64)
    guidance = Guidance(
        torch.tensor([settings.guidance if teacher.guidable else 1.0], dtype=torch.float64),
        nothing(teacher.classes, teacher.language).map(lambda column: column.to(teacher.device)),
        ends,
        torch.tensor([settings.guidance_rescale], dtype=torch.float64),
    )
    clips = teacher.codec.bounded if settings.clip is None else settings.clip
    guided = cast(Guided, teacher.guided) if teacher.guidable else cfg(teacher.denoiser)
    correct = clip() if clips else None

    @torch.no_grad()
    def denoise(x: Tensor, logsnr: Tensor, cond: Cond) -> Tensor:
        x0 = guided(x, logsnr, cond, Guidance.cat([(guidance, len(x))]))
        return correct(x0) if correct else x0

    return denoise
