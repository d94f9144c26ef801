"""Answers of path operations: JSON that is serialised once, and streams of events."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from time import perf_counter
from typing import Any, Final, Protocol

import orjson
from pydantic import BaseModel
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from leaderboard_core.errors import LeaderboardError
from leaderboard_core.http.context import RequestContext
from leaderboard_core.http.cycle import TRANSPORT
from leaderboard_core.http.messages import Header, limit_buffer, send_in_time, start_stream, wait_until_disconnected

JSON: Final[Header] = (b"content-type", b"application/json")
CONTEXT: Final = "leaderboard.context"
"""In an ASGI scope, the RequestContext."""
_FINAL_CHUNK_SECONDS: Final = 1.0


class JSONReply(Response):
    """A JSON answer of `content`, serialised by orjson when it is made; `headers` are (name, value) in bytes."""

    media_type = "application/json"
    body: bytes

    def __init__(self, content: object, status_code: int = 200, headers: tuple[Header, ...] = ()) -> None:
        # Not Response's own: it encodes what is constant for each answer again.
        self.status_code = status_code
        self.background = None
        body = self.body = orjson.dumps(content, default=_as_json)
        self.raw_headers = [JSON, *headers, (b"content-length", b"%d" % len(body))]


def _as_json(value: object) -> Any:
    """What orjson asks for: a model is written as its serialisation."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is not JSON")


def reply_of(answer: Any, status: int) -> JSONReply:
    """The reply of what a path operation returned: a model, a mapping or a named tuple."""
    if isinstance(answer, tuple) and hasattr(answer, "_asdict"):
        answer = answer._asdict()
    return JSONReply(answer, status)


def error_reply(error: LeaderboardError) -> JSONReply:
    """Render an error as its envelope."""
    return JSONReply(error.envelope(), error.status, encode_headers(error.headers))


def encode_headers(headers: Mapping[str, str]) -> tuple[Header, ...]:
    """Headers as ASGI wants them."""
    return tuple((name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers.items())


class BodyIterator(Protocol):
    """The body of an EventStream, as it comes about."""

    sent: int

    async def next(self) -> bytes:
        """The next piece, when there is one; empty at the end."""

    def on_write_timeout(self) -> None:
        """The client took nothing for too long."""

    def close(self) -> None:
        """Nothing more is wanted; may be called again."""


class EventStream(JSONResponse):
    """Server-Sent Events, until the body iterator ends, the client leaves, or it takes nothing for `write_timeout` s.

    It counts as answered when it begins, and leaves its log line when it ends.
    """

    media_type = "text/event-stream"

    def __init__(self, body: BodyIterator, write_timeout: float, status_code: int = 200) -> None:
        self.status_code = status_code
        self.background = None
        self.raw_headers = [
            (b"content-type", b"text/event-stream; charset=utf-8"),
            (b"cache-control", b"no-store"),
            (b"x-accel-buffering", b"no"),
        ]
        self._body = body
        self._write_timeout = write_timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        context: RequestContext | None = scope.get(CONTEXT)
        if context is not None:
            context.end()
        head_at = perf_counter()
        try:
            await self._send(scope, receive, send)
        finally:
            if context is not None:
                context.note(pieces=self._body.sent, open_seconds=round(perf_counter() - head_at, 2))

    async def _send(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = self._body
        gone = asyncio.ensure_future(wait_until_disconnected(receive))
        gone.add_done_callback(lambda _: body.close())
        headers = [*self.raw_headers, (b"connection", b"close")]
        try:
            if scope["method"] == "HEAD":
                await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
            else:
                await start_stream(send, self.status_code, headers)
                limit_buffer(scope)
                while piece := await body.next():
                    message = {"type": "http.response.body", "body": piece, "more_body": True}
                    await send_in_time(send, message, scope, self._write_timeout)
            await send_in_time(send, {"type": "http.response.body", "body": b""}, scope, _FINAL_CHUNK_SECONDS)
        except ClientDisconnect:
            body.on_write_timeout()
            if TRANSPORT in scope:
                await gone  # our server has cut the connection; another one does so when this returns
        finally:
            gone.cancel()
            body.close()
