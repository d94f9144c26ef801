"""The HTTP protocol under every process: uvicorn's, with a short way for the plain requests that most of them are.

What uvicorn's own protocol does for each request, in Python, is dear next to what our handlers do: an event, a timer,
two writes, two regular expressions for each header. A request whose answer is one piece of known length is
answered without them here; for everything else uvicorn's code runs as it is.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Iterable
from math import inf
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
import orjson
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

TRANSPORT: Final = "leaderboard.transport"
"""In an ASGI scope, the connection's transport: an answer without end may have to be cut off."""

NOTHING_YET: Final = {"type": "http.response.body", "body": b"", "more_body": True}
"""A piece of a body that sends the head now: otherwise it waits for the first piece with something in it."""

_FRAMING: Final = frozenset({b"connection", b"transfer-encoding"})
_BODILESS: Final = frozenset({204, 304})


class Cycle(RequestResponseCycle):
    """One request and its answer. A head waits for the first piece of its body; both are then one write."""

    # What a request begins with; what changes is set on the instance.
    access_log = False
    logger = logging.getLogger("uvicorn.error")
    body: Any = b""
    chunked_encoding = None
    disconnected = False
    expected_content_length = 0
    more_body = True
    response_complete = False
    response_started = False
    waiting_for_100_continue = False
    _event: asyncio.Event | None = None
    _head: Any = None
    _news = False

    def __init__(self, protocol: EnvelopeProtocol, scope: Any, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.flow = protocol.flow
        self.transport = protocol.transport
        self.on_response: Callable[..., None] = protocol.on_response_complete
        self._state = protocol.server_state
        self._tasks: set[Any] = protocol.tasks
        self.task: asyncio.Task[None] | None = None

    @property
    def default_headers(self) -> Any:  # type: ignore[override]
        return self._state.default_headers

    @property
    def message_event(self) -> Any:  # type: ignore[override]
        """uvicorn's sign that something has come; most requests end without anybody waiting for it."""
        if self._event is None:
            self._event = asyncio.Event()
            if self._news:
                self._event.set()
        return self._event

    def wake(self) -> None:
        """Something has come, or nothing more will."""
        self._news = True
        if self._event is not None:
            self._event.set()

    async def run_asgi(self, app: Any) -> None:
        """Run the application, as a task of its own. An answer that it leaves unfinished is cut off."""
        try:
            await app(self.scope, self.receive, self.send)
            if not (self.response_complete or self.disconnected):
                self.logger.error("The application returned without completing its answer.")
                await self._break_off()
        except BaseException:
            self.logger.exception("The application failed.")
            await self._break_off()
        finally:
            self._tasks.discard(self.task)

    async def _break_off(self) -> None:
        if self._head is not None:  # still held: nothing was written
            self._head, self.response_started = None, False
        if self.response_started:
            self.transport.close()
        else:
            await self.send_500_response()

    def take_body(self) -> bytes | None:
        """What has come of the body and was not taken yet, if that is the end of it."""
        if self.more_body or self.disconnected or self.response_complete:
            return None
        return self._take()

    def _take(self) -> bytes:
        self.flow.resume_reading()
        self._news = False
        if self._event is not None:
            self._event.clear()
        body, self.body = bytes(self.body), b""
        return body

    async def receive(self) -> Any:
        if self._news and not (self.disconnected or self.response_complete or self.waiting_for_100_continue):
            return {"type": "http.request", "body": self._take(), "more_body": self.more_body}
        message = await super().receive()
        self._news = False
        return message

    async def send(self, message: Any) -> None:
        head = self._head
        if head is None:
            if self.response_started or message["type"] != "http.response.start":
                await super().send(message)
            else:
                self._head = {**message, "headers": list(message.get("headers", ()))}
                self.response_started, self.waiting_for_100_continue = True, False
            return
        if self.flow.write_paused and not self.disconnected:
            await self.flow.drain()
        if self.disconnected:
            return
        self._head = None
        self.response_started = False
        whole = message["type"] == "http.response.body" and not message.get("more_body")
        if whole and self.answer(head["status"], head["headers"], message.get("body", b"")):
            return
        await super().send(head)
        await super().send(message)

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write a whole answer at once; False, with nothing written, when there is something special about it."""
        if self.response_started or self.disconnected or self.flow.write_paused:
            return False
        pieces = [STATUS_LINE[status]]
        for name, value in self._state.default_headers:
            pieces += (name, b": ", value, b"\r\n")
        length, lines = None, 2 + len(self._state.default_headers)
        for name, value in headers:
            if name in _FRAMING:
                return False
            if name == b"content-length":
                length = value
            pieces += (name, b": ", value, b"\r\n")
            lines += 1
        without_body = self.scope["method"] == "HEAD"
        if not without_body and (length != b"%d" % len(body) or status in _BODILESS):
            return False
        if not self.keep_alive:
            pieces.append(b"connection: close\r\n")
            lines += 1
        pieces.append(b"\r\n")
        whole = b"".join(pieces)
        if whole.count(b"\n") != lines or whole.count(b"\r") != lines or b"\0" in whole:
            return False  # a header that would be two, or none: uvicorn refuses it
        self.transport.write(whole if without_body else whole + body)
        self.response_started = self.response_complete = True
        self.waiting_for_100_continue = False
        self.wake()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()
        return True


def body_at_once(receive: Callable[[], Awaitable[Any]]) -> bytes | None:
    """The body of a request that has arrived whole, without a turn for an ASGI message; ask for it first, and once.

    None if it has not, or `receive` is not of this server: then the messages bring it.
    """
    cycle = getattr(receive, "__self__", None)
    return cycle.take_body() if isinstance(cycle, Cycle) else None


def send_at_once(
    send: Callable[[Any], Awaitable[None]], status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> bool:
    """Send a whole answer, with its content-length among the headers, without a turn for each ASGI message.

    False, with nothing sent, if `send` is not of this server or the answer is not that simple: then the messages do it.
    """
    cycle = getattr(send, "__self__", None)
    return isinstance(cycle, Cycle) and cycle.answer(status, headers, body)


class EnvelopeProtocol(HttpToolsProtocol):
    """Answers what cannot be parsed in the envelope, as everything else is, and sends each answer at once.

    `idle_since` (of the loop's clock) is when the connection began to wait for a request's head, infinite while it has
    a request. No timer runs for it: whoever owns the connections looks at all of them from time to time.
    """

    retiring = False
    idle_since = inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": "1.1",
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme,
            "root_path": self.root_path,
            TRANSPORT: transport,
        }

    def retire(self) -> None:
        """Let this connection end with its next answer."""
        self.retiring = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        # They and this refer to each other: without that they go at once, and not when the garbage collector looks.
        self.pipeline.clear()
        self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError:
            msg = "Invalid HTTP request received."
            self.logger.warning(msg)
            self.send_400_response(msg)
        except httptools.HttpParserUpgrade:
            self._unsupported_upgrade_warning()

    # What the parser tells.

    def on_message_begin(self) -> None:
        self.url = b""
        self.expect_100_continue = False
        self.headers = []

    def on_headers_complete(self) -> None:
        self.idle_since = inf
        parser, url = self.parser, self.url
        version = parser.get_http_version()
        if url.startswith(b"/") and b"#" not in url:
            raw_path, _, query = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            raw_path, query = parsed.path, parsed.query or b""
        path = raw_path.decode("ascii")
        scope: Any = {
            **self._scope,
            "method": parser.get_method().decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        if version != "1.1":
            scope["http_version"] = version
        before = self.cycle
        self.scope = scope
        self.cycle = Cycle(self, scope, version != "1.0" and not self.retiring and parser.should_keep_alive())
        if self.expect_100_continue:
            self.cycle.waiting_for_100_continue = True
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            # Of pipelined requests, one is answered after the other.
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        cycle = cast(Cycle, self.cycle)
        if cycle.response_complete:
            return
        if not cycle.body:
            cycle.body = body
        else:
            if isinstance(cycle.body, bytes):
                cycle.body = bytearray(cycle.body)
            cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.wake()

    def on_message_complete(self) -> None:
        if not self.cycle.response_complete:
            self.cycle.more_body = False
            cast(Cycle, self.cycle).wake()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        task = cast(Cycle, cycle).task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)

    # What the cycle tells.

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self.idle_since = self.loop.time()

    def send_400_response(self, msg: str) -> None:
        body = orjson.dumps({"error": "bad_request", "message": msg})
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            "content-type: application/json\r\n"
            f"content-length: {len(body)}\r\n"
            f"x-request-id: {secrets.token_hex(16)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
