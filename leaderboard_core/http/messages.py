"""Bodies and answers over ASGI: by the fast path where the server is ours, by messages under any other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterable
from math import inf
from typing import Final, NamedTuple

from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from leaderboard_core.errors import PayloadTooLarge, RequestTimeout
from leaderboard_core.http.bodies import check_encoding
from leaderboard_core.http.cycle import FLUSH_HEAD, TRANSPORT, send_whole, take_whole_body
from leaderboard_core.http.server import limit_write_buffer

Header = tuple[bytes, bytes]
Headers = list[Header]

_WHOLE_BODY: Final = 2
"""Times the longest wait for the next bytes: the time for all of them."""
_DRAIN_SECONDS: Final = 5.0
_DRAIN_BYTES: Final = 64 * 2**20


class BodyLimits(NamedTuple):
    """The most bytes that a request's body may have, and the longest wait for the next of them in seconds.

    The whole body must come in twice that time.
    """

    max_bytes: int
    seconds: float

    def at_most(self, max_bytes: int | None) -> BodyLimits:
        """Return these limits where no body may have more than `max_bytes`, if that is given."""
        return self if max_bytes is None else BodyLimits(min(max_bytes, self.max_bytes), self.seconds)

    def deadline(self) -> float:
        """When a body must be whole whose reading begins now, by the loop's clock."""
        return asyncio.get_running_loop().time() + _WHOLE_BODY * self.seconds


def first_header(headers: Iterable[Header], wanted: bytes) -> bytes | None:
    """The first value of a header (its name in lower case), None if there is none."""
    for name, value in headers:
        if name == wanted:
            return value
    return None


def too_large(max_bytes: int) -> PayloadTooLarge:
    """The refusal of a body with more than `max_bytes`."""
    return PayloadTooLarge(f"A request body may have at most {max_bytes} bytes.")


async def read_body(receive: Receive, headers: Iterable[Header], limits: BodyLimits) -> bytes:
    """Read a whole body, unless the request's headers say that it is too large.

    Raises PayloadTooLarge, RequestTimeout, or ClientDisconnect.
    """
    max_bytes = limits.max_bytes
    whole = take_whole_body(receive)
    if whole is not None:
        if len(whole) > max_bytes:
            raise too_large(max_bytes)
        return whole
    check_length(headers, max_bytes)
    pieces: list[bytes] = []
    size, more, deadline = 0, True, limits.deadline()
    while more:
        message = await _receive_in_time(receive, limits.seconds, deadline)
        if message["type"] != "http.request":
            raise ClientDisconnect
        piece = message.get("body", b"")
        size += len(piece)
        if size > max_bytes:
            raise too_large(max_bytes)
        pieces.append(piece)
        more = message.get("more_body", False)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def check_length(headers: Iterable[Header], max_bytes: int) -> None:
    """Refuse a body that a request's headers say to be too large. Raises PayloadTooLarge."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) > max_bytes:
            raise too_large(max_bytes)


def limit_body(receive: Receive, headers: Iterable[Header], limits: BodyLimits) -> Receive:
    """Receive a request for whoever reads its body by messages.

    Raises PayloadTooLarge, RequestTimeout or UnsupportedMediaType there.
    """
    size, more, deadline = 0, True, inf

    async def receive_limited() -> Message:
        nonlocal size, more, deadline
        if not more:
            return await receive()  # it waits until the client leaves
        if deadline == inf:
            check_length(headers, limits.max_bytes)
            for name, value in headers:
                if name == b"content-encoding":
                    check_encoding(value)
            deadline = limits.deadline()
        message = await _receive_in_time(receive, limits.seconds, deadline)
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
        if size > limits.max_bytes:
            raise too_large(limits.max_bytes)
        return message

    return receive_limited


async def drain_body(receive: Receive) -> None:
    """Read on, for a while, what a client still sends after its answer was written.

    A connection closed over unread bytes is reset, and the reset can destroy the answer on its way.
    """
    size, more = 0, True
    try:
        async with asyncio.timeout(_DRAIN_SECONDS):
            while more and size < _DRAIN_BYTES:
                message = await receive()
                if message["type"] != "http.request":
                    return
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        return


def send_response(send: Send, status: int, headers: Iterable[Header], body: bytes) -> Awaitable[None] | None:
    """Send a whole answer; its content-length is among the headers.

    On the fast path that is done when this returns None; else await what it returns.
    """
    return None if send_whole(send, status, headers, body) else _send_messages(send, status, headers, body)


async def _send_messages(send: Send, status: int, headers: Iterable[Header], body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def start_stream(send: Send, status: int, headers: Iterable[Header]) -> None:
    """Send the head of an answer whose body comes piece by piece, now and not with the first piece."""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send(FLUSH_HEAD)


def limit_buffer(scope: Scope) -> None:
    """Let the connection of a request hold few bytes: events that wait are out of date, and cost memory.

    Only under our own server; another one buffers what it likes.
    """
    transport = scope.get(TRANSPORT)
    if transport is not None:
        limit_write_buffer(transport)


async def send_in_time(send: Send, message: Message, scope: Scope, seconds: float) -> None:
    """Send one message; the client is cut off, and ClientDisconnect raised, when it takes nothing for so long."""
    try:
        async with asyncio.timeout(seconds):
            await send(message)
    except TimeoutError:
        transport = scope.get(TRANSPORT)
        if transport is not None:
            # An orderly close would wait until the client has taken what is buffered.
            transport.abort()
        raise ClientDisconnect from None


def without_body(send: Send) -> Send:
    """Send an answer's head and its end only, as HEAD wants it; servers do so, transports of tests do not."""

    async def send_head(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "body": b""}
        await send(message)

    return send_head


async def wait_until_disconnected(receive: Receive) -> None:
    """Return when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _receive_in_time(receive: Receive, seconds: float, deadline: float) -> Message:
    try:
        async with asyncio.timeout_at(min(asyncio.get_running_loop().time() + seconds, deadline)):
            return await receive()
    except TimeoutError:
        raise RequestTimeout from None
