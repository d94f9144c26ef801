"""A request's body, taken whole within the limits of size and time."""

from __future__ import annotations

import asyncio
from typing import Any

from api_gateway.asgi import ClientGoneError, Receive
from leaderboard_core.errors import PayloadTooLarge, RequestTimeout
from leaderboard_core.http.protocol import body_at_once

_LINGER_SECONDS = 5.0
_LINGER_BYTES = 64 * 2**20


def too_large(max_bytes: int) -> PayloadTooLarge:
    return PayloadTooLarge(f"The request body is larger than {max_bytes} bytes.", max_bytes=max_bytes)


async def read_body(receive: Receive, *, max_bytes: int, timeout: float) -> bytes:
    """The whole body, so that a request can be given to another service if the first one is gone.

    `timeout` is the longest wait for the next bytes, in seconds.
    Raises PayloadTooLarge, RequestTimeout or ClientGoneError.
    """
    whole = body_at_once(receive)
    if whole is not None:
        if len(whole) > max_bytes:
            raise too_large(max_bytes)
        return whole
    pieces: list[bytes] = []
    size, more = 0, True
    while more:
        message = await _next(receive, timeout)
        piece = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            raise too_large(max_bytes)
        pieces.append(piece)
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def linger(receive: Receive) -> None:
    """Read on, for a while, what a client still sends after its answer was written.

    A connection closed over unread bytes is reset, and the reset can destroy the answer on its way.
    """
    size, more = 0, True
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while more and size < _LINGER_BYTES:
                message = await receive()
                if message["type"] != "http.request":
                    return
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        return


async def _next(receive: Receive, timeout: float) -> Any:
    try:
        async with asyncio.timeout(timeout):
            message = await receive()
    except TimeoutError:
        raise RequestTimeout from None
    if message["type"] != "http.request":
        raise ClientGoneError
    return message
