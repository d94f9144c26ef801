"""The service's outermost application: routes, request id, log line, metrics, and the last net under errors."""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Mapping, Sequence
from time import perf_counter

from leaderboard_core.errors import LeaderboardError
from leaderboard_core.http.access_log import AccessLog
from leaderboard_core.http.protocol import send_at_once
from leaderboard_core.telemetry import logs
from leaderboard_core.telemetry.metrics import HTTP_ANSWERS
from leaderboard_service.asgi import (
    Application,
    Call,
    Handler,
    Message,
    Receive,
    Reply,
    Scope,
    Send,
    Stream,
    error_reply,
)
from leaderboard_service.openapi import Route
from leaderboard_service.services import Services
from leaderboard_service.streaming import send_stream

log = logging.getLogger(__name__)

_NOTHING: Mapping[str, object] = {}
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,128}")


class Door:
    """Answers the routes of the API itself; everything else (the documentation, 404, 405) is FastAPI's.

    A route costs one look into a table here, and half a millisecond's worth of layers there.
    """

    def __init__(self, rest: Application, routes: Sequence[Route], access_log: AccessLog) -> None:
        self._rest = rest
        self._access_log = access_log
        self._services: Services | None = None
        self._exact: dict[tuple[str, str], tuple[str, Handler]] = {}
        self._by_prefix: dict[tuple[str, str], tuple[str, Handler]] = {}
        for route in routes:
            prefix, parameter, _ = route.path.partition("{")
            table = self._by_prefix if parameter else self._exact
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                table[method, prefix] = (route.path, route.handler)

    def open(self, services: Services) -> None:
        """Start answering, with these parts."""
        self._services = services

    def close(self) -> None:
        self._services = None
        self._access_log.flush()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        started = perf_counter()
        headers = dict(reversed(scope["headers"]))  # of a repeated one the first counts
        request_id = _request_id(headers.get(b"x-request-id"))
        logs.request_id.set(request_id)
        route, handler, path_value = self._find(scope["method"], scope["path"])
        if handler is None or self._services is None:
            status = await self._pass_on(scope, receive, send, request_id)
        else:
            try:
                reply = await handler(Call(scope, receive, self._services, request_id, path_value, headers))
            except LeaderboardError as error:
                reply = error_reply(error)
            except Exception:
                log.exception("a request failed", extra={"path": scope["path"]})
                reply = error_reply(LeaderboardError())
            if isinstance(reply, Stream):
                await self._stream(reply, route, scope, receive, send, request_id, started)
                return
            status = reply.status
            await _send(send, reply, request_id)
        self._observe(route, scope, status, request_id, perf_counter() - started)

    def route_of(self, method: str, path: str) -> str:
        """The path as the API describes it, "other" for what is FastAPI's."""
        return self._find(method, path)[0]

    def _find(self, method: str, path: str) -> tuple[str, Handler | None, str]:
        found = self._exact.get((method, path))
        if found is not None:
            return *found, ""
        cut = path.rfind("/") + 1
        value = path[cut:]
        if value:
            found = self._by_prefix.get((method, path[:cut]))
            if found is not None:
                return *found, value
        return "other", None, ""

    async def _stream(
        self, stream: Stream, route: str, scope: Scope, receive: Receive, send: Send, request_id: str, started: float
    ) -> None:
        """A stream counts as answered when it begins, and leaves its log line when it ends."""
        head_at = perf_counter()
        HTTP_ANSWERS.count(route, scope["method"], stream.status, head_at - started)
        try:
            await send_stream(stream, scope, receive, send, request_id)
        except Exception:
            log.exception("a stream failed", extra={"path": scope["path"]})
            raise  # the head is out: only breaking the connection tells the client
        finally:
            more = {"pieces": stream.pieces.sent, "open_seconds": round(perf_counter() - head_at, 2)}
            self._log(scope, stream.status, request_id, head_at - started, more)

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> int:
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            await self._rest(scope, receive, send_with_id)
        except Exception:
            log.exception("a request failed", extra={"path": scope["path"]})
            if status:
                raise  # the head is out: only breaking the connection tells the client
            reply = error_reply(LeaderboardError())
            status = reply.status
            await _send(send, reply, request_id)
        return status

    def _observe(self, route: str, scope: Scope, status: int, request_id: str, seconds: float) -> None:
        HTTP_ANSWERS.count(route, scope["method"], status, seconds)
        self._log(scope, status, request_id, seconds)

    def _log(
        self, scope: Scope, status: int, request_id: str, seconds: float, more: Mapping[str, object] = _NOTHING
    ) -> None:
        self._access_log.answered(
            scope["path"],
            {
                "request_id": request_id,
                "method": scope["method"],
                "path": scope["path"],
                "status": status,
                "ms": round(seconds * 1000, 2),
                **more,
            },
        )


def _request_id(given: bytes | None) -> str:
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode("ascii")
    return secrets.token_hex(16)


async def _send(send: Send, reply: Reply, request_id: str) -> None:
    headers = [
        *reply.headers,
        (b"content-length", b"%d" % len(reply.body)),
        (b"x-request-id", request_id.encode()),
    ]
    if not send_at_once(send, reply.status, headers, reply.body):
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})
