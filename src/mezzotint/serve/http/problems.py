"""Errors as application/problem+json (RFC 9457). They say what is wrong, and never repeat what came in."""

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

log = logging.getLogger(__name__)
OPENAI = "/v1/images/"  # paths in the shape of OpenAI's API


class ProblemBody(BaseModel):
    """What is wrong, in the form of RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class OpenAIError(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIErrorBody(BaseModel):
    """What is wrong, as OpenAI's API says it."""

    error: OpenAIError


class Problem(Exception):
    """Ends a request with this status; detail is one line for people, param the field that it is about."""

    def __init__(
        self, status: int, detail: str, headers: dict[str, str] | None = None, param: str | None = None
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers, self.param = status, detail, headers or {}, param

    def response(self, path: str) -> JSONResponse:
        """The answer to a request for a path: those of OpenAI's API have their own form of errors, and no status 422."""
        if path.startswith(OPENAI):
            return self._as_openai()
        body = ProblemBody(title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail)
        return JSONResponse(body.model_dump(), self.status, self.headers, "application/problem+json")

    def _as_openai(self) -> JSONResponse:
        status = 400 if self.status == 422 else self.status
        kind = "server_error" if status >= 500 else "invalid_request_error"
        code = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(status)
        if status == 404 and self.param == "model":
            code = "model_not_found"
        error = OpenAIError(message=self.detail, type=kind, param=self.param, code=code)
        return JSONResponse(OpenAIErrorBody(error=error).model_dump(), status, self.headers)


_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request cannot be done as it is.", "content": _CONTENT, "model": ProblemBody},
    "5XX": {"description": "The server cannot do it now.", "content": _CONTENT, "model": ProblemBody},
}
OPENAI_RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"description": said["description"], "model": OpenAIErrorBody} for code, said in RESPONSES.items()
}


def install(app: FastAPI) -> None:
    """Every error of the app leaves it as a problem."""

    def handle(kind: type[Exception], problem: Callable[[Request, Any], Problem]) -> None:
        app.add_exception_handler(
            kind, lambda request, error: problem(request, error).response(request.url.path)
        )

    handle(Problem, lambda _, problem: problem)
    handle(RequestValidationError, _invalid)
    handle(HTTPException, lambda _, error: _plain(error))
    handle(Exception, _unexpected)


def _plain(error: HTTPException) -> Problem:
    """What the framework refuses by itself: unknown paths and methods."""
    words = {
        400: "the body cannot be read",
        404: "there is nothing under this path; see /docs",
        405: "not with this method; see /docs",
    }
    return Problem(error.status_code, words.get(error.status_code, "see /docs"), dict(error.headers or {}))


def _invalid(request: Request, error: RequestValidationError) -> Problem:
    found = error.errors()[:8]
    lines = {f"{_place(one)}: {_reason(one, request)}" for one in found}
    places = {_place(one) for one in found} - {"body", "query"}
    return Problem(422, "; ".join(sorted(lines)), param=min(places, default=None))


def _place(found: Any) -> str:
    """Which field. The name of an unknown one was chosen by the sender, so it is not repeated."""
    names = [str(part) for part in found["loc"][1:2]]
    if not names or found["type"] in ("extra_forbidden", "json_invalid"):
        return str(found["loc"][0])
    return names[0]


def _reason(found: Any, request: Request) -> str:
    match found["type"]:
        case "extra_forbidden":
            return f"unknown field; known: {', '.join(_known_fields(request))}; see /docs"
        case "json_invalid":
            return "no JSON"
        case _:
            return str(found["msg"])


def _known_fields(request: Request) -> list[str]:
    """What may stand in a request of this kind, by the OpenAPI document."""
    document = request.app.openapi()
    operation = document["paths"][request.scope["route"].path][request.method.lower()]
    names = [parameter["name"] for parameter in operation.get("parameters", ()) if parameter["in"] == "query"]
    for body in list(operation.get("requestBody", {}).get("content", {}).values())[:1]:
        names += document["components"]["schemas"][body["schema"]["$ref"].rsplit("/", 1)[1]]["properties"]
    return names


def _unexpected(request: Request, error: Exception) -> Problem:
    log.error("unexpected", exc_info=error)
    return Problem(500, "internal error; the server's log has the details")
