"""Builds the worker's HTTP side: /health and /metrics."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from leaderboard_core.http.application import Application
from leaderboard_core.settings import ProcessSettings
from leaderboard_core.telemetry.metrics import HTTP_REQUESTS
from worker_service.health import WorkerHealth
from worker_service.routes import router

NAME = "worker_service"


def create_app(process: ProcessSettings, health: WorkerHealth) -> Application:
    """Build the application beside a worker, which lives longer than it."""

    @asynccontextmanager
    async def lifespan(_: Application) -> AsyncIterator[dict[str, Any]]:
        yield {"worker_health": health}

    app = Application(
        process=process,
        name=NAME,
        metrics=HTTP_REQUESTS,
        lifespan=lifespan,
        title="Leaderboard worker",
        openapi_url=None,
    )
    app.include_router(router)
    return app
