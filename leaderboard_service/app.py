"""Builds the service's application, the same way for production and for tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from leaderboard_core.http import pages as web
from leaderboard_core.http.access_log import AccessLog
from leaderboard_service.accounts import routes as auth
from leaderboard_service.asgi import Receive, Scope, Send
from leaderboard_service.boards import routes as boards
from leaderboard_service.door import Door
from leaderboard_service.http import add_error_handlers, describe, serve
from leaderboard_service.live import routes as streams
from leaderboard_service.openapi import BEARER_SCHEME
from leaderboard_service.players import routes as users
from leaderboard_service.reference import examples
from leaderboard_service.scores import routes as scores
from leaderboard_service.services import Services, Settings
from leaderboard_service.system import routes as system

ROUTES = (*auth.ROUTES, *scores.ROUTES, *boards.ROUTES, *streams.ROUTES, *users.ROUTES, *system.ROUTES)
DESCRIPTION = """Real-time leaderboards. Send `Authorization: Bearer <token>` where a lock is shown.

Every error is `{"error": "<code>", "message": "<what to do>"}`. The gateways and NGINX in front of the services answer
with 408 `request_timeout`, 413 `payload_too_large`, 502 `bad_gateway`, 503 `unavailable` and 504 `gateway_timeout` of
their own, on any path. docs/api.md has the promises that hold for all calls."""
TAGS = [
    {"name": "auth", "description": "Accounts: who a player is."},
    {"name": "scores", "description": "Score writes. Each needs a token and takes an Idempotency-Key."},
    {"name": "boards", "description": "Reads of boards. They need no token."},
    {"name": "users", "description": "A player as a whole."},
    {"name": "live", "description": "Live boards as Server-Sent Events. They need no token."},
    {"name": "system", "description": "For operators: health, state and metrics."},
]


class Service:
    """The service as an ASGI application; its stores are opened in the lifespan."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._services: Services | None = None
        self.documentation = _documentation(self._lifespan)
        process = settings.process
        access_log = AccessLog(
            process.instance_name,
            "leaderboard_service.access",
            enabled=process.access_log,
            probes=process.log_level == "DEBUG",
        )
        self._door = Door(self.documentation, ROUTES, access_log)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._door(scope, receive, send)

    @property
    def services(self) -> Services:
        """The parts, while the application runs."""
        if self._services is None:
            raise RuntimeError("the service is not running")
        return self._services

    def route_of(self, method: str, path: str) -> str:
        """The path as the API describes it, "other" for what it does not know."""
        return self._door.route_of(method, path)

    def announce_stop(self) -> None:
        """Let /health tell the gateways that this replica is ending, and streams end at once."""
        self.services.stopping = True
        self.services.live.stop()

    @asynccontextmanager
    async def _lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        self._services = await Services.open(self._settings)
        self._door.open(self._services)
        try:
            yield
        finally:
            self._door.close()
            await self._services.close()


def create_app(settings: Settings) -> Service:
    """One replica."""
    return Service(settings)


def openapi() -> dict[str, Any]:
    """The API's description, for the documentation; no store is needed for it."""
    return _documentation(None).openapi()


def _documentation(lifespan: Any) -> FastAPI:
    app = FastAPI(
        title="Leaderboard",
        version="1",
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        redirect_slashes=False,
        # The framework's own pages load their scripts from elsewhere; ours is in reference/.
        docs_url=None,
        redoc_url=None,
    )
    add_error_handlers(app)
    for path, file in web.load("leaderboard_service", "reference", {"index.html": "/docs"}, "/docs/assets/").items():
        serve(app, path, file)
    for route in ROUTES:
        describe(app, route)
    components = app.openapi()["components"]
    components["securitySchemes"] = BEARER_SCHEME
    components["examples"] = {code: {"value": envelope} for code, envelope in examples.errors().items()}
    return app
