"""The operations that look at runs, where the server was started with a folder of them. Nothing is written."""

import math
import time
from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from starlette.concurrency import run_in_threadpool

from mezzotint.disk.checkpoint import checkpoints
from mezzotint.disk.folder import read_metrics
from mezzotint.disk.names import MODEL
from mezzotint.disk.snapshots import snapshots
from mezzotint.serve.http import schemas
from mezzotint.serve.http.endpoints import Served
from mezzotint.serve.http.problems import RESPONSES, Problem
from mezzotint.serve.http.service import Service
from mezzotint.serve.http.shelf import Shelf, changed, progress

api = APIRouter(responses=RESPONSES)
MAX_ROWS = 400  # of metrics that are sent; of more, every second or third and so on
RunName = Annotated[str, Path(max_length=255)]


def _shelf(service: Service) -> Shelf:
    if service.shelf is None:
        raise Problem(404, "this server shows no runs; start it with --runs DIR")
    return service.shelf


@api.get("/v1/runs")
async def runs(service: Served) -> list[schemas.RunInfo]:
    """The runs of the server's folder, the one that was written last first; where it was told to show them."""
    shelf = _shelf(service)
    return await run_in_threadpool(lambda: [_info(folder) for folder in shelf.runs()])


@api.get("/v1/runs/{name}")
async def run(name: RunName, service: Served) -> schemas.RunDetails:
    """One run: its losses, and of which steps there are sheets, checkpoints and snapshots."""
    shelf = _shelf(service)
    return await run_in_threadpool(lambda: _details(shelf.run(name)))


@api.get(
    "/v1/runs/{name}/sheets/{step}",
    response_class=Response,
    responses={200: {"description": "The sheet", "content": {"image/png": {"schema": {"type": "string"}}}}},
)
async def sheet(name: RunName, step: Annotated[int, Path(ge=0, lt=2**53)], service: Served) -> Response:
    """The pictures that a run made at a step, always of the same seeds."""
    shelf = _shelf(service)
    file = (await run_in_threadpool(lambda: _sheets(shelf.run(name)))).get(step)
    if file is None:
        raise Problem(404, "there is no sheet for that step")
    return Response(await run_in_threadpool(file.read_bytes), media_type="image/png")


def _info(folder: FilePath) -> schemas.RunInfo:
    step, until = progress(folder)
    return schemas.RunInfo(
        name=folder.name,
        step=step,
        until=until,
        model=(folder / MODEL).is_file(),
        seconds_ago=round(max(time.time() - changed(folder), 0.0), 1),
    )


def _details(folder: FilePath) -> schemas.RunDetails:
    rows = [row for row in read_metrics(folder) if isinstance(row, dict) and "step" in row]
    there = checkpoints(folder)[0]
    return schemas.RunDetails(
        **_info(folder).model_dump(),
        rows=len(rows),
        metrics=_thinned(rows),
        sheets=sorted(_sheets(folder)),
        checkpoints=sorted(int(path.name.removeprefix("step-")) for path in there),
        snapshots=list(snapshots(folder)),
    )


def _thinned(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    """Numbers by name, as (step, value), the newest always among them."""
    names = dict.fromkeys(name for row in rows for name in row if name not in ("step", "time"))
    found = {}
    for name in names:
        pairs = [(row["step"], row[name]) for row in rows if _is_number(row.get(name))]
        every = -(-len(pairs) // MAX_ROWS)
        if pairs:
            found[name] = [*pairs[:-1:every], pairs[-1]]
    return found


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value)


def _sheets(folder: FilePath) -> dict[int, FilePath]:
    files = {path.stem.removeprefix("step-"): path for path in (folder / "samples").glob("step-*.png")}
    return {int(step): path for step, path in files.items() if step.isdecimal()}
