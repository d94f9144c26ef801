"""Builds the application of one gateway: its own pages, and everything else to the services."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from api_gateway.metrics import Metrics
from api_gateway.routes import router
from api_gateway.services import Services, Settings
from leaderboard_core.calls import CallTable
from leaderboard_core.http import pages
from leaderboard_core.http.application import Application
from leaderboard_core.settings import ProcessSettings, load

NAME = "api_gateway"
ASSETS = "/assets/"
DEFAULT_PORT = 4000


def create_app(settings: Settings | None = None, *, calls: CallTable | None = None) -> Application:
    """Build a gateway; its client and its health checks start in the lifespan.

    Without settings they come from the environment, so that `uvicorn --factory api_gateway.app:create_app` serves it
    too. Raises SettingsError.
    """
    known = settings or Settings.from_environment(load(ProcessSettings, port=DEFAULT_PORT))
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: Application) -> AsyncIterator[dict[str, Any]]:
        services = await Services.start(known, NAME, metrics, app.calls)
        app.state.services = services
        app.fallback = services.proxy.forward
        app.on_stop(services.announce_stop)
        try:
            yield services.state()
        finally:
            await services.close()

    app = Application(
        process=known.process,
        name=NAME,
        metrics=metrics.requests,
        lifespan=lifespan,
        calls=calls,
        title="Leaderboard gateway",
        openapi_url=None,  # the API's document is the services'
    )
    app.include_router(router)
    app.include_router(pages.router(pages.load(NAME, "page", {"index.html": "/"}, ASSETS), ASSETS))
    return app
