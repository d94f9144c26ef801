"""The HTTP server under every process: uvicorn with our envelope for what is not HTTP, and an orderly stop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import uvicorn

from leaderboard_core.http.cross_origin import CrossOrigin
from leaderboard_core.http.protocol import EnvelopeProtocol
from leaderboard_core.http.sockets import BACKLOG

# Together with the notice and what comes after them, these stay under the 10 s that a stop may take.
GRACE_SECONDS = 5
DRAIN_SECONDS = 1.5
DRAIN_TICK_SECONDS = 0.05
# Longer than NGINX (60 s) and the gateways (30 s) keep theirs, so that the side that sends requests closes.
KEEP_ALIVE_SECONDS = 75
_TICKS_PER_SWEEP = 10
_EVENTS_BUFFERED = 16_384
_EVENTS_IN_SOCKET = 65_536


def limit_write_buffer(transport: asyncio.Transport) -> None:
    """Let a connection that carries events hold few of them: what waits is out of date, and costs memory."""
    transport.set_write_buffer_limits(high=_EVENTS_BUFFERED)
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _EVENTS_IN_SOCKET)


class DrainingServer(uvicorn.Server):
    """Stops without breaking a request that is on its way.

    A connection closed while idle may be closed just as a request is written to it, and whoever wrote a POST
    cannot tell whether it was done. So `on_stop` says first that the process is ending; for `notice_seconds`
    everything is still served, while health checks spread the word; then new connections are refused and the
    open ones end with their next answer; only those that stay idle for DRAIN_SECONDS are closed.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        on_stop: Callable[[], None],
        *,
        notice_seconds: float,
        head_seconds: float,
        local: socket.socket | None,
    ) -> None:
        super().__init__(config)
        self._on_stop = on_stop
        self._notice_seconds = notice_seconds
        self.head_seconds = head_seconds
        """The time in which the head of a request must have come, from its first byte."""
        self._local = local

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self._local is not None and self.started:
            loop = asyncio.get_running_loop()
            self.servers.append(await loop.create_unix_server(self._protocol, sock=self._local, backlog=BACKLOG))

    def _protocol(self) -> Any:
        make: Any = self.config.http_protocol_class
        return make(self.config, self.server_state, self.lifespan.state, asyncio.get_running_loop())

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_PER_SWEEP == 0:
            self._close_late(self.server_state.connections)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        connections = self.server_state.connections
        await self._drain(connections, self._notice_seconds, even_idle=True)
        self.unlink_socket()
        for server in self.servers:
            server.close()
        await self._drain(connections, DRAIN_SECONDS, even_idle=False)
        await super().shutdown(sockets)

    def unlink_socket(self) -> None:
        """Give up the Unix socket's name, while the port is still ours: later it may be that of a successor's."""
        if self._local is not None:
            Path(self._local.getsockname()).unlink(missing_ok=True)

    def _close_late(self, connections: Iterable[Any]) -> None:
        """One look at all connections now and then: a timer for each answer would cost more than its parsing."""
        now = asyncio.get_running_loop().time()
        for connection in list(connections):
            connection.close_if_late(now, self.config.timeout_keep_alive, self.head_seconds)

    @staticmethod
    async def _drain(connections: set[Any], seconds: float, *, even_idle: bool) -> None:
        deadline = asyncio.get_running_loop().time() + seconds
        while (even_idle or connections) and asyncio.get_running_loop().time() < deadline:
            for connection in list(connections):
                if isinstance(connection, EnvelopeProtocol):
                    connection.close_after_response()
            await asyncio.sleep(DRAIN_TICK_SECONDS)


def create_server(
    app: Any,
    *,
    on_stop: Callable[[], None] = lambda: None,
    notice_seconds: float = 0,
    head_seconds: float = 15,
    local: socket.socket | None = None,
    cross_origin: CrossOrigin | None = None,
    loop: Literal["uvloop", "asyncio"] = "uvloop",
) -> DrainingServer:
    """A server for one ASGI application; run it with the listening sockets. `local` is a Unix socket's.

    `cross_origin` is for what the server refuses by itself; the application shares its own answers.
    """
    protocol: Any = partial(EnvelopeProtocol, cross_origin=cross_origin)  # Config asks for a class, and calls it
    config = uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        loop=loop,
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=BACKLOG,
    )
    return DrainingServer(config, on_stop, notice_seconds=notice_seconds, head_seconds=head_seconds, local=local)
