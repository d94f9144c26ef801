"""HTTP at the service's edge: bodies in, JSON out, every error in one envelope, one log line a request."""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any, TypeVar

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from leaderboard_core import logs
from leaderboard_core.errors import (
    InvalidPayload,
    LeaderboardError,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
)
from leaderboard_core.metrics import HTTP_REQUESTS, HTTP_SECONDS
from leaderboard_service.schemas import Body
from leaderboard_service.scores import Idempotency

log = logging.getLogger(__name__)
access_log = logging.getLogger("leaderboard_service.access")

_REQUEST_ID = re.compile(r"[\x21-\x7e]{1,128}")
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}")

_PROBES = frozenset({"/health", "/metrics"})
"""Asked for every second by machines: their log lines would drown those of people."""

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
BodyT = TypeVar("BodyT", bound=Body)


def json_response(content: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A JSON answer, serialised once."""
    return Response(orjson.dumps(content), status, headers, media_type="application/json")


def error_response(error: LeaderboardError) -> Response:
    """The envelope of an error."""
    return json_response(error.envelope(), error.status, error.headers)


async def read_body(request: Request, model: type[BodyT]) -> BodyT:
    """Parse and check the request's JSON body. Raises InvalidPayload or PayloadTooLarge."""
    raw = await _raw_body(request, request.app.state.services.process.max_body_bytes)
    try:
        return model.model_validate_json(raw)
    except ValidationError as error:
        raise InvalidPayload(fields=_fields(error.errors(include_input=False, include_url=False))) from None


async def _raw_body(request: Request, most: int) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise PayloadTooLarge(f"A request body may have at most {most} bytes.")
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > most:
            raise PayloadTooLarge(f"A request body may have at most {most} bytes.")
        parts.append(part)
    request.state.raw_body = b"".join(parts)
    return request.state.raw_body  # type: ignore[no-any-return]


def idempotency(request: Request) -> Idempotency | None:
    """The request's Idempotency-Key with a fingerprint of path and body, once the body was read.

    Raises InvalidPayload for a key that is not 1-255 visible ASCII characters.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    if not _IDEMPOTENCY_KEY.fullmatch(key):
        raise InvalidPayload(
            "The Idempotency-Key header takes 1 to 255 visible ASCII characters.",
            fields=[{"field": "Idempotency-Key", "message": "is not valid"}],
        )
    content = request.url.path.encode() + b"\n" + request.state.raw_body
    return Idempotency(key, hashlib.blake2b(content, digest_size=16).hexdigest())


def _fields(problems: Sequence[Any]) -> list[dict[str, str]]:
    return [
        {
            "field": ".".join(str(part) for part in problem["loc"] if part not in ("query", "path", "body")) or "body",
            "message": problem["msg"],
        }
        for problem in problems
    ]


def add_error_handlers(app: FastAPI) -> None:
    """Give every error the envelope; an unforeseen one is logged and becomes a bare 500 `internal_error`."""

    @app.exception_handler(LeaderboardError)
    async def _known(_: Request, error: LeaderboardError) -> Response:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def _invalid(_: Request, error: RequestValidationError) -> Response:
        return error_response(InvalidPayload(fields=_fields(error.errors())))

    @app.exception_handler(HTTPException)
    async def _http(_: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return error_response(NotFound())
        if error.status_code == 405:
            return error_response(MethodNotAllowed(allow=(error.headers or {}).get("Allow", "")))
        known = InvalidPayload(str(error.detail))
        return json_response(known.envelope(), error.status_code, error.headers)


class RequestContext:
    """ASGI middleware: the request id, the access log line, the RED metrics, and the last net under errors."""

    def __init__(self, app: Application, *, access_log: bool) -> None:
        self._app = app
        self._access_log = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _header(scope, b"x-request-id")
        if not _REQUEST_ID.fullmatch(request_id):
            request_id = secrets.token_hex(16)
        scope["request_id"] = request_id
        logs.request_id.set(request_id)
        started, status = time.perf_counter(), 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            log.exception("a request failed", extra={"path": scope["path"]})
            if status:
                raise  # the head is out: only breaking the connection tells the client
            await error_response(LeaderboardError())(scope, receive, send_with_id)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("route"), "path", "unmatched")
            HTTP_REQUESTS.labels(route, scope["method"], status).inc()
            HTTP_SECONDS.labels(route).observe(seconds)
            if self._access_log:
                access_log.log(
                    logging.DEBUG if scope["path"] in _PROBES else logging.INFO,
                    "request",
                    extra={
                        "method": scope["method"],
                        "path": scope["path"],
                        "status": status,
                        "ms": round(seconds * 1000, 2),
                    },
                )


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope["headers"]:
        if key == name:
            return str(value, "latin-1")
    return ""
