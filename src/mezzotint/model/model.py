"""A trained model: `mezzotint.load("runs/mnist").sample(64, label=7, seed=0)`."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint import build
from mezzotint.cond import Cond
from mezzotint.conditions.frames import begun
from mezzotint.conditions.image import UNIT
from mezzotint.conditions.labels import NONE, Label, conditions, in_words, nothing, word
from mezzotint.conditions.text import Prompt, prompts_of
from mezzotint.config import Sample
from mezzotint.diffusion.corrections import Correction, clip
from mezzotint.diffusion.denoiser import Denoise, Denoiser
from mezzotint.diffusion.engine import Walk, together
from mezzotint.diffusion.guidance import Guidance, Guided, cfg
from mezzotint.diffusion.process import Process
from mezzotint.diffusion.schedule import Schedule
from mezzotint.disk.model_file import (
    Header,
    save_model,
)
from mezzotint.errors import ConfigError
from mezzotint.media.codec import Added, Codec
from mezzotint.model.by_clip import by_clip
from mezzotint.model.by_weak import by_weak
from mezzotint.model.edits import Edits, Picture
from mezzotint.model.inverted import KEPT, Inverted
from mezzotint.model.own import described, device_of
from mezzotint.model.request import Request, check_seeds
from mezzotint.model.samples import Preview, Samples
from mezzotint.model.settings import chosen, complete
from mezzotint.model.shown import with_picture
from mezzotint.tasks.generate import seeds_from
from mezzotint.tasks.invert import Invert
from mezzotint.tasks.task import Way


class Model:
    """A network with its model file's header. `denoiser` is the network's plain belief; `guided`, the same with
    guidance, is what the engine calls."""

    def __init__(
        self,
        header: Header,
        denoiser: Denoiser,
        device: torch.device,
        source: str,
        encoder: Path | None = None,
        codec: Codec | None = None,
    ) -> None:
        """codec: a trained one, such as an autoencoder; by default that of the medium."""
        assert isinstance(denoiser.net, nn.Module)
        self.header, self.denoiser, self.device, self.source = header, denoiser, device, source
        self.net: nn.Module = denoiser.net
        self.config, self.facts = header.config, header.facts
        self.medium, self.codec = header.facts.medium, codec or build.codec(header.config, header.facts)
        assert codec is not None or self.codec.weights is None, "a codec with weights must be given"
        self.schedule: Schedule = build.make_schedule(header.config)
        self.process: Process = denoiser.process
        self.language = build.language(header.config, header.facts, device, encoder)
        self.clip: str | None = None  # the digest of what guides it, if it is one of `by_clip`
        self.weak: dict[str, Any] | None = None  # what it is guided away from, if it is one of `by_weak`
        self.guided: Denoise | Guided = cfg(denoiser, c_skip=denoiser.c_skip) if self.guidable else denoiser

    @staticmethod
    def of(
        denoiser: Denoiser,
        schedule: Schedule,
        *,
        shape: Sequence[int],
        classes: Sequence[str] = (),
        step: int = 0,
    ) -> "Model":
        """A model from a network trained in Python, with a copy of its present weights.

        denoiser: of the network to sample, usually the EMA, with the process, parameterization and c_noise of the
        training. schedule: that of the training loss. shape: of one sample, (2,) or (C, H, W), pictures coded to [-1, 1].
        classes: their names, in the order of the labels; the network must take label K, "none", too. step: of the training,
        for the file. Raises ConfigError.
        """
        header, bound = described(denoiser, schedule, shape, classes, step)
        return Model(header, bound, device_of(bound), type(bound.net).__name__)

    def save(self, path: str | Path) -> None:
        """Writes a model file, which `load` and the command line take. For a network of your own it holds the weights
        but no code, see `load`."""
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_model(Path(path), self.net, self.header, self.codec.weights)

    def by_clip(self, folder: str | Path) -> "Model":
        """The same model, guided to a prompt by a CLIP in a folder, whether or not it was trained on captions: guidance is then
        the factor of CLIP's logit (Nichol et al. 2022, "GLIDE", section 2.4). Each step has a backward pass through both."""
        return by_clip(self, folder)

    def by_weak(self, weak: "Model") -> "Model":
        """The same model, guided away from a weaker one with the same condition, not away from the unconditional prediction (Karras et al. 2024, autoguidance): fewer errors, the same variety. weak: such as `load(RUN, weights="0.1@800")`, the run after 800 steps.
        Unconditional models can be guided this way, too."""
        return by_weak(self, weak)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the labels; empty for an unconditional model."""
        return self.facts.classes

    @property
    def guidable(self) -> bool:
        """Whether guidance has an effect: there are classes or captions, or a weak model."""
        return bool(self.classes) or self.language is not None or self.weak is not None

    @property
    def blank(self) -> Tensor | None:
        """A blank input picture for a model that enlarges, (1, C, h, w) uint8; None for other models."""
        factor = self.config.data.enlarge
        if not factor:
            return None
        channels, height, width = self.facts.shape
        return torch.zeros(1, channels, height // factor, width // factor, dtype=torch.uint8)

    @property
    def batch(self) -> int:
        """The default batch size: samples per network call."""
        return self.medium.batch

    def sample(
        self, n: int = 16, *, label: Label = None, seed: int = 0, batch: int | None = None, **settings: Any
    ) -> Samples:
        """Makes n pictures (or points).

        label: a class by name or number, a list of them (cycled), "all" (every class in turn), "none" (no class, so
        unguided; write "(all)" and "(none)" where classes have these names), or None: a class drawn for each picture from its seed.
        seed: picture i is made from seed + i and does not depend on the others. batch: batch size, by
        default 64 pictures or 4,096 points.
        settings: sampler, steps, guidance, eta, spacing, clip; the model's own defaults otherwise. Settings read from a
        picture can be passed as they are, `sample(**read_settings("a.png"))`: it is made again.
        """
        return self.answer(self.request(n, label=label, seed=seed, **settings), batch)

    def answer(self, request: Request, batch: int | None = None) -> Samples:
        """The samples of a request, such as those of `edits`. batch: as in `sample`."""
        batch = self.batch if batch is None else batch
        if batch < 1:
            raise ConfigError(f"batch must be at least 1, not {batch}")
        return self.finish(request, torch.cat([self.make(part) for part in request.parts(batch)]))

    def stream(
        self, n: int | Request = 16, *, label: Label = None, seed: int = 0, **settings: Any
    ) -> Iterator[Preview]:
        """Like `sample`, in one batch, a preview after every step; stop by leaving the loop. The last belief is the result.

        n: the number of samples, or a request of `edits`, which has all settings: `model.stream(model.edits.edit("seven.png", strength=0.5))`.
        """
        if isinstance(n, Request):
            if label is not None or seed or settings:
                raise ConfigError(
                    "a request has all settings; give label, seed and settings where you make it"
                )
            yield from self.previews(n)
        else:
            yield from self.previews(self.request(n, label=label, seed=seed, **settings))

    # --- with a picture --------------------------------------------------------------------------------------

    @property
    def edits(self) -> Edits:
        """Requests that start from a picture or keep known parts of one, for `answer` and `stream`."""
        return Edits(self)

    def edit(self, picture: Picture, mask: Picture | None = None, **arguments: Any) -> Samples:
        """Changes a picture as a whole, by a strength below 1, or where a mask is white: see `Edits.edit`."""
        return self.answer(self.edits.edit(picture, mask, **arguments))

    def vary(self, picture: Picture, **arguments: Any) -> Samples:
        """Makes pictures like this one: see `Edits.vary`."""
        return self.answer(self.edits.vary(picture, **arguments))

    def enlarge(self, picture: Picture | Samples, factor: int | None = None, **arguments: Any) -> Samples:
        """Makes a picture larger; a model that enlarges also takes all samples of another one: see `Edits.enlarge`."""
        return self.answer(self.edits.enlarge(picture, factor, **arguments))

    def colour(self, picture: Picture, **arguments: Any) -> Samples:
        """Colours a grey picture: see `Edits.colour`."""
        return self.answer(self.edits.colour(picture, **arguments))

    def morph(self, begin: int, end: int, n: int = 9, **arguments: Any) -> Samples:
        """Makes samples between those of two seeds: see `Edits.morph`."""
        return self.answer(self.edits.morph(begin, end, n, **arguments))

    def invert(
        self,
        picture: Picture | Request,
        *,
        watch: Callable[[int], None] = lambda done: None,
        **arguments: Any,
    ) -> Inverted:
        """Finds the noise that a picture is made from: see `Edits.invert`, whose request it also takes. watch: called with
        the steps done. Sample it again with `model.answer(model.edits.from_noise(inverted))`, which also gives
        its residual."""
        request = picture if isinstance(picture, Request) else self.edits.invert(picture, **arguments)
        for preview in self.previews(request):
            watch(preview.step)
        settings = {**request.settings.model_dump(), "label": request.label}
        kept = {name: settings[name] for name in KEPT}
        found = Inverted(preview.x.float().cpu(), kept, residual=math.nan)
        (again,) = deque(self.previews(self.edits.from_noise(found)), maxlen=1)
        assert isinstance(request.task, Invert)
        off = float((again.x0.float().cpu() - request.task.picture).abs().max())
        return replace(found, residual=off)

    # --- requests --------------------------------------------------------------------------------------------

    def request(
        self,
        n: int,
        *,
        label: Label = None,
        prompt: Prompt = None,
        negative: str | None = None,
        image: Tensor | None = None,
        grain: float | None = None,
        seed: int = 0,
        **settings: Any,
    ) -> Request:
        """The arguments of `sample`, checked and completed. image: (n or 1, C, h, w) uint8 small pictures, for models that
        enlarge, under a `grain` of noise, by default 0.1 (see `conditions.image`); `Edits.enlarge` takes files. Raises ConfigError in one line."""
        if n < 1:
            raise ConfigError(f"n must be at least 1, not {n}")
        check_seeds(seed, n)
        if negative is not None or settings.get("guidance_rescale"):
            if self.clip is not None:
                raise ConfigError(
                    "guidance by a CLIP takes no negative prompt and no rescale; leave negative and guidance_rescale out"
                )
            if self.weak is not None:
                raise ConfigError(
                    "guidance by a weak model takes no negative prompt and no rescale; leave negative and guidance_rescale out"
                )
        completed = complete(self, self.settings(**settings))
        seeds = seeds_from(seed, n, torch.device("cpu"))
        cond, prompts = self.asked(seeds, label, prompt)
        cond, base = with_picture(self, cond, image, grain, seeds)
        away: Cond | None = None
        if negative is not None:
            away = self.asked(seeds[:1], NONE if self.classes else None, negative)[0].asked
        asked = in_words(label, self.classes, n)
        return Request(
            int(n),
            asked,
            cond,
            int(seed),
            completed,
            prompts=prompts,
            negative=negative,
            away=away,
            base=base,
        )

    def asked(
        self, seeds: Tensor, label: Label = None, prompt: Prompt = None
    ) -> tuple[Cond, tuple[str, ...]]:
        """The conditions of samples with seeds (n,) int64 on the CPU, for networks, and their prompts where the model has
        captions. Raises ConfigError."""
        if self.clip is not None and self.classes:
            if in_words(label, self.classes, 1) not in (None, word(NONE, self.classes)):
                raise ConfigError("guidance by a CLIP takes a prompt, not a class; leave the class out")
            label = NONE
        cond = conditions(label, self.classes, seeds, self.facts.empty)
        if self.config.data.known:  # of a sample, no frame is
            cond = replace(
                cond, image=self.begun(torch.zeros(self.facts.shape, dtype=torch.uint8), 0, len(seeds))
            )
        if self.language is None:
            if prompt is not None:
                raise ConfigError("this model was trained without captions; leave the prompt out")
            return cond, ()
        prompts = prompts_of(prompt, seeds, self.facts.examples)
        return replace(self.language.cond(prompts), label=cond.label, image=cond.image), prompts

    def begun(self, clip: Tensor, known: int, n: int) -> Tensor:
        """The condition for continuing a clip, uint8 (C, T, H, W), whose first frames are known: n rows."""
        codes = self.codec.encode(clip[None]).cpu()
        return begun(codes, torch.tensor([known])).expand(n, -1, -1, -1, -1)

    def codec_of(self, request: Request) -> Codec:
        """The codec between the codes of a request and its samples."""
        return self.codec if request.base is None else Added(self.codec, request.base, UNIT)

    @property
    def bounded(self) -> bool:
        """Whether its codes are in [-1, 1]."""
        return self.codec.bounded and self.blank is None

    def settings(self, **changes: Any) -> Sample:
        """The model's sampling defaults with changes. Raises ConfigError for a value or a name that is not possible."""
        return chosen(self, changes)

    def walk(self, request: Request, seeds: Tensor | None = None) -> Walk:
        """A request in progress, which calls `guided` alone or shares its calls with other walks of this model. seeds: (n,) int64
        on the CPU, of its things, where they do not follow each other."""
        seeds = request.seeds if seeds is None else seeds
        settings = request.settings
        way = Way(
            self.process,
            self.schedule,
            self.codec.shape(self.facts.shape),
            settings.sampler,
            settings.steps,
            settings.spacing or build.spacing(self.config),
            settings.eta,
            settings.churn,
        )
        cond = request.task.cond(request.cond)
        return Walk(
            request.task.steps(way, seeds.to(self.device)),
            cond.map(lambda column: column.to(self.device)),
            self.guidance(len(seeds), cond, settings, request.away),
            self._corrections(settings),
        )

    def guidance(self, n: int, cond: Cond, settings: Sample, away: Cond | None = None) -> Guidance | None:
        """How strongly the rows asked about for n things are driven to what they are asked to be, away from nothing asked, from
        something else or from what a weak model would make of it; rows that are asked just that are not. cond: of n rows, or of 2 n
        where each thing is asked about twice. None where neither a condition nor a weak model could drive anything."""
        away = nothing(self.classes, self.language) if away is None else away
        asked, others = cond.asked.inputs(), away.inputs()
        if not asked and self.weak is None:
            return None
        # A morph from class to class asks twice for each thing.
        n = next((len(column) for column in asked.values()), n)
        driven = torch.full((n,), self.weak is not None)
        for name, column in asked.items():
            driven |= (column != others[name]).reshape(n, -1).any(1)
        scale = torch.full((n,), settings.guidance, dtype=torch.float64)
        return Guidance(
            scale.where(driven, 1.0),
            away.map(lambda column: column.to(self.device)),
            torch.tensor([settings.guided_between], dtype=torch.float64).expand(n, 2),
            torch.full((n,), settings.guidance_rescale, dtype=torch.float64),
        )

    def _corrections(self, settings: Sample) -> list[Correction]:
        wanted = self.bounded if settings.clip is None else settings.clip
        return [clip()] if wanted else []

    def previews(self, request: Request) -> Iterator[Preview]:
        """Answers a request in one batch, a preview after every step."""
        codec = self.codec_of(request)
        for _, state in together(self.guided, {0: self.walk(request)}):
            yield Preview(state.step, request.steps, state.x, state.x0, self.medium, codec)

    def make(self, request: Request) -> Tensor:
        """Answers a request in one batch: its samples, decoded, on the CPU."""
        (last,) = deque(self.previews(request), maxlen=1)
        return last.belief

    def finish(self, request: Request, things: Tensor) -> Samples:
        """Bundles decoded samples with the settings that made them."""
        if request.finish is not None:
            things = request.finish(things)
        used = request.written(self.header, self.source)
        if self.clip is not None:
            used["by_clip"] = self.clip
        if self.weak is not None:
            used["weak"] = self.weak
        return Samples(
            things,
            request.seeds,
            request.cond.label,
            used,
            self.medium,
            self.classes,
            request.rows,
            request.prompts,
        )
