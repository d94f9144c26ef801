"""A gateway in this process, and services that answer, break off or stay silent as a test tells them to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from api_gateway.app import create_app
from api_gateway.services import Services, Settings
from leaderboard_core.calls import CallTable
from leaderboard_core.http.application import Application
from leaderboard_core.http.server import DrainingServer
from leaderboard_core.settings import AuthSettings, GatewaySettings, ProcessSettings, StreamSettings, load
from leaderboard_core.tokens import Tokens
from tests.support.serving import serving, talk
from tests.support.waiting import eventually

SECRET = "3f9a1c7be05d48260c1e7ab94fd2863570"  # known to tests only
AUTH = load(AuthSettings, {"JWT_SECRET": SECRET})
SOON = 5.0


def bearer(**kwargs: object) -> dict[str, str]:
    """The Authorization header of a player's token."""
    token = Tokens(AUTH).issue("alice", "Alice", "ASIA", **kwargs)  # type: ignore[arg-type]
    return {"Authorization": f"Bearer {token}"}


@dataclass
class Request:
    """A request as it stood on the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    reader: asyncio.StreamReader = field(compare=False)

    async def gone(self) -> None:
        """Wait until the gateway has closed the connection."""
        with contextlib.suppress(ConnectionError):
            assert await self.reader.read() == b""

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) < 2, f"{name} was sent more than once"
        return values[0] if values else None


Behaviour = Callable[[Request, asyncio.StreamWriter], Awaitable[bool | None]]
"""Answers one request; True closes the connection."""


def answer(status: int = 200, body: bytes = b"{}", *headers: str, length: bool = True) -> bytes:
    lines = [f"HTTP/1.1 {status} X", *headers]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def says(status: int = 200, body: bytes = b"{}", *headers: str, length: bool = True) -> Behaviour:
    async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
        whole = answer(status, body, *headers, length=length)
        writer.write(whole.removesuffix(body) if request.method == "HEAD" else whole)
        await writer.drain()

    return behave


async def hang_up(request: Request, writer: asyncio.StreamWriter) -> bool:
    """Close the connection over a request that was read, answering nothing."""
    return True


@dataclass
class Service:
    """A small HTTP/1.1 server on raw streams; `requests` are those other than GET /health."""

    behave: Behaviour = field(default_factory=says)
    health: tuple[int, bytes] = (200, b'{"ok":true}')
    port: int = 0
    requests: list[Request] = field(default_factory=list)
    checks: int = 0
    connections: int = 0
    _server: asyncio.Server | None = None
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def open_connections(self) -> int:
        return len(self._writers)

    async def start(self) -> Service:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def kill(self) -> None:
        """Stop listening and reset every connection, as a killed process does."""
        assert self._server is not None
        self._server.close()

        def reset() -> bool:
            # Each time: one that was accepted just before is known a moment later only.
            for writer in list(self._writers):
                writer.transport.abort()
            return not self.open_connections

        await eventually(reset, "the end of all connections")

    async def close_connections(self) -> None:
        """Close every connection in order, and keep listening."""
        for writer in list(self._writers):
            writer.close()
        await eventually(lambda: not self.open_connections, "the end of all connections")

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                request = await _read_request(reader)
                if request.target == "/health":
                    self.checks += 1
                    writer.write(answer(*self.health))
                    continue
                self.requests.append(request)
                if await self.behave(request, writer):
                    return
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    request = Request(method, target, headers, b"", reader)
    assert request.get("transfer-encoding") is None, "the gateway sends whole bodies"
    request.body = await reader.readexactly(int(request.get("content-length") or 0))
    return request


@contextlib.asynccontextmanager
async def services(count: int) -> AsyncIterator[list[Service]]:
    started = [await Service().start() for _ in range(count)]
    try:
        yield started
    finally:
        for service in started:
            await service.kill()


Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[object]]


@contextlib.asynccontextmanager
async def raw_server(handle: Handler, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """The URL of a server that does with each connection what `handle` does, and then closes it."""
    open_ = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_
        open_ += 1
        with contextlib.suppress(ConnectionError):
            await handle(reader, writer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()
        open_ -= 1

    server = await asyncio.start_server(serve, host, 0, limit=1024)
    yield f"http://{f'[{host}]' if ':' in host else host}:{server.sockets[0].getsockname()[1]}"
    server.close()
    await eventually(lambda: open_ == 0, "the end of all connections")


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """A port of ours where nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """A port of ours that accepts no further connection: its queue is full."""
    with socket.socket() as listener, contextlib.ExitStack() as fillers:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = fillers.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


@dataclass
class Running:
    """A gateway that serves; `log` collects its access lines."""

    app: Application
    server: DrainingServer
    client: httpx.AsyncClient
    port: int
    log: list[bytes]

    def __getattr__(self, name: str) -> Callable[..., Awaitable[httpx.Response]]:
        return getattr(self.client, name)  # type: ignore[no-any-return]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def raw(self, data: bytes) -> bytes:
        """Everything the gateway says to these bytes until it closes."""
        return await talk(self.port, data)

    @property
    def parts(self) -> Services:
        return self.app.state.services  # type: ignore[no-any-return]

    def metric(self, name: str, **labels: str) -> float:
        return self.parts.metrics.registry.get_sample_value(name, labels) or 0.0


def settings(
    urls: list[str],
    *,
    max_body_bytes: int = 65_536,
    client_timeout_seconds: float = 15,
    heartbeat_seconds: float = 15,
    socket_dir: Path | None = None,
    process: dict[str, str] | None = None,
    **values: object,
) -> Settings:
    defaults: dict[str, object] = {"health_check_interval_seconds": 60, "upstream_timeout_seconds": 4 * SOON}
    return Settings(
        load(
            ProcessSettings,
            process or {},
            port=4000,
            max_body_bytes=max_body_bytes,
            client_timeout_seconds=client_timeout_seconds,
            socket_dir=socket_dir,
        ),
        AUTH,
        GatewaySettings(leaderboard_service_urls=tuple(urls), **{**defaults, **values}),  # type: ignore[arg-type]
        load(StreamSettings, {}, stream_heartbeat_seconds=heartbeat_seconds),
    )


@contextlib.asynccontextmanager
async def gateway(
    *upstreams: Service | str, calls: CallTable | None = None, **values: object
) -> AsyncIterator[Running]:
    """A gateway on a free port; `values` are its settings. Health checks run once a minute unless told otherwise."""
    urls = [upstream if isinstance(upstream, str) else upstream.url for upstream in upstreams]
    app = create_app(settings(urls, **values), calls=calls)  # type: ignore[arg-type]
    log: list[bytes] = []
    app.access_log.sink = log.append
    async with (
        serving(app, on_stop=app.announce_stop) as (server, port),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=SOON) as client,
    ):
        yield Running(app, server, client, port, log)
