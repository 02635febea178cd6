"""Errors as application/problem+json (RFC 9457). They say what is wrong, and never repeat what came in."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request

log = logging.getLogger(__name__)


class ProblemBody(BaseModel):
    """What is wrong, in the form of RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class Problem(Exception):
    """Ends a request with this status; detail is one line for people."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, headers or {}

    def response(self) -> JSONResponse:
        body = ProblemBody(title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail)
        return JSONResponse(body.model_dump(), self.status, self.headers, "application/problem+json")


_CONTENT = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}}
RESPONSES: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "The request cannot be done as it is.", "content": _CONTENT, "model": ProblemBody},
    "5XX": {"description": "The server cannot do it now.", "content": _CONTENT, "model": ProblemBody},
}


def install(app: FastAPI) -> None:
    """Every error of the app leaves it as a problem."""
    app.add_exception_handler(Problem, lambda _, error: _as_problem(error).response())
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, lambda _, error: _plain(error))
    app.add_exception_handler(Exception, _unexpected)


def _as_problem(error: Exception) -> Problem:
    assert isinstance(error, Problem)
    return error


def _plain(error: Exception) -> JSONResponse:
    """What the framework refuses by itself: unknown paths and methods."""
    assert isinstance(error, HTTPException)
    words = {
        400: "the body cannot be read",
        404: "there is nothing under this path; see /docs",
        405: "not with this method; see /docs",
    }
    headers = dict(error.headers or {})
    return Problem(error.status_code, words.get(error.status_code, "see /docs"), headers).response()


def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    lines = {f"{_place(found)}: {_reason(found, request)}" for found in error.errors()[:8]}
    return Problem(422, "; ".join(sorted(lines))).response()


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
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body:
        names += document["components"]["schemas"][body["schema"]["$ref"].rsplit("/", 1)[1]]["properties"]
    return names


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected", exc_info=error)
    return Problem(500, "an error of ours; the server's log has it").response()
