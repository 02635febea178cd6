"""The application: routes, errors and access control together.

    uvicorn mezzotint.serve:app --timeout-graceful-shutdown 4

takes its settings from the environment (`Settings.from_environment`); `mezzotint serve` takes them from options.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request, Security
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBearer

from mezzotint import __version__
from mezzotint.serve.http import commands, edits, manual, openai, problems, runs, schemas, studio
from mezzotint.serve.http import endpoints as routes
from mezzotint.serve.http.guard import Guard
from mezzotint.serve.http.service import Service, load_models
from mezzotint.serve.http.settings import Settings

log = logging.getLogger(__name__)
ABOUT = "Pictures from diffusion models. Different requests share network calls, and the same seed gives the same picture."


class Application(FastAPI):
    """Its document also has the bodies that are read by `forms.read`, and what is written by `results.encode`."""

    def openapi(self) -> dict[str, Any]:
        document = super().openapi()
        for body in (schemas.EditBody, schemas.EditJobBody, openai.ImagesEditBody, schemas.Pictures):
            document["components"]["schemas"].setdefault(body.__name__, body.model_json_schema())
        return document


def create_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """An app. Without a service, it loads the models of the settings when it starts; it closes the service at its end."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = service
        if service is None:
            app.state.service = Service(load_models(settings), settings)
            for line in app.state.service.measure():
                log.info(line)
        try:
            yield
        finally:
            await asyncio.to_thread(app.state.service.close)

    app = Application(
        title="Mezzotint",
        version=__version__,
        description=ABOUT,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    asks = (
        [Security(HTTPBearer(auto_error=False))] if settings.secret else []
    )  # for the document; Guard checks
    app.include_router(routes.probes)
    for router in (routes.api, edits.api, openai.api, runs.api, commands.api):
        app.include_router(router, dependencies=asks)
    app.include_router(studio.pages)
    app.add_middleware(Guard, settings=settings)
    problems.install(app)

    @app.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        token = settings.secret is not None
        return HTMLResponse(manual.page(app.openapi(), str(request.base_url), token=token))

    return app
