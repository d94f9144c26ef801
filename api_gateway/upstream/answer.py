"""A service's answer, buffered whole or streamed as it arrives."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from api_gateway.upstream.errors import UpstreamError
from leaderboard_core.http.messages import Headers

SMALL_ANSWER_BYTES: Final = 65_536
"""Answers up to this size are read whole before the client sees any of them, and so can still be replaced."""


class Source(Protocol):
    """The connection that an answer arrives on, as far as the answer controls it."""

    def resume(self) -> None: ...

    def set_read_timeout(self, seconds: float) -> None: ...

    def abort(self) -> None: ...


class Answer:
    """One answer: its head, and its body as it arrives. Read it to its end, or close it.

    `headers` have names in lower case, without the hop-by-hop ones; `head_at` is of `perf_counter`.
    """

    __slots__ = (
        "_error",
        "_pieces",
        "_source",
        "_waiter",
        "buffered",
        "content_length",
        "head_at",
        "headers",
        "status",
    )

    def __init__(
        self, source: Source, status: int, headers: Headers, content_length: int | None, head_at: float
    ) -> None:
        self.status = status
        self.headers = headers
        self.content_length = content_length
        self.head_at = head_at
        self.buffered = 0
        self._source: Source | None = source
        self._pieces: list[bytes] = []
        self._error: UpstreamError | None = None
        self._waiter: asyncio.Future[None] | None = None

    @property
    def complete(self) -> bool:
        """Whether the answer has ended in order, so that `take` gives all of the body."""
        return self._source is None and self._error is None

    def take(self) -> bytes:
        """Return what is buffered of the body, without waiting."""
        pieces = self._pieces
        if not pieces:
            return b""
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.buffered = 0
        return body

    async def read(self) -> bytes:
        """Return what is buffered of the body, waiting for at least one byte; empty at its end.

        Raises BrokenOffError or TimedOutError.
        """
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if self._source is None:
                return b""
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        piece = self.take()
        if self._source is not None:
            self._source.resume()
        return piece

    def set_read_timeout(self, seconds: float) -> None:
        """Replace the read timeout for the rest of this answer: events may be further apart than other pieces."""
        if self._source is not None:
            self._source.set_read_timeout(seconds)

    def close(self) -> None:
        """Discard what has not arrived yet, and close the connection unless the answer is complete."""
        if self._source is not None:
            self._source.abort()

    # Called by the source.

    def add(self, piece: bytes) -> None:
        """Buffer a piece of the body; `wake` tells the reader."""
        self._pieces.append(piece)
        self.buffered += len(piece)

    def wake(self) -> None:
        """Wake the reader, if one waits."""
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def end(self, error: UpstreamError | None = None) -> None:
        """Detach from the source: the body is complete, or with an error cut off."""
        self._source = None
        self._error = error
        self.wake()
