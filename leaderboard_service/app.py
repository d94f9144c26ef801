"""Builds the application of one replica, the same way for production and for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi.routing import APIRoute

from leaderboard_core.calls import CallTable
from leaderboard_core.http import pages
from leaderboard_core.http.application import Application
from leaderboard_core.settings import ProcessSettings, load
from leaderboard_core.telemetry.metrics import HTTP_REQUESTS
from leaderboard_service import openapi
from leaderboard_service.accounts.routes import router as accounts
from leaderboard_service.boards.routes import router as boards
from leaderboard_service.definitions.routes import router as definitions
from leaderboard_service.live.routes import router as live
from leaderboard_service.players.routes import router as players
from leaderboard_service.reference.document import complete
from leaderboard_service.scores.routes import router as scores
from leaderboard_service.services import Services, Settings
from leaderboard_service.system.routes import router as system

NAME = "leaderboard_service"
ASSETS = "/docs/assets/"
DEFAULT_PORT = 5000

ROUTERS = (accounts, scores, boards, definitions, live, players, system)
"""In the order of the OpenAPI document."""


class Service(Application):
    """The application of a replica, with a completed OpenAPI document."""

    def openapi(self) -> dict[str, Any]:
        """Return the document that FastAPI makes of the signatures, completed, with recorded examples."""
        if self.openapi_schema is None:
            self.openapi_schema = complete(super().openapi())
        return self.openapi_schema


def create_app(settings: Settings | None = None, *, calls: CallTable | None = None) -> Service:
    """Build one replica; its stores are opened in the lifespan.

    Without settings they come from the environment, so that `uvicorn --factory leaderboard_service.app:create_app`
    serves it too. Raises SettingsError.
    """
    known = settings or Settings.from_environment(load(ProcessSettings, port=DEFAULT_PORT))

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[dict[str, Any]]:
        services = await Services.open(known)
        app.state.services = services
        app.on_stop(services.announce_stop)
        services.shard_watch.start()
        try:
            yield services.state()
        finally:
            await services.close()

    app = Service(
        process=known.process,
        name=NAME,
        metrics=HTTP_REQUESTS,
        lifespan=lifespan,
        calls=calls,
        title=openapi.TITLE,
        version="1",
        servers=openapi.SERVERS,
        contact=openapi.CONTACT,
        license_info=openapi.LICENSE,
        description=openapi.DESCRIPTION,
        openapi_tags=openapi.TAGS,
        openapi_url="/openapi.json" if known.process.serve_docs else None,
        generate_unique_id_function=_operation_id,
    )
    for router in ROUTERS:
        app.include_router(router)
    if known.process.serve_docs:
        app.include_router(pages.router(pages.load(NAME, "reference", {"index.html": "/docs"}, ASSETS), ASSETS))
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name
