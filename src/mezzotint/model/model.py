"""A trained model, ready to be asked: `mezzotint.load("runs/mnist").sample(64, label=7, seed=0)`."""

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint import build
from mezzotint.cond import Cond
from mezzotint.config import Sample
from mezzotint.diffusion.denoiser import Denoise, Denoiser
from mezzotint.diffusion.engine import Walk, alone
from mezzotint.diffusion.guidance import cfg, clip
from mezzotint.diffusion.process import Process
from mezzotint.diffusion.schedule import Schedule
from mezzotint.disk.checkpoint import last_checkpoint
from mezzotint.disk.model_file import Header, fill, load_weights, read_header
from mezzotint.disk.names import find
from mezzotint.disk.snapshots import average_of
from mezzotint.errors import ConfigError, ModelError
from mezzotint.model.device import find_device, find_precision, place
from mezzotint.model.samples import Label, Preview, Samples
from mezzotint.randomness import CLASS, uniform
from mezzotint.tasks.generate import request, seeds_from


class Model:
    """A network with all that its model file says of it. `denoiser` is the network's plain belief."""

    def __init__(self, header: Header, denoiser: Denoiser, device: torch.device, source: str) -> None:
        self.header, self.denoiser, self.device, self.source = header, denoiser, device, source
        self.config, self.facts = header.config, header.facts
        self.batch = 64 if header.facts.pictures else 4096  # things a network call
        self.schedule: Schedule = build.make_schedule(header.config)
        self.process: Process = denoiser.process

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels; empty for an unconditional model."""
        return self.facts.classes

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
        if n < 1 or batch < 1:
            raise ConfigError(f"n and batch must be at least 1, not {n} and {batch}")
        values = [last.belief for last in self._last(n, label, seed, batch, settings)]
        return self.samples(torch.cat(values), label, seed, settings)

    def _last(
        self, n: int, label: Label, seed: int, batch: int, settings: dict[str, Any]
    ) -> Iterator[Preview]:
        labels = self.labels(label, n, seed)
        for begin in range(0, n, batch):
            count = min(batch, n - begin)
            part = None if labels is None else labels[begin : begin + count]
            yield from deque(self.stream(count, label=part, seed=seed + begin, **settings), maxlen=1)

    def samples(self, values: Tensor, label: Label, seed: int, settings: dict[str, Any]) -> Samples:
        """Bundles finished values with what made them."""
        used = self.settings(**settings).model_dump()
        used |= {
            "seed": seed,
            "label": label,
            "n": len(values),
            "model": self.source,
            "step": self.header.step,
        }
        used |= {"weights": self.header.weights}
        labels = self.labels(label, len(values), seed)
        seeds = seeds_from(seed, len(values), torch.device("cpu"))
        return Samples(values, seeds, labels, used, self.classes)

    def stream(
        self, n: int = 16, *, label: Label | Tensor = None, seed: int = 0, **settings: Any
    ) -> Iterator[Preview]:
        """Like `sample`, in one batch, a preview after every step; stop by leaving the loop. The last belief is the result."""
        chosen = self.settings(**settings)
        if n < 1:
            raise ConfigError(f"n must be at least 1, not {n}")
        labels = label if isinstance(label, Tensor) else self.labels(label, n, seed)
        run = self.run(n, labels, seed, chosen)
        for state in alone(self.belief(chosen), run.steps, run.cond):
            yield Preview(state.step, chosen.steps, state.x, state.x0)

    def run(self, n: int, labels: Tensor | None, seed: int, settings: Sample) -> Walk:
        """n pictures from seed on as a run, which asks `belief(settings)` alone or shares its calls with other runs.

        labels: (n,) int64 as from `labels`.
        """
        steps = request(
            self.process,
            self.schedule,
            self.facts.shape,
            seeds_from(seed, n, self.device),
            sampler=settings.sampler,
            steps=settings.steps,
            spacing=settings.spacing or build.spacing(self.config),
            eta=settings.eta,
            churn=settings.churn,
        )
        return Walk(steps, self.cond(labels, n, settings))

    def cond(self, labels: Tensor | None, n: int, settings: Sample) -> Cond:
        """What n rows are asked to be, every field set, so that requests of all kinds share a call."""
        if labels is None:
            return Cond()
        low, high = settings.guidance_interval or (0.0, math.inf)
        scale = torch.full((n,), settings.guidance, dtype=torch.float64)
        return Cond(
            label=labels.to(self.device),
            guidance=scale.where(labels.cpu() != len(self.classes), 1.0),  # no class, nothing to guide to
            interval=torch.tensor([[low, high]], dtype=torch.float64).expand(n, 2),
            negative=torch.full((n,), len(self.classes), device=self.device),
            rescale=torch.full((n,), settings.guidance_rescale, dtype=torch.float64),
        )

    def belief(self, settings: Sample) -> Denoise:
        """The denoiser with its wrappers: guidance by each row's scale, and clipping."""
        guided: Denoise = self.denoiser
        if self.classes:
            guided = cfg(self.denoiser, null=len(self.classes), c_skip=self.denoiser.c_skip)
        wants_clip = self.facts.pictures if settings.clip is None else settings.clip
        return clip(guided) if wants_clip else guided

    def settings(self, **changes: Any) -> Sample:
        """The model's sampling defaults with changes. Raises ConfigError for a value or a name that is not possible."""
        from mezzotint.config import parse

        given = {key: value for key, value in changes.items() if value is not None}
        if given.get("sampler", "ddim") != "ddim":
            given.setdefault("eta", 0.0)  # the model's own eta belongs to its own sampler
        if "sampler" in given:
            given.setdefault("churn", 0.0)  # and so does its churn
        settings = parse({"sample": {**self.config.sample.model_dump(), **given}}).sample
        if settings.guidance != 1 and not self.classes and "guidance" in given:
            raise ConfigError("guidance needs classes, and this model has none; leave guidance out")
        return settings

    def labels(self, label: Label, n: int, seed: int = 0) -> Tensor | None:
        """Class numbers of n pictures, (n,) int64, from a name, a number, a list (cycled), "all", "none" (no class: the
        null label), or None: picture i has a class drawn from seed + i, all classes equally often.

        A name wins over a number, since classes may be named by numbers. Raises ConfigError for unknown classes.
        """
        if not self.classes:
            if label is not None:
                raise ConfigError("this model was trained without classes; leave the class out")
            return None
        if label is None:
            drawn = uniform(seeds_from(seed, n, torch.device("cpu")), 0, CLASS, 1)[:, 0]
            return (drawn * len(self.classes)).long()
        if label == "none" and label not in self.classes:
            return torch.full((n,), len(self.classes))
        if label == "all":
            numbers = torch.arange(len(self.classes))
        else:
            wanted = [label] if isinstance(label, str) or not isinstance(label, Iterable) else label
            numbers = torch.tensor([self._class(one) for one in wanted])
        if not len(numbers):
            raise ConfigError("the list of classes is empty; name one, or leave it out")
        return numbers.repeat(-(-n // len(numbers)))[:n]

    def _class(self, one: int | str) -> int:
        name = str(one)
        if name in self.classes:
            return self.classes.index(name)
        if name.isdecimal() and int(name) < len(self.classes):
            return int(name)
        listed = ", ".join(self.classes[:12]) + (" ..." if len(self.classes) > 12 else "")
        raise ConfigError(
            f"there is no class {name!r}; give a name or a number below {len(self.classes)}: {listed}"
        )


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
    net = build.network(header.config, header.facts)
    if weights == "ema":
        load_weights(net, path)
    elif weights == "raw":
        newest = last_checkpoint(path.parent)
        if newest is None:
            raise ModelError(
                f"{path} stands alone, without checkpoints; raw weights are only in a run directory"
            )
        load_weights(net, newest / "model.safetensors")
        header = replace(header, weights="raw")
    else:
        length = _length(weights)
        fill(net, average_of(path.parent, length), path.parent / "ema")
        header = replace(header, weights=f"ema {length:g}")
    net = place(net, where).eval().requires_grad_(False)
    wanted = precision or header.config.train.precision
    dtype = find_precision(wanted, where) if header.facts.pictures else torch.float32
    return Model(
        header,
        build.denoiser(header.config, net, dtype=dtype),
        where,
        path.absolute().parent.name if path.name == "model.safetensors" else path.stem,
    )


def _length(weights: str) -> float:
    try:
        return float(weights)
    except ValueError:
        raise ConfigError(f"weights must be ema, raw or a length such as 0.07, not {weights!r}") from None
