"""Models, their engines, and the requests in progress: all of a server except HTTP."""

import asyncio
import logging
import secrets
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import torch
from starlette.concurrency import run_in_threadpool

from mezzotint.conditions.frozen import Frozen
from mezzotint.conditions.labels import NONE, Label, name_of
from mezzotint.config import Sample
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.disk.names import usual
from mezzotint.errors import ConfigError, DataError, MissingExtra, ModelError
from mezzotint.model.edits import Edits
from mezzotint.model.loading import load
from mezzotint.model.model import Model
from mezzotint.model.request import Request, check_seeds
from mezzotint.serve.engine.engine import Engine
from mezzotint.serve.engine.pace import Pace, measure
from mezzotint.serve.engine.tickets import Busy, Closed, Ticket
from mezzotint.serve.http.jobs import Job, Jobs, Now
from mezzotint.serve.http.problems import Problem
from mezzotint.serve.http.schemas import TAKES, Body, Edit, ModelInfo
from mezzotint.serve.http.settings import Settings
from mezzotint.serve.http.shelf import Shelf
from mezzotint.serve.http.watch import InferenceLog, Metrics

log = logging.getLogger(__name__)
GRACE = 2.0  # seconds for requests on board when the server stops
DECODING = 2  # pictures at once, so that many large ones do not take all memory
MAX_SCANS = 100  # of a JPEG; each costs a pass over all pixels, and takes no more than a few bytes


class Service:
    """models: by the name that requests use; the first is the default. One engine for each of their devices."""

    def __init__(self, models: Mapping[str, Model], settings: Settings) -> None:
        self.models, self.settings, self.limits = dict(models), settings, settings.limits
        self.log = InferenceLog(settings.log)
        self.jobs = Jobs(self.limits.keep_jobs, self.limits.keep_seconds)
        self.metrics = Metrics(lambda: self.open_requests)
        self.engines = {
            device: Engine(
                max_rows=self.limits.max_rows,
                max_queue=self.limits.max_queue,
                max_per_client=self.limits.max_per_client,
                watch=self.metrics.call,
            )
            for device in {model.device for model in self.models.values()}
        }
        self.shelf = (
            None if settings.runs is None else Shelf(settings.runs, settings.device, settings.encoder)
        )
        self.paces: dict[str, Pace] = {}  # of the models that were given, where measured
        self._decoding = asyncio.Semaphore(DECODING)
        self._closing = threading.Lock()
        self._closed: tuple[int, int] | None = None

    def measure(self) -> Iterator[str]:
        """Measures the best batch size of each model and sets it in its engine; a line on each. Takes a second a model."""
        for name, model in self.models.items() if self.settings.measure else ():
            self.paces[name] = pace = measure(model, self.limits.max_rows)
            self.engines[model.device].limit(model, rows := pace.rows(self.limits.max_rows))
            yield f"{name}: up to {rows} pictures a call; each costs {pace}"

    @property
    def default(self) -> str:
        return next(iter(self.models))

    @property
    def open_requests(self) -> int:
        """Unfinished requests."""
        return sum(map(len, self.engines.values()))

    @property
    def ready(self) -> bool:
        return all(engine.alive for engine in self.engines.values())

    def open(self, body: Body, client: str, preview_every: int | None = None) -> Job:
        """Takes a request in. Raises Problem: 404, 422, 429 or 503."""
        return self._submit(*self.request_of(body), client, preview_every)

    async def open_edit(self, body: Edit, client: str, preview_every: int | None = None) -> Job:
        """The same with a picture, which is decoded in another thread. Raises Problem as `open` does."""
        model = self.find(body.model)
        label = NONE if body.label is None and model.classes and body.task != "morph" else body.label
        plain = self._request(model, body, body.count, label)  # what is wrong with it needs no picture
        async with self._decoding:
            request = await run_in_threadpool(self._edit, model, body, plain)
        self._check("steps, times returns", request.steps, self.limits.max_steps)
        return self._submit(model, request, client, preview_every)

    def request_of(self, body: Body) -> tuple[Model, Request]:
        """The request and its model, checked. Raises Problem: 404 or 422."""
        model = self.find(body.model)
        return model, self._request(model, body, body.n, body.label)

    def find(self, name: str | None) -> Model:
        """A model by its name. Raises Problem 404."""
        name = self.default if name is None else name
        if name in self.models:
            return self.models[name]
        model = None if self.shelf is None else self.shelf.loaded.get(name)
        if model is None:
            raise Problem(404, "there is no such model; /v1/models lists them", param="model")
        return model

    async def bring(self, name: str | None) -> None:
        """Reads the model of a run, if it is one, so that `find` has it. Raises Problem 404 and 422."""
        if self.shelf is not None and name is not None and name not in self.models:
            await run_in_threadpool(self.shelf.load, name)

    def _request(self, model: Model, body: Body, n: int, label: Label) -> Request:
        """New pictures, as the settings of a body have them, within the limits."""
        settings = _settings(body)
        seed = secrets.randbelow(2**31) if body.seed is None else body.seed
        try:
            steps = model.settings(**settings).steps
            check_seeds(seed, n)
        except ConfigError as error:  # about values of known kinds: it repeats nothing that was made up
            raise Problem(422, str(error)) from error
        self._check("n", n, self.limits.max_n)
        self._check("steps", steps, self.limits.max_steps)
        pixels = n * model.medium.cells(model.facts.shape)
        self._check("the pixels of all pictures", pixels, self.limits.max_pixels)
        try:
            for text in (body.prompt, body.negative):
                if text is not None or model.language is not None:
                    model.asked(torch.zeros(1, dtype=torch.int64), None, text)
        except ConfigError as error:  # it names the word that is not known
            raise Problem(422, str(error), param="prompt") from error
        except (ModelError, DataError, MissingExtra) as error:  # the encoder is gone that reads texts
            log.error("texts cannot be read: %s", error)
            raise Problem(503, "the text encoder of this model failed; the server's log says why") from error
        shown = model.blank if isinstance(body, Edit) and body.task == "enlarge" else None
        if model.blank is not None and shown is None:
            words = "this model makes pictures larger: give it one, by /v1/edits with the task enlarge"
            raise Problem(422, words, param="model")
        try:
            return model.request(n, label=label, seed=seed, image=shown, **_words(body), **settings)
        except ConfigError:
            words = "there is no such class; /v1/models lists them"
            if not model.classes:
                words = "this model was trained without classes; leave the class out"
            raise Problem(422, words) from None

    def _edit(self, model: Model, body: Edit, plain: Request) -> Request:
        """What is made of a picture, where `plain` has n, classes, seed and settings; in a thread of its own."""
        edits = Edits(model, self.limits.max_edit_pixels)
        own = {name: value for name in TAKES[body.task] if (value := getattr(body, name)) is not None}
        own |= {"n": plain.n, "label": body.label, **_words(body), **_settings(body)}
        try:
            if body.task == "morph":
                return edits.morph(*own.pop("seeds"), **own)
            for name in ("image", "mask"):
                check_scans(own.get(name, b""), name)
            make = {"edit": edits.edit, "vary": edits.vary, "enlarge": edits.enlarge, "colour": edits.colour}
            return make[body.task](own.pop("image"), seed=plain.seed, **own)
        except (ConfigError, DataError) as error:  # without the words of what could not decode it
            raise Problem(422, str(error).replace(f" ({error.__cause__})", "")) from None

    def _submit(self, model: Model, request: Request, client: str, preview_every: int | None) -> Job:
        ticket = Ticket(model, request, client=client, seconds=self.limits.max_seconds)
        engine = self.engines[model.device]
        job = Job(ticket, preview_every or max(request.steps // 10, 1), self._ended, engine.ahead)
        try:
            engine.submit(ticket)
        except Busy as busy:
            self.metrics.requests.labels("refused").inc()
            whose = "this client has" if busy.mine else "there are"
            raise Problem(
                429 if busy.mine else 503,
                f"{whose} too many requests in progress; try again in {busy.retry_after} s",
                {"Retry-After": str(busy.retry_after)},
            ) from busy
        except Closed as closed:
            raise Problem(503, "the server is stopping", {"Retry-After": "10"}) from closed
        return job

    @staticmethod
    def _check(name: str, value: int, most: int) -> None:
        if value > most:
            raise Problem(422, f"{name}: at most {most}; see /v1/limits")

    def _ended(self, job: Job, now: Now) -> None:
        """In the engine's thread."""
        self.metrics.requests.labels(now.phase).inc()
        self.metrics.seconds.observe(now.seconds or 0.0)
        if now.phase == "done":
            self.metrics.pictures.inc(job.ticket.request.n)
        if job.ticket.error is not None:
            log.error("request %s failed", job.id, exc_info=job.ticket.error)
        self.log.write(job, now)

    def info(self) -> list[ModelInfo]:
        """Information on the given models."""
        return [self.info_of(name) for name in self.models]

    def info_of(self, name: str) -> ModelInfo:
        """Information on a loaded model. Raises Problem 404."""
        model = self.find(name)
        return ModelInfo(
            name=name,
            default=name == self.default,
            kind=model.facts.kind,
            network=model.config.network.kind,
            data=model.config.data.name,
            guidable=model.guidable and model.config.teacher is None,  # in a student it is baked in
            samplers=[*samplers_of(model)],
            enlarges=model.config.data.enlarge or None,
            shape=list(model.facts.shape),
            classes=[name_of(k, model.classes) for k in range(len(model.classes))],
            words=len(model.facts.words),
            reading=model.facts.reading if model.language is not None else None,  # type: ignore[arg-type]
            examples=list(model.facts.examples),
            parameters=sum(p.numel() for p in model.net.parameters()),
            step=model.header.step,
            weights=model.header.weights,
            device=str(model.device),
            defaults=model.settings(),
            rows=self.engines[model.device].most(model),
            paces=[(rows, 1000 * s) for rows, s in self.paces.get(name, Pace({})).seconds.items()],
        )

    def close(self) -> tuple[int, int]:
        """Takes no more requests; those in progress are finished, or cancelled after some seconds. Returns the numbers of both."""
        with self._closing:
            if self._closed is None:
                with ThreadPoolExecutor(len(self.engines)) as pool:
                    ends = list(pool.map(lambda engine: engine.close(GRACE), self.engines.values()))
                self._closed = sum(done for done, _ in ends), sum(left for _, left in ends)
                self.log.close()
        return self._closed


@lru_cache(16)
def samplers_of(model: Model) -> tuple[str, ...]:
    """Names of the samplers that a model takes: a student of whole steps takes few."""

    def taken(name: str) -> bool:
        try:
            return bool(model.settings(sampler=name))
        except ConfigError:
            return False

    return tuple(filter(taken, SAMPLERS))


def _settings(body: Body) -> dict[str, Any]:
    return {name: getattr(body, name) for name in (*Sample.model_fields, "step", "weights")}


def _words(body: Body) -> dict[str, Any]:
    return {"prompt": body.prompt, "negative": body.negative}


def check_scans(file: bytes, name: str) -> None:
    """Raises DataError for a JPEG that would take minutes to decode."""
    if file.startswith(b"\xff\xd8") and file.count(b"\xff\xda") > MAX_SCANS:
        raise DataError(f"{name} has more than {MAX_SCANS} scans; save it as a plain JPEG and try again")


def load_models(settings: Settings) -> dict[str, Model]:
    """The models of the settings by their names, warm: each has made a picture. Raises ModelError and ConfigError."""
    models: dict[str, Model] = {}
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    for name in settings.models or (usual(),):
        model = load(name, device=settings.device, weights=settings.weights, encoder=settings.encoder)
        if model.source in models:
            raise ConfigError(f"two models are called {model.source!r}; rename the folder of one")
        model.sample(1, steps=1, image=model.blank)  # now, not when somebody waits for it
        if settings.encoder is not None and isinstance(model.language, Frozen):
            model.language.encoder  # noqa: B018 - so is it, and that it is the right one is known
        models[model.source] = model
    return models
