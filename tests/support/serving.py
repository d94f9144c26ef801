"""Serve an ASGI application by our HTTP server, in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from leaderboard_core.http.cross_origin import CrossOrigin
from leaderboard_core.http.server import DrainingServer, create_server
from leaderboard_core.http.sockets import listen
from tests.support.waiting import eventually

_SOON = 5.0


async def talk(port: int, data: bytes) -> bytes:
    """Send bytes to a server on loopback; return all it sends until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    try:
        return await asyncio.wait_for(reader.read(), _SOON)
    finally:
        writer.close()


@asynccontextmanager
async def serving(
    app: Any,
    *,
    on_stop: Callable[[], None] = lambda: None,
    local: socket.socket | None = None,
    cross_origin: CrossOrigin | None = None,
) -> AsyncIterator[tuple[DrainingServer, int]]:
    """Run the server; yield it with its port, and stop it gracefully at the end."""
    listener = listen("127.0.0.1", 0)
    server = create_server(app, on_stop=on_stop, local=local, cross_origin=cross_origin, loop="asyncio")
    running = asyncio.create_task(server.serve(sockets=[listener]))

    async def started() -> bool:
        return server.started or running.done()

    await eventually(started, "the start of the server")
    try:
        yield server, listener.getsockname()[1]
    finally:
        server.should_exit = True
        await running
