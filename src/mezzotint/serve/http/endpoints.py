"""The operations of the API."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from mezzotint import __version__
from mezzotint.conditions.labels import split
from mezzotint.diffusion.table import SAMPLERS
from mezzotint.model.samples import Samples
from mezzotint.serve.engine.tickets import Diverged, TooLong
from mezzotint.serve.http import schemas
from mezzotint.serve.http.guard import HEAD
from mezzotint.serve.http.jobs import Job, merged
from mezzotint.serve.http.problems import RESPONSES, Problem
from mezzotint.serve.http.results import MEDIA, encode
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.settings import Limits
from mezzotint.serve.http.shelf import noising_strip

probes = APIRouter(responses=RESPONSES)  # open to all; they tell nothing of the models
api = APIRouter(responses=RESPONSES)


def _service(request: Request) -> Service:
    service = request.app.state.service
    assert isinstance(service, Service)
    return service


Served = Annotated[Service, Depends(_service)]
_BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def answers(*forms: schemas.Format) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: what a success may look like."""
    reference = {"schema": {"$ref": "#/components/schemas/Pictures"}}
    content = {MEDIA[form]: reference if form == "json" else _BYTES for form in forms}
    return {200: {"description": "The pictures", "content": content}}


def client_of(request: Request) -> str:
    return request.client.host if request.client else ""


# --- probes ----------------------------------------------------------------------------------------------


@probes.get("/")
async def health(service: Served) -> schemas.Health:
    """Health of the server: version, number of models and of open requests."""
    return schemas.Health(
        status="ok" if service.ready else "stopping",
        version=__version__,
        models=len(service.models),
        requests=service.open_requests,
        shows_runs=service.shelf is not None,
    )


@probes.get("/healthz")
async def alive() -> dict[str, str]:
    """Answers as long as the process lives."""
    return {"status": "ok"}


@probes.get("/readyz")
async def ready(service: Served) -> dict[str, str]:
    """200 while requests are taken, else 503."""
    if not service.ready:
        raise Problem(503, "the server is stopping", {"Retry-After": "10"})
    return {"status": "ok"}


# --- pictures at once ------------------------------------------------------------------------------------


@api.get("/generate", response_class=Response, responses=answers("png"))
async def generate_png(
    request: Request, service: Served, query: Annotated[schemas.Query, Query()]
) -> Response:
    """A PNG with its settings inside: one picture, or a grid of n."""
    await service.bring(query.model)
    classes = service.find(query.model).classes
    body = schemas.Body(**query.model_dump(exclude={"label"}), label=_classes(query.label, classes))
    if request.scope.get(HEAD):
        service.request_of(body)
        return Response(media_type=MEDIA["png"])
    return await _generate(request, service, body, "png")


@api.post("/v1/generate", response_class=Response, responses=answers("png", "json", "zip"))
async def generate(request: Request, service: Served, body: schemas.GenerateBody) -> Response:
    """Pictures as one PNG, as JSON with PNGs in base64 (points: as numbers), or as a zip of PNGs."""
    return await _generate(request, service, body, body.format)


def _classes(text: str | None, classes: tuple[str, ...]) -> schemas.Class | None:
    """A class, or a list of as many as a body may name."""
    label = split(text, classes)
    if isinstance(label, list) and len(label) > schemas.MAX_CLASSES:
        raise Problem(422, f"class: a list of at most {schemas.MAX_CLASSES}")
    return label


async def _generate(request: Request, service: Service, body: schemas.Body, form: schemas.Format) -> Response:
    await service.bring(body.model)
    job = service.open(body, client_of(request))
    await over(job, request)
    return await result(job, form)


async def over(job: Job, request: Request) -> None:
    """Waits for the end; who goes away meanwhile needs no pictures. Raises Problem where the server stops."""

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    waits = [asyncio.create_task(job.over.wait()), asyncio.create_task(gone())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        if not job.over.is_set():
            job.cancel()
    if not job.over.is_set():
        raise Problem(408, "the client has disconnected")
    if job.now.phase == "cancelled":  # by nobody but the server
        raise Problem(503, "the server is stopping", {"Retry-After": "10"})


async def result(job: Job, form: schemas.Format) -> Response:
    content = await run_in_threadpool(encode, finished(job), form)
    return Response(content, 200, heads(job), MEDIA[form])


def finished(job: Job) -> Samples:
    """What it made. Raises Problem where it did not."""
    match job.now.phase:
        case "done":
            assert job.samples is not None
            return job.samples
        case "failed":
            raise Problem(_blame(job), job.now.detail or "", {"X-Request-Id": job.id})
        case "cancelled":
            raise Problem(410, "the request was cancelled")
        case _:
            raise Problem(409, "the job is not finished; follow its events", {"Retry-After": "1"})


def heads(job: Job) -> dict[str, str]:
    """What an answer says beside its pictures."""
    said = {"X-Request-Id": job.id, "X-Seed": str(job.ticket.request.seed)}
    return said | ({"X-Note": job.ticket.request.note} if job.ticket.request.note else {})


def _blame(job: Job) -> int:
    """422 where other settings help, 503 where the time was too short, else 500."""
    match job.ticket.error:
        case Diverged() | ValueError():
            return 422
        case TooLong():
            return 503
        case _:
            return 500


# --- jobs ------------------------------------------------------------------------------------------------


def _job(key: str, service: Served) -> Job:
    job = service.jobs.get(key)
    if job is None:
        raise Problem(404, "there is no such job; finished jobs are kept for a while, see /v1/limits")
    return job


Known = Annotated[Job, Depends(_job)]
JobIds = Annotated[list[Annotated[str, Field(max_length=32)]], Query(min_length=1, max_length=32)]


@api.post("/v1/jobs", status_code=202)
async def start_job(
    request: Request, service: Served, body: schemas.JobBody, response: Response
) -> schemas.JobStatus:
    """Starts a job and answers at once; Location is its path. Whoever knows its id may read and cancel it."""
    await service.bring(body.model)
    return started(service.open(body, client_of(request), body.preview_every), service, response)


def started(job: Job, service: Service, response: Response) -> schemas.JobStatus:
    service.jobs.add(job)
    response.headers["Location"] = f"/v1/jobs/{job.id}"
    return job.status()


@api.get("/v1/jobs/{key}")
async def job_status(job: Known) -> schemas.JobStatus:
    """How far a job is."""
    return job.status()


@api.get(
    "/v1/jobs/{key}/events",
    response_class=StreamingResponse,
    responses={200: {"description": "Events", "content": {"text/event-stream": {}}}},
)
async def job_events(job: Known) -> StreamingResponse:
    """Server-sent events: the present state, then queued, started, progress (with a preview), done, failed, cancelled."""
    return StreamingResponse(job.events(), media_type="text/event-stream")


@api.get(
    "/v1/events",
    response_class=StreamingResponse,
    responses={200: {"description": "Events", "content": {"text/event-stream": {}}}},
)
async def events_of_jobs(
    service: Served, job: JobIds, previews: schemas.Shown = "single"
) -> StreamingResponse:
    """The events of several jobs in one stream. With `single`, previews are lists: `previews`, the x0 prediction of
    every picture, and `noisy`, the noisy pictures; `done` has all of the results, `images`. An unknown job has the event `gone`."""
    known = [service.jobs.get(key) for key in job]
    streams = [one.events(previews) if one else _gone(key) for key, one in zip(job, known)]
    return StreamingResponse(merged(streams), media_type="text/event-stream")


async def _gone(key: str) -> AsyncIterator[str]:
    yield f"event: gone\ndata: {json.dumps({'id': key})}\n\n"


@api.post("/v1/jobs/{key}/cancel", status_code=202)
async def cancel_job(job: Known) -> schemas.JobStatus:
    """Stops a job before its next network call; a finished one does not change."""
    job.cancel()
    return job.status()


@api.get("/v1/jobs/{key}/result", response_class=Response, responses=answers("png", "json", "zip"))
async def job_result(job: Known, format: schemas.Format = "png") -> Response:
    """Pictures of a finished job; 409 while it is running, 410 after it was cancelled."""
    return await result(job, format)


# --- what there is ---------------------------------------------------------------------------------------

ModelKey = Annotated[str, Path(max_length=300)]


@api.get("/v1/models")
async def models(service: Served) -> list[schemas.ModelInfo]:
    """The models, with their classes and sampling defaults."""
    return service.info()


@api.get("/v1/models/{name}")
async def model(name: ModelKey, service: Served) -> schemas.ModelInfo:
    """One of them; or, where the server shows runs, one of a run: `RUN`, `RUN@STEP` of a checkpoint, `RUN@:WEIGHTS` of raw
    or of an average's length, `RUN@STEP:WEIGHTS`."""
    await service.bring(name)
    return service.info_of(name)


@api.get("/v1/models/{name}/noising", response_class=Response, responses=answers("png"))
async def noising_of_model(name: ModelKey, service: Served) -> Response:
    """What its network learns from, with more and more noise; pictures of its own where the data are not at hand."""
    await service.bring(name)
    content = await run_in_threadpool(noising_strip, service.find(name), service.settings.runs is not None)
    return Response(content, 200, media_type=MEDIA["png"])


@api.get("/v1/samplers")
async def samplers() -> list[schemas.SamplerInfo]:
    """The samplers, and what each is good for."""
    return [
        schemas.SamplerInfo(
            name=name,
            when=row.when,
            paper=row.paper,
            order=row.order,
            calls=row.calls,
            stochastic=row.stochastic,
            eta=row.eta,
            churn=row.churn,
        )
        for name, row in SAMPLERS.items()
    ]


@api.get("/v1/limits")
async def limits(service: Served) -> Limits:
    """What this server takes on."""
    return service.limits


@api.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(service: Served) -> Response:
    """Numbers for Prometheus."""
    return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")
