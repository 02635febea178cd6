"""A trained model, ready to be asked: `mezzotint.load("runs/mnist").sample(64, label=7, seed=0)`."""

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint import build
from mezzotint.cond import Cond
from mezzotint.conditions.labels import Label, conditions, nothing
from mezzotint.config import BAKED_IN, Sample, parse
from mezzotint.diffusion.corrections import Correction, clip
from mezzotint.diffusion.denoiser import Denoise, Denoiser
from mezzotint.diffusion.engine import Walk, together
from mezzotint.diffusion.guidance import Guidance, Guided, cfg
from mezzotint.diffusion.process import Process
from mezzotint.diffusion.schedule import Schedule
from mezzotint.diffusion.solvers import first_order
from mezzotint.diffusion.table import SAMPLERS, check_noise
from mezzotint.disk.checkpoint import last_checkpoint, load_raw
from mezzotint.disk.model_file import Header, check_network, fill, load_weights, read_header
from mezzotint.disk.names import find, spoken
from mezzotint.disk.snapshots import average_of
from mezzotint.errors import ConfigError, ModelError
from mezzotint.model.device import find_device, find_precision, place
from mezzotint.model.request import Request
from mezzotint.model.samples import Preview, Samples
from mezzotint.tasks.generate import seeds_from


class Model:
    """A network with all that its model file says of it. `denoiser` is the network's plain belief; `guided`, the same that
    can be steered, is what the engine asks."""

    def __init__(self, header: Header, denoiser: Denoiser, device: torch.device, source: str) -> None:
        assert isinstance(denoiser.net, nn.Module)
        self.header, self.denoiser, self.device, self.source = header, denoiser, device, source
        self.net: nn.Module = denoiser.net
        self.config, self.facts = header.config, header.facts
        self.medium, self.codec = header.facts.medium, build.codec(header.config, header.facts)
        self.schedule: Schedule = build.make_schedule(header.config)
        self.process: Process = denoiser.process
        self.guided: Denoise | Guided = cfg(denoiser, c_skip=denoiser.c_skip) if self.classes else denoiser

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels; empty for an unconditional model."""
        return self.facts.classes

    @property
    def batch(self) -> int:
        """Things a network call, usually."""
        return self.medium.batch

    def sample(
        self, n: int = 16, *, label: Label = None, seed: int = 0, batch: int | None = None, **settings: Any
    ) -> Samples:
        """Makes n pictures (or points).

        label: a class by name or number, a list of them (cycled), "all" (every class in turn), "none" (no class, and so
        unguided), or None: a class drawn for each picture from its seed.
        seed: picture i is made from seed + i and does not depend on the others. batch: things a network
        call, by default 64 pictures or 4,096 points.
        settings: sampler, steps, guidance, eta, spacing, clip; the model's own defaults otherwise.
        """
        batch = self.batch if batch is None else batch
        if batch < 1:
            raise ConfigError(f"batch must be at least 1, not {batch}")
        request = self.request(n, label=label, seed=seed, **settings)
        return self.finish(request, torch.cat([self.make(part) for part in request.parts(batch)]))

    def stream(
        self, n: int = 16, *, label: Label = None, seed: int = 0, **settings: Any
    ) -> Iterator[Preview]:
        """Like `sample`, in one batch, a preview after every step; stop by leaving the loop. The last belief is the result."""
        yield from self.previews(self.request(n, label=label, seed=seed, **settings))

    # --- requests --------------------------------------------------------------------------------------------

    def request(self, n: int, *, label: Label = None, seed: int = 0, **settings: Any) -> Request:
        """What `sample` is told, checked and completed. Raises ConfigError in one line."""
        if n < 1:
            raise ConfigError(f"n must be at least 1, not {n}")
        chosen = self.settings(**settings)
        seeds = seeds_from(seed, n, torch.device("cpu"))
        cond = conditions(label, self.classes, seeds, self.facts.empty)
        return Request(n, label, cond, seed, chosen)

    def settings(self, **changes: Any) -> Sample:
        """The model's sampling defaults with changes. Raises ConfigError for a value or a name that is not possible."""
        given = {key: value for key, value in changes.items() if value is not None}
        if given.get("sampler", self.config.sample.sampler) != self.config.sample.sampler:
            given = {"eta": 0.0, "churn": 0.0, **given}  # the model's own belong to its own sampler
        settings = parse({"sample": {**self.config.sample.model_dump(), **given}}).sample
        try:
            check_noise(settings.sampler, settings.eta, settings.churn)
        except ValueError as error:
            raise ConfigError(f"sample: {error}") from None
        if settings.guidance != 1 and self.config.teacher is not None:
            raise ConfigError(BAKED_IN)
        if self.config.objective == "map" and SAMPLERS[settings.sampler].solver is not first_order:
            whole = [name for name, row in SAMPLERS.items() if row.solver is first_order]
            raise ConfigError(
                f"this student knows whole steps alone, and {settings.sampler} combines answers: take {', '.join(whole)}"
            )
        if settings.guidance != 1 and not self.classes and "guidance" in given:
            raise ConfigError("guidance needs classes, and this model has none; leave guidance out")
        return settings

    def walk(self, request: Request) -> Walk:
        """A request on its way, which asks `guided` alone or shares its calls with other walks of this model."""
        settings = request.settings
        steps = request.task(
            self.process,
            self.schedule,
            self.codec.shape(self.facts.shape),
            seeds_from(request.seed, request.n, self.device),
            sampler=settings.sampler,
            steps=settings.steps,
            spacing=settings.spacing or build.spacing(self.config),
            eta=settings.eta,
            churn=settings.churn,
        )
        cond = request.cond.map(lambda column: column.to(self.device))
        return Walk(
            steps, cond, self._guidance(request.cond, request.n, settings), self._corrections(settings)
        )

    def _guidance(self, cond: Cond, n: int, settings: Sample) -> Guidance | None:
        """How strongly n rows are driven to what they are asked to be; rows that are asked nothing are not."""
        if cond.label is None:
            return None
        low, high = settings.guidance_interval or (0.0, math.inf)
        scale = torch.full((n,), settings.guidance, dtype=torch.float64)
        return Guidance(
            scale.where(cond.label != len(self.classes), 1.0),
            nothing(self.classes).map(lambda column: column.to(self.device)),
            torch.tensor([[low, high]], dtype=torch.float64).expand(n, 2),
            torch.full((n,), settings.guidance_rescale, dtype=torch.float64),
        )

    def _corrections(self, settings: Sample) -> list[Correction]:
        wanted = self.codec.bounded if settings.clip is None else settings.clip
        return [clip()] if wanted else []

    def previews(self, request: Request) -> Iterator[Preview]:
        """Answers a request in one batch, a preview after every step."""
        for _, state in together(self.guided, {0: self.walk(request)}):
            yield Preview(state.step, request.settings.steps, state.x, state.x0, self.medium, self.codec)

    def make(self, request: Request) -> Tensor:
        """Answers a request in one batch: its things, decoded, on the CPU."""
        (last,) = deque(self.previews(request), maxlen=1)
        return last.belief

    def finish(self, request: Request, things: Tensor) -> Samples:
        """Bundles finished things with what made them."""
        used = request.settings.model_dump()
        used |= {"seed": request.seed, "label": request.label, "n": len(things), "model": self.source}
        used |= {"step": self.header.step, "weights": self.header.weights}
        return Samples(things, request.seeds, request.cond.label, used, self.medium, self.classes)


def load(
    name: str | Path, *, device: str = "auto", weights: str = "ema", precision: str | None = None
) -> Model:
    """A model from a run directory, a run's name, "latest", or a model file.

    weights: "ema", the average (the model file's own); "raw", the last weights of the run's newest checkpoint; or a
    length such as "0.07": the average of that length, made from the run's snapshots.
    precision: "fp32" or "bf16"; by default as in training.
    """
    path = find(name)
    header = read_header(path)
    where = find_device(device)
    check_network(path, lambda: build.network(header.config, header.facts))
    net = build.network(header.config, header.facts)
    if weights == "ema":
        load_weights(net, path)
    elif weights == "raw":
        newest = last_checkpoint(path.parent)
        if newest is None:
            raise ModelError(
                f"{path} stands alone, without checkpoints; raw weights are only in a run directory"
            )
        load_raw(newest, net)
        header = replace(header, weights="raw")
    else:
        length = _length(weights)
        fill(net, average_of(path.parent, length), path.parent / "ema")
        header = replace(header, weights=f"ema {length:g}")
    net = place(net, where).eval().requires_grad_(False)
    wanted = precision or header.config.train.precision
    dtype = find_precision(wanted, where) if header.facts.medium.half else torch.float32
    return Model(
        header,
        build.denoiser(header.config, net, dtype=dtype),
        where,
        spoken(path),
    )


def _length(weights: str) -> float:
    try:
        return float(weights)
    except ValueError:
        raise ConfigError(f"weights must be ema, raw or a length such as 0.07, not {weights!r}") from None
