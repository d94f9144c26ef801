"""The HTTP protocol under every process: uvicorn's, with the envelope for what is refused before it is a request.

Its cycles take the fast path (`cycle.py`) where a request and its answer are plain. One request is answered after the
other: behind a second one that waits for its turn nothing is parsed or read.
"""

from __future__ import annotations

import asyncio
from math import inf
from typing import Any, Final, cast
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from leaderboard_core.http import heads
from leaderboard_core.http.cross_origin import CrossOrigin
from leaderboard_core.http.cycle import FIRST_HEADERS, Cycle, scope_of_connection
from leaderboard_core.http.heads import MAX_HEAD_BYTES, MAX_HEADERS, Refusal

_HEAD_END: Final = b"\r\n\r\n"
_CHUNK_FRAMING: Final = 32
"""Bytes around a piece of a body that nobody counts."""
_PIECE_BYTES: Final = 65_536  # most that the parser gets at once
_FEW_BYTES: Final = 2048  # one of the usual size is not looked through for others behind it
_LINGER_SECONDS: Final = 2.0


class EnvelopeProtocol(HttpToolsProtocol):
    """Answers what cannot be parsed in the envelope, as everything else is, and sends each answer at once.

    `cross_origin` lets pages of listed sites read that too, as far as their Origin was parsed.
    `idle_since` (of the loop's clock) is when the connection began to wait for a request's head, infinite while it has
    a request. No timer runs for it: whoever owns the connections calls `close_if_late` of all from time to time.
    """

    closing_after_response = False
    idle_since = inf
    _lingers_until = inf
    _refused = False
    _deaf = False  # to all that comes now: the connection ends with what came before it
    _last_words = b""  # a refusal, which waits until the requests before it have been answered
    _in_head = False
    _overhead = 0
    """Bytes that are no body, of the packets since that in which the message began."""
    _running: Cycle | None = None
    _holds = False  # what came behind a waiting request, and reads no more
    _held = b""
    _held_from = 0
    _without_upgrade = b""
    _slow_head: Any = None
    _slow_head_since = 0.0

    def __init__(self, *args: Any, cross_origin: CrossOrigin | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._cross_origin = cross_origin

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.idle_since = self.loop.time()
        self._scope = scope_of_connection(self)

    def close_after_response(self) -> None:
        """Let this connection end with its next answer."""
        self.closing_after_response = True
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    def close_if_late(self, now: float, idle_seconds: float, head_seconds: float) -> None:
        """Close what is idle for too long, and refuse a head that does not come to its end."""
        if self._lingers_until < now:
            self.transport.close()
        elif not self._in_head or self._deaf:
            if self.idle_since < now - idle_seconds:
                self.transport.close()
        elif self._slow_head is not self.headers:
            self._slow_head, self._slow_head_since = self.headers, now
        elif self._slow_head_since < now - head_seconds:
            self._refuse(heads.head_too_late())

    def connection_lost(self, exc: Exception | None) -> None:
        waiting = [cast(Cycle, cycle) for cycle, _ in self.pipeline]
        super().connection_lost(exc)
        for cycle in (self._running, *waiting):
            if cycle is not None:
                cycle.disconnect()
        # They and this refer to each other: without that they go at once, and not when the garbage collector looks.
        self.pipeline.clear()
        self.cycle = self._running = None  # type: ignore[assignment]
        self._held = b""

    # Bytes.

    def data_received(self, data: bytes) -> None:
        if self.pipeline:
            self._hold(data)
        elif len(data) > _FEW_BYTES:
            self._feed_pieces(data, 0)
        elif not self._deaf:
            self._feed(data)

    def _feed(self, data: bytes) -> None:
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as stopped:
            self._ignore_upgrade(data[stopped.args[0] :])
        except httptools.HttpParserError as error:
            reason = error.__context__
            self._refuse(reason if isinstance(reason, Refusal) else heads.unreadable(data))
        else:
            if self._overhead > MAX_HEAD_BYTES:
                self._refuse(heads.head_too_large(self.url if self._in_head else b""))

    def _feed_pieces(self, data: bytes, start: int) -> None:
        """Feed what may hold several requests one by one, up to the first that has to wait."""
        while start < len(data) and not self._deaf:
            if self.pipeline:
                self._hold(data, start)
                return
            found = data.find(_HEAD_END, start, start + _PIECE_BYTES)
            end = start + _PIECE_BYTES if found < 0 else found + len(_HEAD_END)
            self._feed(data[start:end])
            start = end

    def _hold(self, data: bytes, start: int = 0) -> None:
        """Keep what came behind a waiting request as it is, and read no more."""
        if self._held:
            data, start = self._held[self._held_from :] + data[start:], 0
        self._held, self._held_from, self._holds = data, start, True
        self.transport.pause_reading()

    def _release(self) -> None:
        held, start = self._held, self._held_from
        self._held, self._held_from = b"", 0
        self._feed_pieces(held, start)
        if not self.pipeline:
            self._holds = False
            if not self.flow.read_paused:
                self.transport.resume_reading()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Parse a request once more without its wish for another protocol: the parser would take no body for it."""
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self.parser = parser
        head, self._without_upgrade = self._without_upgrade, b""
        self._feed(head + rest)

    def _refuse(self, refusal: Refusal) -> None:
        """Answer the refusal when it is its turn; nothing more is parsed."""
        self.logger.warning("%s %s", refusal.status, refusal.message)
        self._refused = self._deaf = True
        sites = self._cross_origin
        self._last_words = refusal.encode(sites.headers_for(self._broken_head()) if sites else ())
        running = self._running
        if running is None or running.response_complete:
            self._say_last_words()
        elif not self._in_head and self.cycle.more_body:  # the broken message is the last that has begun
            if self.cycle is not running:
                self.pipeline.popleft()
            else:
                if running.response_started:
                    self._last_words = b""
                self._say_last_words()
                running.give_up()

    def _broken_head(self) -> dict[bytes, bytes]:
        """The first header of each name in the message that is no request, as far as it was parsed."""
        if self._in_head:
            return dict(reversed(self.headers))
        cycle = cast(Cycle | None, self.cycle)
        return {} if cycle is None or not cycle.more_body else cycle.first_headers

    def _say_last_words(self) -> None:
        """End the connection, and let the other side read that before its unread bytes cause a reset."""
        transport = self.transport
        if transport.is_closing():
            return
        self._lingers_until = self.loop.time() + _LINGER_SECONDS
        if self._last_words:
            transport.write(self._last_words)
        if transport.can_write_eof():
            transport.write_eof()
            transport.resume_reading()
        else:
            transport.close()

    # What the parser tells.

    def on_message_begin(self) -> None:
        self.url = b""
        self.headers = []
        self._in_head = True
        self._overhead = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        headers, parser, url = self.headers, self.parser, self.url
        version, method = parser.get_http_version(), parser.get_method()
        first = dict(reversed(headers))
        if self._overhead or len(headers) > MAX_HEADERS:
            heads.check_size(url, headers)
        if len(first) != len(headers) or b"host" not in first or version != "1.1" or b"transfer-encoding" in first:
            heads.check_framing(version, headers)
        if method == b"CONNECT":  # of whatever: the parser would take its body for a request
            raise heads.malformed("This is no proxy.")
        if b"upgrade" in first and parser.should_upgrade():
            self._without_upgrade = heads.without_upgrade(method, url, version, headers)
            return
        self._in_head, self.headers = False, []  # of trailers, which nobody sees
        self.idle_since = inf
        if url.startswith(b"/") and b"#" not in url:
            raw_path, _, query = url.partition(b"?")
        else:
            parsed = httptools.parse_url(url)
            raw_path, query = parsed.path, parsed.query or b""
        path = raw_path.decode("ascii")
        scope: Any = {
            **self._scope,
            "method": method.decode("ascii"),
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": headers,
            "state": self.app_state.copy(),
            FIRST_HEADERS: first,
        }
        if version != "1.1":
            scope["http_version"] = version
        before, self.scope = self.cycle, scope
        keep_alive = version != "1.0" and not self.closing_after_response and parser.should_keep_alive()
        self.cycle = Cycle(self, scope, keep_alive)
        if b"expect" in first and any(value.lower() == b"100-continue" for name, value in headers if name == b"expect"):
            self.cycle.waiting_for_100_continue = True
        if before is None or before.response_complete:
            self._start_asgi_task(self.cycle, self.app)
        else:
            self.pipeline.appendleft((self.cycle, self.app))

    def on_body(self, body: bytes) -> None:
        if self._overhead:
            self._overhead -= min(len(body) + _CHUNK_FRAMING, self._overhead)
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
        if self._in_head:
            return  # it is parsed once more, without its upgrade
        cycle = cast(Cycle, self.cycle)
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.wake()
        if not cycle.keep_alive:
            self._deaf = True

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        running = self._running = cast(Cycle, cycle)
        task = running.task = self.loop.create_task(cycle.run_asgi(app))
        self.tasks.add(task)

    # What the cycle tells.

    def on_last_answer(self) -> None:
        """Drop what waits behind a request whose answer ends the connection, and read on: the client may leave."""
        if self.pipeline:
            self.pipeline.clear()
            self.cycle = self._running  # type: ignore[assignment]
            if self._holds:
                self._held, self._holds = b"", False
                self.transport.resume_reading()
        self._deaf = self._deaf or not self.cycle.more_body

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
            if self._holds:
                self._release()
        elif self._refused:
            self._say_last_words()
        else:
            self.idle_since = self.loop.time()
