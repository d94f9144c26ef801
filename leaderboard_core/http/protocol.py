"""The HTTP protocol under every process: uvicorn's, with the envelope for what cannot be parsed.

Its cycles take the fast path (`cycle.py`) where a request and its answer are plain.
"""

from __future__ import annotations

import asyncio
import secrets
from math import inf
from typing import Any, cast
from urllib.parse import unquote

import httptools
import orjson
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from leaderboard_core.http.cycle import TRANSPORT, Cycle


class EnvelopeProtocol(HttpToolsProtocol):
    """Answers what cannot be parsed in the envelope, as everything else is, and sends each answer at once.

    `idle_since` (of the loop's clock) is when the connection began to wait for a request's head, infinite while it has
    a request. No timer runs for it: whoever owns the connections looks at all of them from time to time.
    """

    closing_after_response = False
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

    def close_after_response(self) -> None:
        """Let this connection end with its next answer."""
        self.closing_after_response = True
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
        self.cycle = Cycle(
            self, scope, version != "1.0" and not self.closing_after_response and parser.should_keep_alive()
        )
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
