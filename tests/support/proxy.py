"""Proxy TCP connections; cut them, and hold back what a client sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Forward between a client and a server on loopback."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = parts.hostname, parts.port
        self._parts = parts
        self._server: asyncio.Server | None = None
        self._flows: asyncio.Event = asyncio.Event()
        self._answers: asyncio.Event = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0
        self.held_bytes = b""
        self.answers_seen = 0
        self._trap: tuple[bytes, ...] = ()
        self._trap_count = 0
        self._tells_server = True

    @property
    def url(self) -> str:
        """Return the target's URL with the proxy in place of the server."""
        credentials = self._parts.netloc.rpartition("@")[0]
        netloc = f"{credentials}@127.0.0.1:{self.port}" if credentials else f"127.0.0.1:{self.port}"
        return urlunsplit(self._parts._replace(netloc=netloc))

    def lead_to(self, url: str) -> None:
        """Let connections from now on go to another server."""
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._target = parts.hostname, parts.port

    async def open(self) -> None:
        """Accept connections (again)."""
        self._tells_server = True
        self._flows.set()
        self._answers.set()
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Break every connection and refuse new ones."""
        assert self._server is not None
        self._server.close()
        self._flows.set()
        self._answers.set()
        for writer in list(self._writers):
            writer.transport.abort()
        while self._tasks:
            await asyncio.wait(list(self._tasks), timeout=5)

    def hold(self) -> None:
        """Hold back what clients send from now on; `held_bytes` collects it."""
        self.held_bytes = b""
        self._flows.clear()

    def hold_when(self, *marks: bytes, count: int = 1) -> None:
        """Hold back what clients send from the `count`-th message on that has all of `marks`."""
        self.held_bytes, self._trap, self._trap_count = b"", marks, count

    def release(self) -> None:
        """Forward what was held back, also of clients that have disconnected."""
        self._trap = ()
        self._flows.set()

    def hold_answers(self) -> None:
        """Hold back answers of the server from now on."""
        self._answers.clear()

    def release_answers(self) -> None:
        self._answers.set()

    async def drop_clients(self) -> None:
        """Break the clients' connections only: the server does not notice."""
        self._tells_server = False
        for writer in [writer for writer in self._writers if writer.get_extra_info("sockname")[1] == self.port]:
            writer.transport.abort()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, server_writer}
        for source, sink, gate, keep in (
            (reader, server_writer, self._flows, True),
            (server_reader, writer, self._answers, False),
        ):
            task = asyncio.create_task(self._pump(source, sink, gate, keep))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pump(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event, keep: bool
    ) -> None:
        with suppress(OSError):
            while data := await source.read(65_536):
                if not keep:
                    self.answers_seen += 1
                elif self._trap and all(mark in data for mark in self._trap):
                    self._trap_count -= 1
                    if self._trap_count == 0:
                        gate.clear()
                if not gate.is_set():
                    if keep:
                        self.held_bytes += data
                    await gate.wait()
                sink.write(data)
                await sink.drain()
        if keep and not self._tells_server:
            return
        with suppress(OSError):
            sink.write_eof()


@asynccontextmanager
async def proxy(url: str) -> AsyncIterator[Proxy]:
    """Run an open proxy to the server of a URL."""
    made = Proxy(url)
    await made.open()
    try:
        yield made
    finally:
        await made.cut()
