"""The HTTP client towards the services: pooled connections, and failures sorted by what may be repeated."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Final

from api_gateway.upstream.answer import Answer
from api_gateway.upstream.connection_pool import ConnectionPool, ConnectionStats
from api_gateway.upstream.errors import NotSentError
from api_gateway.upstream.pool import Upstream
from leaderboard_core.http.messages import Headers

logger = logging.getLogger(__name__)

_SWEEPS_PER_TIMEOUT: Final = 10
_MAX_SWEEP_SECONDS: Final = 1.0
# Requests with these methods announce no length if they have no body.
_BODILESS_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


class UpstreamClient:
    """Keep-alive connections to all services; times in seconds. Call `start` in a running loop.

    An answer times out within a tenth (at most one second) after `read_timeout` without data. Services of this machine
    are reached through their Unix sockets in `socket_dir`, where there is one. If a sweep for what is past its deadline
    fails by an error of ours, that is logged, `on_failure` called, and the sweep goes on.
    """

    def __init__(
        self,
        *,
        connect_timeout: float,
        read_timeout: float,
        socket_dir: Path | None = None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._connect_timeout = connect_timeout
        self._read_timeout = read_timeout
        self._socket_dir = socket_dir
        self._on_failure = on_failure
        self._sweep_seconds = min(read_timeout / _SWEEPS_PER_TIMEOUT, _MAX_SWEEP_SECONDS)
        self._pools: dict[Upstream, ConnectionPool] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sweep()

    async def close(self) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for pool in self._pools.values():
            pool.close()
        # The transports close their sockets in the next iteration of the loop.
        await asyncio.sleep(0)

    def stats(self) -> dict[Upstream, ConnectionStats]:
        """Count the connections to each service that was asked so far."""
        return {upstream: pool.stats() for upstream, pool in self._pools.items()}

    async def request(
        self,
        upstream: Upstream,
        method: str,
        target: bytes,
        headers: Headers,
        body: bytes | None,
        *,
        reuse: bool = True,
    ) -> Answer:
        """Return the service's answer, complete if it is small; `target` and `headers` are sent as they are.

        `reuse` allows a pooled connection instead of a new one. The caller must read the answer to its end or close
        it. Raises ConnectFailedError, NotSentError, BrokenOffError or TimedOutError.
        """
        if self._sweeper is None:
            raise RuntimeError("The client is not started.")
        pool = self._pools.get(upstream)
        if pool is None:
            pool = self._pools[upstream] = ConnectionPool(
                upstream,
                connect_timeout=self._connect_timeout,
                read_timeout=self._read_timeout,
                socket_dir=self._socket_dir,
            )
        connection = pool.acquire(self._loop.time()) if reuse else None
        if connection is None:
            connection = await pool.connect()
            if connection.has_pending_input():
                connection.abort()
                raise NotSentError("the service closed the new connection, or sent data before the request")
        waiter = connection.ask(
            encode_request(upstream, method, target, headers, body),
            head_only=method == "HEAD",
        )
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                connection.abort()
            elif waiter.exception() is None:
                # The answer arrived at the same moment; the connection may already serve another request.
                waiter.result().close()
            raise

    def _sweep(self) -> None:
        """Time out what is past its deadline. One timer for all: one per request would cost more than the request."""
        self._sweeper = self._loop.call_later(self._sweep_seconds, self._sweep)
        now = self._loop.time()
        for pool in self._pools.values():
            for connection in pool.overdue(now):
                try:
                    connection.on_timeout()
                except Exception:
                    # One that cannot be timed out must not keep the others from it.
                    logger.exception("a connection could not be timed out")
                    self._on_failure()


def encode_request(upstream: Upstream, method: str, target: bytes, headers: Headers, body: bytes | None) -> bytes:
    """Encode head and body as one piece: a second system call would cost more than the copy."""
    pieces = [method.encode("ascii"), b" ", target, b" HTTP/1.1\r\n"]
    has_host = False
    for name, value in headers:
        pieces += (name, b": ", value, b"\r\n")
        if name == b"host":
            has_host = True
    if not has_host:
        pieces += (b"host: ", upstream.address_bytes, b"\r\n")
    if body is not None:
        pieces += (b"content-length: %d\r\n\r\n" % len(body), body)
    else:
        pieces.append(b"\r\n" if method in _BODILESS_METHODS else b"content-length: 0\r\n\r\n")
    return b"".join(pieces)
