"""The Studio: a page of plain modules that speaks to this server by its public API alone. Its files are handed out as they are."""

from pathlib import Path

from fastapi import APIRouter, Response

from mezzotint.serve.http.problems import Problem

FOLDER = Path(__file__).parents[1] / "studio"
MEDIA = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
FILES = {path.name: path for path in sorted(FOLDER.iterdir()) if path.suffix in MEDIA}
PATHS = {"/studio", *(f"/studio/{name}" for name in FILES)}  # open to all: they tell nothing of the models
# Nothing from elsewhere; pictures are shown from the memory of the page (blob:).
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
POLICY += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

pages = APIRouter(include_in_schema=False)


@pages.get("/studio")
async def page() -> Response:
    return Response(FILES["index.html"].read_bytes(), media_type=MEDIA[".html"])


@pages.get("/studio/{name}")
async def part(name: str) -> Response:
    if name not in FILES:
        raise Problem(404, "the Studio has no such file")
    return Response(FILES[name].read_bytes(), media_type=MEDIA[FILES[name].suffix])
