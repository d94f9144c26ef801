"""Every refusal in the one envelope of the API, the framework's own too."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from http.client import responses
from typing import Any, Final

from fastapi.exceptions import RequestValidationError
from starlette._utils import get_route_path, is_async_callable
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from leaderboard_core.errors import InvalidPayload, LeaderboardError, MethodNotAllowed, NotFound, Unavailable
from leaderboard_core.http.bodies import why_no_object
from leaderboard_core.http.responses import JSONReply, encode_headers, error_reply

log = logging.getLogger(__name__)

_CODES: Final = {400: InvalidPayload.code, 422: InvalidPayload.code, 503: Unavailable.code}
"""The codes of statuses whose HTTP phrase says it otherwise than the API."""

Handler = Callable[[Request, Any], Any]


async def on_leaderboard_error(_: Request, error: LeaderboardError) -> Response:
    """Answer one of our own errors."""
    return error_reply(error)


async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
    """Answer what a body, a query, a path or a header has wrong."""
    problems = error.errors()
    sentence = next(filter(None, (_why_no_object(request, one, error.body) for one in problems)), None)
    if sentence is None:
        return error_reply(InvalidPayload(fields=fields_of(problems)))
    others = fields_of([one for one in problems if one["loc"][0] != "body"])
    return error_reply(InvalidPayload(sentence, fields=[*others, {"field": "body", "message": sentence}]))


def _why_no_object(request: Request, problem: Any, body: object) -> str | None:
    if problem["loc"][0] != "body":
        return None
    entry, _ = request.app.routes_by_path.find(request.method, get_route_path(request.scope))
    if entry is None or entry.body_model is None:
        return None
    return why_no_object(problem, body, request.headers.get("content-type", ""), entry.body_model)


async def on_http_exception(request: Request, error: HTTPException) -> Response:
    """Answer what Starlette and FastAPI refuse by themselves. Raises ClientDisconnect for a body that broke off."""
    status, cause = error.status_code, error.__cause__
    if isinstance(cause, LeaderboardError):
        return error_reply(cause)  # raised while FastAPI read the body
    if isinstance(cause, ClientDisconnect):
        raise cause
    phrase = responses.get(status, "refused")
    said = error.detail if isinstance(error.detail, str) and error.detail != phrase else None
    if status == 404:
        return error_reply(NotFound(said))
    if status == 405:
        allowed = request.app.routes_by_path.allowed(get_route_path(request.scope))
        return error_reply(MethodNotAllowed(said, allow=", ".join(sorted(allowed))))
    envelope = {"error": _CODES.get(status) or _snake_case(phrase), "message": str(error.detail)}
    return JSONReply(envelope, status, encode_headers(error.headers or {}))


def _snake_case(phrase: str) -> str:
    return "_".join(re.findall(r"[a-z]+", phrase.lower()))


def fields_of(problems: Sequence[Any]) -> list[dict[str, str]]:
    """FastAPI's errors as the `fields` of the envelope; what is wrong as a whole is named for its place."""
    return [
        {
            "field": ".".join(str(part) for part in problem["loc"][1:]) or problem["loc"][0],
            "message": problem["msg"].removeprefix("Value error, "),  # pydantic's, before what a validator says
        }
        for problem in problems
    ]


async def on_defect(_: Request, __: Exception) -> Response:
    """Answer what is a bug of ours; the log says what it was."""
    return error_reply(LeaderboardError())


HANDLERS: Final[Mapping[Any, Handler]] = {
    LeaderboardError: on_leaderboard_error,
    RequestValidationError: on_invalid_request,
    HTTPException: on_http_exception,
    Exception: on_defect,
}


async def reply_to(error: Exception, handlers: Mapping[Any, Handler], request: Request) -> Response:
    """What an application's exception handlers answer, found as Starlette finds them; a defect is logged."""
    handler = handlers.get(error.status_code) if isinstance(error, HTTPException) else None
    if handler is None:
        kind = next(kind for kind in type(error).__mro__ if kind in handlers)
        handler = handlers.get(500, handlers[kind]) if kind is Exception else handlers[kind]
        if kind is Exception:
            log.exception("a request failed", exc_info=error, extra={"path": request.scope["path"]})
    answer: Response
    if is_async_callable(handler):
        answer = await handler(request, error)
    else:
        answer = await run_in_threadpool(handler, request, error)
    return answer
