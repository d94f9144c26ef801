"""The request that compiled routes give to whoever asks for one."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from starlette.requests import Request, empty_send
from starlette.types import Receive, Scope

from leaderboard_core.http.messages import BodyLimits, limit_body, read_body


class LimitedRequest(Request):
    """A request whose body is read within limits, by the fast path where it has arrived whole."""

    _stream_consumed = False
    _is_disconnected = False
    _form = None
    _send = staticmethod(empty_send)

    def __init__(self, scope: Scope, receive: Receive, limits: BodyLimits) -> None:
        self.scope = scope
        self._receive = receive
        self._limits = limits

    async def body(self) -> bytes:
        """Read the whole body, once. Raises PayloadTooLarge, RequestTimeout or ClientDisconnect."""
        body: bytes | None = self.__dict__.get("_body")
        if body is None:
            body = self._body = await read_body(self._receive, self.scope["headers"], self._limits)
            self._stream_consumed = True
        return body

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Give the body piece by piece. Raises PayloadTooLarge, RequestTimeout or ClientDisconnect."""
        self._receive = limit_body(self._receive, self.scope["headers"], self._limits)
        async for piece in super().stream():
            yield piece
