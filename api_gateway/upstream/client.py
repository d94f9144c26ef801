"""The HTTP client towards the services: kept connections, and failures sorted by what may be repeated."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import Final

from api_gateway.upstream.answer import (
    Answer,
    BrokenOffError,
    ConnectFailedError,
    NotSentError,
    TimedOutError,
    UpstreamError,
    describe,
)
from api_gateway.upstream.connection import Connection
from api_gateway.upstream.pool import Upstream
from leaderboard_core.http.messages import Headers
from leaderboard_core.http.sockets import local_socket

__all__ = [
    "Answer",
    "BrokenOffError",
    "ConnectFailedError",
    "NotSentError",
    "TimedOutError",
    "UpstreamClient",
    "UpstreamError",
    "describe",
]

_SWEEPS_PER_TIMEOUT: Final = 10
_MAX_SWEEP_SECONDS: Final = 1.0
# Of these a request says nothing about a body that it does not have.
_BODILESS_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class Connections:
    """The open connections to one service, and those of them that wait for a request, the latest last."""

    __slots__ = ("idle", "open")

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        self.idle: dict[Connection, None] = {}

    def take(self, now: float) -> Connection | None:
        """A kept connection that can take a request, the one used last first: the others may then expire."""
        while self.idle:
            connection, _ = self.idle.popitem()
            if now < connection.deadline and not connection.has_news():
                return connection
            connection.abort()
        return None


class UpstreamClient:
    """Kept-alive connections to all services; times in seconds. Use `start` in a running loop.

    A silent answer is given up within a tenth (at most one second) after `read_timeout`. Services of this machine are
    asked through their Unix sockets in `socket_dir`, where there is one.
    """

    def __init__(self, *, connect_timeout: float, read_timeout: float, socket_dir: Path | None = None) -> None:
        self._connect_timeout = connect_timeout
        self._socket_dir = socket_dir
        self._read_timeout = read_timeout
        self._sweep_seconds = min(read_timeout / _SWEEPS_PER_TIMEOUT, _MAX_SWEEP_SECONDS)
        self._services: dict[Upstream, Connections] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sweep()

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for connections in self._services.values():
            for connection in list(connections.open):
                connection.abort()
        # The transports say goodbye in the next turn of the loop.
        await asyncio.sleep(0)

    async def request(
        self,
        upstream: Upstream,
        method: str,
        target: bytes,
        headers: Headers,
        body: bytes | None,
        *,
        kept: bool = True,
        close: bool = False,
    ) -> Answer:
        """The service's answer, complete if it is small; `target` and `headers` are sent as they are.

        `kept` allows a kept connection, `close` says that this one shall not be kept. The caller must read the
        answer to its end or close it. Raises ConnectFailedError, NotSentError, BrokenOffError or TimedOutError.
        """
        if self._sweeper is None:
            raise RuntimeError("The client is not started.")
        connections = self._services.get(upstream)
        if connections is None:
            connections = self._services[upstream] = Connections()
        connection = connections.take(self._loop.time()) if kept else None
        if connection is None:
            connection = await self._connect(upstream, connections)
            if connection.has_news():
                connection.abort()
                raise NotSentError("the service closed the new connection, or spoke before it was asked")
        waiter = connection.ask(
            encode_request(upstream, method, target, headers, body, close=close),
            head_only=method == "HEAD",
            keep=not close,
        )
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                connection.abort()
            elif waiter.exception() is None:
                # It came at the same moment; the connection may be somebody else's by now.
                waiter.result().close()
            raise

    async def _connect(self, upstream: Upstream, connections: Connections) -> Connection:
        """A new connection, to the first address of the service that takes one."""
        loop = self._loop
        connection: Connection

        def make() -> Connection:
            return Connection(connections, self._read_timeout)

        error: BaseException = TimeoutError(f"no connection within {self._connect_timeout:g} s")
        try:
            async with asyncio.timeout(self._connect_timeout) as limit:
                if self._socket_dir is not None and upstream.is_local:
                    path = local_socket(self._socket_dir, upstream.port)
                    # Without one, or with one that was left over, the port decides.
                    with suppress(OSError):
                        _, connection = await loop.create_unix_connection(make, str(path))
                        return connection
                addresses = await loop.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM)
                for number, (family, _, _, _, address) in enumerate(addresses):
                    # One address that swallows everything must not cost the others their turn.
                    share = ((limit.when() or 0) - loop.time()) / (len(addresses) - number)
                    try:
                        async with asyncio.timeout(share):
                            _, connection = await loop.create_connection(
                                make,
                                str(address[0]),
                                int(address[1]),
                                family=family,
                            )
                            return connection
                    except OSError as failure:
                        error = failure if str(failure) else error
        except OSError as failure:
            error = failure if str(failure) else error
        raise ConnectFailedError(f"{upstream.address}: {describe(error)}") from error

    def _sweep(self) -> None:
        """Give up what is overdue. One timer for all: one for each request would cost more than the request."""
        now = self._loop.time()
        for connections in self._services.values():
            for connection in [one for one in connections.open if one.deadline <= now]:
                connection.overdue()
        self._sweeper = self._loop.call_later(self._sweep_seconds, self._sweep)


def encode_request(
    upstream: Upstream, method: str, target: bytes, headers: Headers, body: bytes | None, *, close: bool = False
) -> bytes:
    """A request as it stands on the wire, head and body in one piece: a system call costs more than a copy."""
    pieces = [method.encode("ascii"), b" ", target, b" HTTP/1.1\r\n"]
    has_host = False
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
        if name == b"host":
            has_host = True
    if not has_host:
        pieces += (b"host: ", upstream.address_bytes, b"\r\n")
    if close:
        pieces.append(b"connection: close\r\n")
    if body is not None:
        pieces += (b"content-length: %d\r\n\r\n" % len(body), body)
    else:
        pieces.append(b"\r\n" if method in _BODILESS_METHODS else b"content-length: 0\r\n\r\n")
    return b"".join(pieces)
