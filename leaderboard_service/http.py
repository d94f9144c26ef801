"""What FastAPI is left with: the description of the API, its page, and the envelope for what there is not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from leaderboard_core.errors import InvalidPayload, LeaderboardError, MethodNotAllowed, NotFound
from leaderboard_core.http import pages as web
from leaderboard_service.asgi import Reply, error_reply, json_reply
from leaderboard_service.openapi import Route


def add_error_handlers(app: FastAPI) -> None:
    """Give the framework's own refusals the envelope."""

    @app.exception_handler(HTTPException)
    async def _refused(_: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return _response(error_reply(NotFound()))
        if error.status_code == 405:
            return _response(error_reply(MethodNotAllowed(allow=(error.headers or {}).get("Allow", ""))))
        known: LeaderboardError = InvalidPayload(str(error.detail))
        return _response(json_reply(known.envelope(), error.status_code))


def describe(app: FastAPI, route: Route) -> None:
    """Put a route into the OpenAPI document; the door answers it before FastAPI is asked."""
    app.add_api_route(
        route.path,
        _never_asked(route),
        methods=[route.method],
        tags=[route.tag],
        operation_id=route.handler.__name__.rstrip("_"),
        summary=route.summary,
        description=route.description,
        status_code=route.status,
        response_model=route.response,
        responses=route.responses,
        openapi_extra=route.openapi,
        response_class=route.response_class,
    )


def serve(app: FastAPI, path: str, file: web.WebFile) -> None:
    """Serve a file of the reference page at a path."""

    async def answer(request: Request) -> Response:
        status, headers, body = file.answer(request.headers.raw)
        response = Response(body, status)
        response.raw_headers = headers
        return response

    app.router.add_route(path, answer, methods=["GET", "HEAD"], include_in_schema=False)


def _never_asked(route: Route) -> Callable[[], Awaitable[Any]]:
    async def endpoint() -> Response:
        raise RuntimeError(f"{route.method} {route.path} must be answered by the door")

    return endpoint


def _response(reply: Reply) -> Response:
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, reply.status, headers)
