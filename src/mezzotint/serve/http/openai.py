"""Pictures in the shape of OpenAI's API, so that programs written for that API work. A prompt is a text, or for models

without captions the name of a class. Errors have the form of that API, see `problems`.
"""

import json
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import AliasChoices, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from mezzotint.model.model import Model
from mezzotint.serve.http import schemas
from mezzotint.serve.http.edits import body_of, read
from mezzotint.serve.http.endpoints import Served, client_of, finished, heads, over
from mezzotint.serve.http.jobs import Job
from mezzotint.serve.http.problems import OPENAI_RESPONSES, Problem
from mezzotint.serve.http.results import encode
from mezzotint.serve.http.service import Service

api = APIRouter(responses=OPENAI_RESPONSES)
LISTED = 12  # classes that an error names
Ignored = Annotated[str, Field(max_length=2000, description="ignored, which the header X-Note says")]


class ImagesBody(BaseModel):
    """Pictures of a prompt or class. Other common fields are ignored, or refused where they would change the result."""

    model_config = ConfigDict(extra="forbid", strict=True)

    prompt: Annotated[str, Field(max_length=32_000, description="a text, or the name of a class")]
    model: schemas.ModelName | None = None
    n: schemas.N | None = None
    size: Annotated[str, Field(max_length=20, description='the model\'s own, such as "28x28", or "auto"')] | (
        None
    ) = None
    response_format: Literal["b64_json"] | None = None
    output_format: Literal["png"] | None = None
    background: Literal["auto", "opaque"] | None = None
    stream: Literal[False] | None = None
    partial_images: Literal[0] | None = None
    output_compression: Annotated[int, Field(ge=0, le=100, description="ignored: PNG loses nothing")] | (
        None
    ) = None
    quality: Ignored | None = None
    style: Ignored | None = None
    moderation: Ignored | None = None
    input_fidelity: Ignored | None = None
    user: Ignored | None = None
    safety_identifier: Ignored | None = None


class ImagesEditBody(ImagesBody):
    """Repaints the transparent parts of the mask, or without a mask those of the picture."""

    image: Annotated[
        schemas.Image, Field(validation_alias=AliasChoices("image", "image[]"))
    ]  # several of one name are refused
    mask: schemas.Mask | None = None


IGNORED = (
    "output_compression",
    "quality",
    "style",
    "moderation",
    "input_fidelity",
    "user",
    "safety_identifier",
)


class ImageData(BaseModel):
    b64_json: str  # a PNG, with its settings inside


class Images(BaseModel):
    created: int  # seconds since 1970
    data: list[ImageData]


@api.post("/v1/images/generations", response_model=Images)
async def generations(request: Request, service: Served, body: ImagesBody) -> Response:
    """As /v1/generate, in the shape of OpenAI's API: the prompt is a text, or where the model takes no words the name of a
    class."""
    await service.bring(body.model)
    asked = _asked(_model(service, body), body)
    job = service.open(schemas.Body(model=body.model, n=body.n or 1, **asked), client_of(request))
    return await _answer(job, body, request)


@api.post("/v1/images/edits", response_model=Images, openapi_extra=body_of(ImagesEditBody, form_only=True))
async def edits(request: Request, service: Served) -> Response:
    """As /v1/edits, in the shape of OpenAI's API, by a form. Without a mask and transparent parts, all is changed a bit."""
    body = await read(ImagesEditBody, request)
    await service.bring(body.model)
    asked = _asked(_model(service, body), body)
    edit = schemas.Edit(model=body.model, n=body.n or 1, **asked, image=body.image, mask=body.mask)
    return await _answer(await service.open_edit(edit, client_of(request)), body, request)


def _model(service: Service, body: ImagesBody) -> Model:
    """The model, of pictures, in the size asked for. Raises Problem."""
    model = service.find(body.model)
    if model.facts.kind != "pictures":
        raise Problem(422, f"this model makes {model.facts}; use /v1/generate", param="model")
    _, height, width = model.facts.shape
    if body.size not in (None, "auto", f"{width}x{height}"):
        raise Problem(
            422, f"this model makes pictures of {width}x{height}; give that size, or auto", param="size"
        )
    return model


def _asked(model: Model, body: ImagesBody) -> dict[str, Any]:
    """What the prompt says, or names. Raises Problem."""
    prompt = body.prompt.strip()
    if model.facts.length:
        return {"prompt": prompt}
    if prompt in model.classes:
        return {"label": [prompt]}
    words = "this model takes no words and has no classes; use /v1/generate or /v1/edits"
    if model.classes:
        names = ", ".join(model.classes[:LISTED]) + (", ..." if len(model.classes) > LISTED else "")
        words = f"this model takes no words; the prompt may be the name of a class: {names}"
    raise Problem(422, words, param="prompt")


async def _answer(job: Job, body: ImagesBody, request: Request) -> Response:
    await over(job, request)
    pictures: dict[str, Any] = json.loads(await run_in_threadpool(encode, finished(job), "json"))
    data = [ImageData(b64_json=png) for png in pictures["images"]]
    headers = heads(job)
    ignored = [name for name in IGNORED if getattr(body, name) is not None]
    if ignored:
        notes = [headers["X-Note"]] if "X-Note" in headers else []
        headers["X-Note"] = "; ".join([*notes, f"ignored: {', '.join(ignored)}"])
    content = Images(created=int(time.time()), data=data).model_dump_json()
    return Response(content, 200, headers, "application/json")
