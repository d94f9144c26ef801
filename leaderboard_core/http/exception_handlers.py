"""Every refusal in the one envelope of the API, the framework's own too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette._utils import is_async_callable
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from leaderboard_core.errors import InvalidPayload, LeaderboardError, MethodNotAllowed, NotFound
from leaderboard_core.http.responses import JSONReply, error_reply

log = logging.getLogger(__name__)

Handler = Callable[[Request, Any], Any]


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
    known = InvalidPayload(str(error.detail))
    return JSONReply(known.envelope(), error.status_code)


def fields_of(problems: Sequence[Any]) -> list[dict[str, str]]:
    """FastAPI's errors as the `fields` of the envelope; what is wrong as a whole is named for its place."""
    return [
        {"field": ".".join(str(part) for part in problem["loc"][1:]) or problem["loc"][0], "message": problem["msg"]}
        for problem in problems
    ]


HANDLERS: Final[Mapping[Any, Handler]] = {
    LeaderboardError: on_leaderboard_error,
    RequestValidationError: on_invalid_request,
    HTTPException: on_http_exception,
}


async def reply_to(error: Exception, handlers: Mapping[Any, Handler], request: Request) -> Response:
    """What an application's exception handlers answer, found as Starlette finds them; else 500, and a log entry."""
    handler = handlers.get(error.status_code) if isinstance(error, HTTPException) else None
    if handler is None:
        handler = next((handlers[kind] for kind in type(error).__mro__ if kind in handlers), None)
    if handler is None:
        log.exception("a request failed", exc_info=error, extra={"path": request.scope["path"]})
        return error_reply(LeaderboardError())
    answer: Response
    if is_async_callable(handler):
        answer = await handler(request, error)
    else:
        answer = await run_in_threadpool(handler, request, error)
    return answer
