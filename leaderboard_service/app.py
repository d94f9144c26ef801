"""Builds the service's application, the same way for production and for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from leaderboard_service.http import RequestContext, add_error_handlers
from leaderboard_service.routes import auth, boards, scores, system
from leaderboard_service.state import Services, Settings

DESCRIPTION = """Real-time leaderboards. Send `Authorization: Bearer <token>` where a lock is shown.

Every error is `{"error": "<code>", "message": "<what to do>"}`."""


def create_app(settings: Settings) -> FastAPI:
    """The service as an ASGI application; its stores are opened in the lifespan."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.services = await Services.open(settings)
        try:
            yield
        finally:
            await app.state.services.close()

    app = FastAPI(title="Leaderboard", version="1", description=DESCRIPTION, lifespan=lifespan, redirect_slashes=False)
    app.add_middleware(RequestContext, access_log=settings.process.access_log)
    add_error_handlers(app)
    for part in (auth, scores, boards, system):
        app.include_router(part.router)
    return app
