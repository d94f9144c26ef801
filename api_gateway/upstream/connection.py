"""One keep-alive connection to a service: one request at a time, its answer parsed by httptools."""

from __future__ import annotations

import asyncio
import select
from math import inf
from time import perf_counter
from typing import Any, Final, Protocol, cast

import httptools

from api_gateway.upstream.answer import SMALL_ANSWER_BYTES, Answer
from api_gateway.upstream.errors import BrokenOffError, NotSentError, TimedOutError, UpstreamError
from api_gateway.upstream.headers import read_response_head
from leaderboard_core.http.messages import Headers

# Shorter than the services' own keep-alive time-out (75 s), so that the side that sends also is the side that
# closes: a connection is never closed by a service just as a request is written to it.
KEEPALIVE_SECONDS: Final = 30.0
MAX_HEAD_BYTES: Final = 65_536
"""Of one head, of all heads of interim answers together, and of what stands between two pieces of a body."""

_VERSIONS: Final = frozenset({"1.1", "1.0"})
_BODILESS: Final = frozenset({204, 304})


class _RefusedError(Exception):
    """The parser accepted something that a proxy must not."""


class Owner(Protocol):
    """Holds the connections of one service: all that are open, and those that wait for a request."""

    open: set[Connection]
    idle: dict[Connection, None]


class Connection(asyncio.Protocol):
    """Times out at its `deadline` (of the loop's clock), while it waits for an answer or idle for a request.

    No timer runs for it: the client checks the deadlines of all connections periodically.
    """

    def __init__(self, pool: Owner, read_timeout: float) -> None:
        self.deadline = inf
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._default_timeout = self._read_timeout = read_timeout
        self._parser: Any = httptools.HttpResponseParser(self)
        self._poller = select.poll()
        self._busy = self._lost = self._keep_alive = self._head_only = self._complete = self._until_close = False
        self._paused = False
        self._overhead = 0
        self._headers: Headers = []
        self._waiter: asyncio.Future[Answer] | None = None
        self._answer: Answer | None = None

    # Called by the client and the pool.

    @property
    def closed(self) -> bool:
        return self._lost or self._transport.is_closing()

    def has_pending_input(self) -> bool:
        """Poll the socket: an idle connection with anything to read was closed, or received unsolicited bytes.

        The event loop learns of a close when it next polls; under load that is milliseconds late. A request
        written meanwhile would be lost, and one that must not be repeated would fail for no reason.
        """
        return self.closed or bool(self._poller.poll(0))

    def ask(self, request: bytes, *, head_only: bool) -> asyncio.Future[Answer]:
        """Write one request; the future is its answer: whole if small, else as soon as its head is there.

        `head_only` says that the answer has no body (HEAD). Raises NotSentError when provably nothing was written.
        """
        transport = self._transport
        if self._lost or transport.is_closing():
            raise NotSentError("the connection was closed before it was used")
        # Nothing is buffered here, so this calls send(2) at once, and a transport that is closing right after it
        # is one whose very first send failed. An error that comes later is no such proof.
        transport.write(request)
        if transport.is_closing():
            raise NotSentError("the connection was reset before it was used")
        self._busy, self._keep_alive, self._head_only = True, True, head_only
        self._complete = self._until_close = False
        self._overhead = 0
        self._read_timeout = self._default_timeout
        self.deadline = self._loop.time() + self._read_timeout
        waiter = self._waiter = self._loop.create_future()
        return waiter

    def set_read_timeout(self, seconds: float) -> None:
        """Replace the read timeout until the next request."""
        self._read_timeout = seconds
        self.deadline = inf if self._paused else self._loop.time() + seconds

    def resume(self) -> None:
        """Read on after a pause: the buffered part of the answer was taken."""
        if self._paused:
            self._paused = False
            self.deadline = self._loop.time() + self._read_timeout
            if not self.closed:
                self._transport.resume_reading()

    def abort(self) -> None:
        """Close at once; a pending answer fails with BrokenOffError."""
        self._fail(BrokenOffError("the connection was aborted"))

    def on_timeout(self) -> None:
        """Close at the deadline; a pending answer fails with TimedOutError."""
        self._fail(TimedOutError(f"no data for more than {self._read_timeout:g} s"))

    # Called by the event loop.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._poller.register(transport.get_extra_info("socket").fileno(), select.POLLIN)
        self._pool.open.add(self)
        # The task that connects may be cancelled before it gets the connection, which must then expire.
        self.deadline = self._loop.time() + KEEPALIVE_SECONDS

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            # Unsolicited bytes: taken for an answer, they would go to the next client.
            self.abort()
            return
        self.deadline = self._loop.time() + self._read_timeout
        if self._overhead == 0 and self._answer is None and data[0] != 0x48:  # "H": the parser knows ICE and RTSP
            self._fail(BrokenOffError("not an HTTP answer"))
            return
        self._overhead += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._keep_alive = False
            if not self._complete:
                self._fail(BrokenOffError(f"not a valid HTTP answer: {error.__context__ or error!r}"))
                return
        if self._overhead > MAX_HEAD_BYTES and not self._complete:
            self._fail(BrokenOffError("the head of the answer is too large"))
            return
        self._deliver()

    def eof_received(self) -> None:
        if self._busy and self._until_close:
            self._keep_alive, self._complete = False, True
            self._deliver()
        else:
            self._fail(BrokenOffError("closed by the service"))

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._pool.open.discard(self)
        self._fail(BrokenOffError(f"closed by the service: {exc}" if exc else "closed by the service"))

    # Called by the parser; an exception ends the parsing.

    def on_message_begin(self) -> None:
        if self._complete:
            raise _RefusedError("more than one answer to one request")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._answer is None:  # otherwise a trailer, which is dropped
            self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        raw, self._headers = self._headers, []
        status, parser = self._parser.get_status_code(), self._parser
        version = parser.get_http_version()
        if not 100 <= status <= 599 or version not in _VERSIONS:
            raise _RefusedError(f"HTTP/{version} {status}")
        if status < 200:
            return
        head = read_response_head(raw)
        if self._overhead > MAX_HEAD_BYTES and sum(len(name) + len(value) + 4 for name, value in raw) > MAX_HEAD_BYTES:
            raise _RefusedError("too large a head")
        if head.transfer_encoding is not None and (head.transfer_encoding != b"chunked" or version != "1.1"):
            raise _RefusedError("unknown framing")
        self._overhead = 0
        self._keep_alive = self._keep_alive and parser.should_keep_alive()
        self._answer = Answer(self, status, head.headers, head.content_length, perf_counter())
        if self._head_only:
            self._complete = True
        elif head.content_length is None and head.transfer_encoding is None and status not in _BODILESS:
            self._until_close = True

    def on_body(self, piece: bytes) -> None:
        if self._complete or self._answer is None:
            raise _RefusedError("a body where none is allowed")
        self._overhead = 0
        self._answer.add(piece)

    def on_message_complete(self) -> None:
        if self._answer is not None:  # otherwise an interim answer
            self._complete = True

    def _deliver(self) -> None:
        """Pass on what the last bytes completed: the answer to the client, or pieces of the body to its reader."""
        answer = self._answer
        if answer is None:
            return
        complete, waiter = self._complete, self._waiter
        if waiter is not None:
            length = answer.content_length
            if not complete and length is not None and length <= SMALL_ANSWER_BYTES:
                return
            if waiter.done():
                # The request was cancelled a moment ago.
                self.abort()
                return
            self._waiter = None
            waiter.set_result(answer)
        if complete:
            self._busy, self._answer = False, None
            answer.end()
            self._release()
        else:
            answer.wake()
            if answer.buffered >= SMALL_ANSWER_BYTES and not self._paused:
                self._paused, self.deadline = True, inf
                self._transport.pause_reading()

    def _release(self) -> None:
        """Return the connection to the pool, if it can take another request."""
        self.resume()
        # A service that answered before it read the whole request would parse the rest of it as the next one.
        if not self._keep_alive or self.closed or self._transport.get_write_buffer_size():
            self.abort()
            return
        if self._head_only:
            # The parser cannot be told that there is no body, and still expects it.
            self._parser = httptools.HttpResponseParser(self)
        self.deadline = self._loop.time() + KEEPALIVE_SECONDS
        self._pool.idle[self] = None

    def _fail(self, error: UpstreamError) -> None:
        """Close the connection; a pending answer fails with `error`."""
        self._pool.idle.pop(self, None)
        self._busy, self.deadline = False, inf
        waiter, self._waiter = self._waiter, None
        answer, self._answer = self._answer, None
        if waiter is not None:
            if not waiter.done():
                waiter.set_exception(error)
        elif answer is not None:
            answer.end(error)
        if not self._lost:
            self._transport.abort()
