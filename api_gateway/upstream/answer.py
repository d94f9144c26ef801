"""A service's answer, whole or still coming, and the ways in which there may be none."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from leaderboard_core.http.messages import Headers

if TYPE_CHECKING:
    from api_gateway.upstream.connection import Connection

SMALL_ANSWER_BYTES: Final = 65_536
"""Answers up to this size are read whole before the client sees any of them, and so can still be replaced."""


class UpstreamError(Exception):
    """A service gave no usable answer."""


class ConnectFailedError(UpstreamError):
    """No connection was made, so the service has not seen the request."""


class NotSentError(UpstreamError):
    """A connection had ended before anything was written to it."""


class BrokenOffError(UpstreamError):
    """The connection broke after the request may have been sent: it may or may not have been done."""


class TimedOutError(UpstreamError):
    """The service was silent for longer than the limit."""


class Answer:
    """One answer: its head, and its body as it comes. Read it to its end, or close it.

    `headers` have names in lower case, without those that end at this hop; `head_at` is of `perf_counter`.
    """

    __slots__ = (
        "_connection",
        "_error",
        "_pieces",
        "_waiter",
        "buffered",
        "content_length",
        "head_at",
        "headers",
        "status",
    )

    def __init__(
        self, connection: Connection, status: int, headers: Headers, content_length: int | None, head_at: float
    ) -> None:
        self.status = status
        self.headers = headers
        self.content_length = content_length
        self.head_at = head_at
        self.buffered = 0
        self._connection: Connection | None = connection
        self._pieces: list[bytes] = []
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def complete(self) -> bool:
        """Whether the answer has come to its end in order, so that `take` gives all of the body."""
        return self._connection is None and self._error is None

    def take(self) -> bytes:
        """What has arrived of the body and was not taken yet."""
        pieces = self._pieces
        if not pieces:
            return b""
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.buffered = 0
        return body

    async def read(self) -> bytes:
        """What has arrived of the body, waiting for at least one byte; empty at its end.

        Raises BrokenOffError or TimedOutError.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._connection is None:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        piece = self.take()
        if self._connection is not None:
            self._connection.resume()
        return piece

    def wait_at_most(self, seconds: float) -> None:
        """Let the pieces be so far apart, as events are."""
        if self._connection is not None:
            self._connection.wait_at_most(seconds)

    def close(self) -> None:
        """Give up what has not arrived yet, and the connection with it."""
        if self._connection is not None:
            self._connection.abort()

    # For the connection.

    def add(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self.buffered += len(piece)

    def wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def end(self, error: UpstreamError | None = None) -> None:
        """Nothing more will come; without an error because that was all."""
        self._connection = None
        self._error = error
        self.wake()


def describe(error: BaseException) -> str:
    """One line for logs and `/health`."""
    return str(error) or type(error).__name__
