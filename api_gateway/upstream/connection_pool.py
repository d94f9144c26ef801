"""The keep-alive connections to one service: pooled while idle, opened on demand, closed at their deadlines."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from api_gateway.upstream.connection import Connection
from api_gateway.upstream.errors import ConnectFailedError, describe
from api_gateway.upstream.pool import Upstream
from leaderboard_core.http.sockets import local_socket


class ConnectionStats(NamedTuple):
    """How many connections there are to one service."""

    open: int
    idle: int


class ConnectionPool:
    """The `open` connections to one service; the `idle` ones wait for a request, the latest last."""

    __slots__ = ("_connect_timeout", "_read_timeout", "_socket_dir", "_upstream", "idle", "open")

    def __init__(
        self, upstream: Upstream, *, connect_timeout: float, read_timeout: float, socket_dir: Path | None = None
    ) -> None:
        self.open: set[Connection] = set()
        self.idle: dict[Connection, None] = {}
        self._upstream = upstream
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._socket_dir = socket_dir

    def stats(self) -> ConnectionStats:
        return ConnectionStats(len(self.open), len(self.idle))

    def acquire(self, now: float) -> Connection | None:
        """Take an idle connection that is fit for a request, the most recently used first: the others may expire."""
        while self.idle:
            connection, _ = self.idle.popitem()
            if now < connection.deadline and not connection.has_pending_input():
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """Open a connection to the first address of the service that accepts one. Raises ConnectFailedError."""
        loop, upstream = asyncio.get_running_loop(), self._upstream
        connection: Connection

        def make() -> Connection:
            return Connection(self, self._read_timeout)

        error: BaseException = TimeoutError(f"no connection within {self._connect_timeout:g} s")
        try:
            async with asyncio.timeout(self._connect_timeout) as limit:
                if self._socket_dir is not None and upstream.is_local:
                    path = local_socket(self._socket_dir, upstream.port)
                    # Without a Unix socket, or with a stale one, the port decides.
                    with suppress(OSError):
                        _, connection = await loop.create_unix_connection(make, str(path))
                        return connection
                addresses = await loop.getaddrinfo(upstream.host, upstream.port, type=socket.SOCK_STREAM)
                for number, (family, _, _, _, address) in enumerate(addresses):
                    # One address that drops every packet must not use up the time of the others.
                    share = ((limit.when() or 0) - loop.time()) / (len(addresses) - number)
                    try:
                        async with asyncio.timeout(share):
                            _, connection = await loop.create_connection(
                                make, str(address[0]), int(address[1]), family=family
                            )
                            return connection
                    except OSError as failure:
                        error = failure if str(failure) else error
        except OSError as failure:
            error = failure if str(failure) else error
        raise ConnectFailedError(f"{upstream.address}: {describe(error)}") from error

    def overdue(self, now: float) -> list[Connection]:
        """List the connections whose deadline has passed."""
        return [each for each in self.open if each.deadline <= now]

    def close(self) -> None:
        """Abort every connection, also those in use."""
        for connection in list(self.open):
            connection.abort()
