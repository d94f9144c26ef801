"""Every refusal in the one envelope of the API, the framework's own too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from leaderboard_core.errors import InvalidPayload, LeaderboardError, MethodNotAllowed, NotFound
from leaderboard_core.http.messages import too_large
from leaderboard_core.http.responses import JSONReply, error_reply


async def on_leaderboard_error(_: Request, error: LeaderboardError) -> Response:
    """Answer one of our own errors."""
    return error_reply(error)


async def on_invalid_request(_: Request, error: RequestValidationError) -> Response:
    """Answer what a body, a query, a path or a header has wrong."""
    return error_reply(InvalidPayload(fields=fields_of(error.errors())))


async def on_http_exception(request: Request, error: HTTPException) -> Response:
    """Answer what Starlette and FastAPI refuse by themselves. Raises ClientDisconnect for a body that broke off."""
    match error.status_code, error.__cause__:
        case _, LeaderboardError() as cause:
            return error_reply(cause)
        case _, ClientDisconnect() as cause:
            raise cause
        case 404, _:
            return error_reply(NotFound())
        case 405, _:
            allowed = request.app.routes_by_path.allowed(request.scope["path"])
            return error_reply(MethodNotAllowed(allow=", ".join(sorted(allowed))))
        case 413, _:
            return error_reply(too_large(request.app.max_body_size))
    known = InvalidPayload(str(error.detail))
    return JSONReply(known.envelope(), error.status_code)


def fields_of(problems: Sequence[Any]) -> list[dict[str, str]]:
    """FastAPI's errors as the `fields` of the envelope; what is wrong as a whole is named for its place."""
    return [
        {"field": ".".join(str(part) for part in problem["loc"][1:]) or problem["loc"][0], "message": problem["msg"]}
        for problem in problems
    ]
