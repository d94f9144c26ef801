"""The ASGI types of the gateway, and the answers it gives itself."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from api_gateway.upstream.headers import Headers
from leaderboard_core.errors import LeaderboardError

Scope = dict[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

JSON = b"application/json"


class ClientGoneError(Exception):
    """The client closed its connection before it had its answer."""


async def send_reply(
    send: Send,
    status: int,
    body: bytes,
    request_id: str,
    *,
    content_type: bytes = JSON,
    extra: Mapping[str, str] | None = None,
    close: bool = False,
    more_body: bool = False,
) -> None:
    """Send a whole answer of the gateway's own; `close` asks the server to end the connection after it.

    With `more_body` the answer is flushed but not ended: the caller must end it with an empty body.
    """
    headers: Headers = [
        (b"content-type", content_type),
        (b"content-length", b"%d" % len(body)),
        (b"x-request-id", request_id.encode("ascii")),
    ]
    if extra:
        headers.extend((name.lower().encode("ascii"), value.encode("latin-1")) for name, value in extra.items())
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more_body})


async def send_error(
    send: Send, error: LeaderboardError, request_id: str, *, close: bool = False, more_body: bool = False
) -> None:
    """Send an error in the envelope `{"error", "message"}`."""
    await send_reply(
        send,
        error.status,
        orjson.dumps(error.envelope()),
        request_id,
        extra=error.headers,
        close=close,
        more_body=more_body,
    )
