"""The HTTP server under the gateway: uvicorn with our envelope for what is not HTTP, and an orderly stop."""

from __future__ import annotations

import asyncio
import secrets
import signal
import socket
from typing import Any, cast

import orjson
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api_gateway.app import Gateway
from leaderboard_core.settings import SettingsError

# Together with what comes before and after it, this stays under the 10 s a stop may take.
GRACE_SECONDS = 6
DRAIN_SECONDS = 1.5
_DRAIN_TICKS = 30
# Longer than NGINX keeps its connections to us (60 s), so that NGINX is the side that closes.
KEEPALIVE_SECONDS = 75
_NOT_WORTH_COPYING = 65_536


class OneWriteTransport:
    """Gathers what is written in one turn of the event loop, so that an answer's head and body are one send.

    The server writes them one after the other; a system call each costs more than everything else about them.
    """

    __slots__ = ("_loop", "_pieces", "_transport")

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        if len(data) >= _NOT_WORTH_COPYING:
            self._flush()
            self._transport.write(data)
            return
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def abort(self) -> None:
        self._pieces = []
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _flush(self) -> None:
        pieces = self._pieces
        if pieces:
            self._pieces = []
            if not self._transport.is_closing():
                self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))


class GatewayProtocol(HttpToolsProtocol):
    """Answers what cannot be parsed in the envelope, as everything else is, and sends each answer at once."""

    retiring = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, OneWriteTransport(transport, self.loop)))

    def retire(self) -> None:
        """Let this connection end with its next answer."""
        self.retiring = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if self.retiring:
            self.cycle.keep_alive = False

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


class GatewayServer(uvicorn.Server):
    """Stops without breaking a request that is on its way.

    A connection closed while idle may be closed just as a request is written to it, and whoever wrote a POST
    cannot tell whether it was done. So new connections are refused first, and the open ones end with their next
    answer; only those that stay idle for DRAIN_SECONDS are closed.
    """

    def __init__(self, config: uvicorn.Config, gateway: Gateway) -> None:
        super().__init__(config)
        self._gateway = gateway

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._gateway.stop()
        for server in self.servers:
            server.close()
        connections = self.server_state.connections
        for connection in list(connections):
            if isinstance(connection, GatewayProtocol):
                connection.retire()
        for _ in range(_DRAIN_TICKS):
            if not connections:
                break
            await asyncio.sleep(DRAIN_SECONDS / _DRAIN_TICKS)
        await super().shutdown(sockets)


def create_server(gateway: Gateway, *, loop: str = "uvloop") -> GatewayServer:
    """A server for one gateway; run it with the listening sockets."""
    config = uvicorn.Config(
        gateway,
        http=GatewayProtocol,
        ws="none",
        loop=loop,
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEPALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        backlog=2048,
    )
    return GatewayServer(config, gateway)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises SettingsError when the port cannot be had."""
    try:
        return _listen(host, port)
    except OSError as error:
        raise SettingsError(
            f"HOST/PORT: cannot listen on {host}:{port}: {error.strerror}. "
            "Another process may have the port; stop it or set PORT to a free one."
        ) from error


async def run_until_signal(server: GatewayServer, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests in hand. Raises SettingsError on a bad start."""
    # The server raises the signal again when it is done, to die of it; the handler it finds then is this one.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    await server.serve(sockets=[listener])
    if not server.started:
        raise SettingsError("The gateway could not start; the log lines above say why.")


def _listen(host: str, port: int) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(2048)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener
