"""Endpoints that edit pictures: at once, or as jobs like all others."""

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from mezzotint.serve.http import forms, schemas
from mezzotint.serve.http.endpoints import Served, answers, client_of, over, result, started
from mezzotint.serve.http.problems import RESPONSES

api = APIRouter(responses=RESPONSES)


def body_of(schema: type[BaseModel], form_only: bool = False) -> dict[str, Any]:
    """For the OpenAPI document: a body that `forms.read` reads, whose schema `api.Application` adds."""
    reference = {"schema": {"$ref": f"#/components/schemas/{schema.__name__}"}}
    files = {name: {"contentType": "image/png, image/jpeg, image/webp"} for name in ("image", "mask")}
    content = {} if form_only else {"application/json": reference}
    return {
        "requestBody": {
            "required": True,
            "content": {**content, "multipart/form-data": {**reference, "encoding": files}},
        }
    }


async def read(schema: type[forms.Schema], request: Request) -> forms.Schema:
    """The body of a request, which may be large, in a thread of its own."""
    said = request.headers.get("content-type", "")
    return await run_in_threadpool(forms.read, schema, said, await request.body())


@api.post(
    "/v1/edits",
    response_class=Response,
    responses=answers("png", "json", "zip"),
    openapi_extra=body_of(schemas.EditBody),
)
async def edit(request: Request, service: Served) -> Response:
    """A picture changed, repainted, enlarged or coloured, or the way between two seeds; by JSON, or by a form with files.

    It shares network calls with all other requests."""
    body = await read(schemas.EditBody, request)
    await service.bring(body.model)
    job = await service.open_edit(body, client_of(request))
    await over(job, request)
    return await result(job, body.format)


@api.post("/v1/jobs/edits", status_code=202, openapi_extra=body_of(schemas.EditJobBody))
async def start_edit(request: Request, service: Served, response: Response) -> schemas.JobStatus:
    """The same as a job: it answers at once, and Location is its path, with events, result and cancel as of any job."""
    body = await read(schemas.EditJobBody, request)
    await service.bring(body.model)
    job = await service.open_edit(body, client_of(request), body.preview_every)
    return started(job, service, response)
