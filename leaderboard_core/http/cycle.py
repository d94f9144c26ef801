"""One request and its answer under our server: uvicorn's cycle, with a fast path for plain requests.

What uvicorn's own cycle does for each request, in Python, is dear next to what our handlers do: an event, a timer,
two writes, two regular expressions for each header. A request whose answer is one piece of known length is
answered without them here; for everything else uvicorn's code runs as it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle

TRANSPORT: Final = "leaderboard.transport"
"""In an ASGI scope, the connection's transport: an answer without end may have to be cut off."""

FIRST_HEADERS: Final = "leaderboard.first_headers"
"""In an ASGI scope as the server made it, the first header of each name."""

FLUSH_HEAD: Final = {"type": "http.response.body", "body": b"", "more_body": True}
"""A piece of a body that sends the head now: otherwise it waits for the first piece with something in it."""

_FRAMING: Final = frozenset({b"connection", b"transfer-encoding"})
_BODILESS: Final = frozenset({204, 304})


def scope_of_connection(protocol: Any) -> dict[str, Any]:
    """What the ASGI scopes of all requests of one connection begin with."""
    return {
        "type": "http",
        "asgi": {"version": protocol.asgi_version, "spec_version": "2.3"},
        "http_version": "1.1",
        "server": protocol.server,
        "client": protocol.client,
        "scheme": protocol.scheme,
        "root_path": protocol.root_path,
        TRANSPORT: protocol.transport,
    }


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
    _given_up = False
    _head: Any = None
    _news = False

    def __init__(self, protocol: Any, scope: Any, keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.flow = protocol.flow
        self.transport = protocol.transport
        self.on_response: Callable[..., None] = protocol.on_response_complete
        self._protocol = protocol
        self._state = protocol.server_state
        self._tasks: set[Any] = protocol.tasks
        self.task: asyncio.Task[None] | None = None

    @property
    def default_headers(self) -> Any:  # type: ignore[override]
        return self._state.default_headers

    @property
    def first_headers(self) -> dict[bytes, bytes]:
        """The first header of each name."""
        scope: Any = self.scope
        first: dict[bytes, bytes] = scope[FIRST_HEADERS]
        return first

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

    def disconnect(self) -> None:
        """The client has left."""
        if not self.response_complete:
            self.disconnected, self.waiting_for_100_continue = True, False
            self.wake()

    def give_up(self) -> None:
        """The request turned out to be none; if the application has not seen it yet, it never will."""
        self._given_up = True
        self.disconnect()

    async def run_asgi(self, app: Any) -> None:
        """Run the application, as a task of its own. An answer that it leaves unfinished is cut off."""
        try:
            if self._given_up:
                return
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
        if self.transport.is_closing():
            self.disconnect()  # whoever writes now learns of it before the transport says so
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
        if not self.keep_alive:
            self._protocol.on_last_answer()
        await super().send(message)

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Write a whole answer at once; False, with nothing written, when there is something special about it."""
        if self.response_started or self.disconnected or self.flow.write_paused or self.transport.is_closing():
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


def take_whole_body(receive: Callable[[], Awaitable[Any]]) -> bytes | None:
    """The body of a request that has arrived whole, without a turn for an ASGI message; ask for it first, and once.

    None if it has not, or `receive` is not of this server: then the messages bring it.
    """
    cycle = getattr(receive, "__self__", None)
    return cycle.take_body() if isinstance(cycle, Cycle) else None


def send_whole(
    send: Callable[[Any], Awaitable[None]], status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes
) -> bool:
    """Send a whole answer, with its content-length among the headers, without a turn for each ASGI message.

    False, with nothing sent, if `send` is not of this server or the answer is not that simple: then the messages do it.
    """
    cycle = getattr(send, "__self__", None)
    return isinstance(cycle, Cycle) and cycle.answer(status, headers, body)
