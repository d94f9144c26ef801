"""What one address can send without an account: passwords, dear JSON, heads without end, pipelines, streams."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import socket
import struct
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

import httpx

_SECONDS_OF_ONE = 5.0
_CLIENT_PATIENCE = 0.5
_STREAMS_AT_ONCE = 40
_HEAD_BYTES = 53 * 1024 * 1024
_PIECE = 64 * 1024
_RESET: Final = struct.pack("ii", 1, 0)

_BODIES: Final = {
    "80,000 keys": b"{" + b",".join(b'"k%d":1' % number for number in range(80_000)) + b"}",
    "500,000 numbers": b'{"user_ids":[' + b",".join(itertools.repeat(b"1", 500_000)) + b"]}",
    "340,000 objects": b'{"scores":[' + b",".join(itertools.repeat(b"{}", 340_000)) + b"]}",
    "nested lists": b"[" * 500_000,
}


@dataclass
class Target:
    """Where the attacks go, and what came back: statuses, or how a connection ended, by attack."""

    url: str
    answers: dict[str, Counter[str]] = field(default_factory=dict)

    def count(self, attack: str, answer: object) -> None:
        self.answers.setdefault(attack, Counter())[str(answer)] += 1

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        parts = urlsplit(self.url)
        return await asyncio.open_connection(parts.hostname, parts.port)


async def passwords(target: Target) -> None:
    """15 registrations a second with a password, by callers who do not wait for the answer."""
    async with httpx.AsyncClient(base_url=target.url, timeout=_CLIENT_PATIENCE) as http, asyncio.TaskGroup() as group:
        for _ in range(int(15 * _SECONDS_OF_ONE)):
            group.create_task(_register(target, http))
            await asyncio.sleep(1 / 15)


async def _register(target: Target, http: httpx.AsyncClient) -> None:
    user_id = f"hostile-{secrets.token_hex(8)}"
    body = {"user_id": user_id, "name": "x", "region": "EU", "password": secrets.token_hex(16)}
    try:
        response = await http.post("/auth/register", json=body)
    except httpx.TransportError as error:
        target.count("passwords", type(error).__name__)
    else:
        target.count("passwords", response.status_code)


async def bodies(target: Target) -> None:
    """Bodies of up to 1 MiB that cost much to parse, without a token."""
    async with httpx.AsyncClient(base_url=target.url, timeout=_SECONDS_OF_ONE) as http:
        for path, body in itertools.product(("/ranks", "/scores", "/score", "/auth/login"), _BODIES.values()):
            try:
                response = await http.post(path, content=body, headers={"Content-Type": "application/json"})
            except httpx.TransportError as error:
                target.count("bodies", type(error).__name__)
            else:
                target.count("bodies", response.status_code)


async def heads(target: Target) -> None:
    """One header line of 53 MiB, 10,000 headers, a URL of 70 kB, and queries that nobody sends twice."""
    host = b"Host: " + urlsplit(target.url).netloc.encode() + b"\r\n"
    many = b"".join(b"x-%d: 1\r\n" % number for number in range(10_000))
    await _send_head(target, b"GET /top HTTP/1.1\r\n" + host + b"x-long: ", b"a" * _PIECE, _HEAD_BYTES // _PIECE)
    await _send_head(target, b"GET /top HTTP/1.1\r\n" + host + many + b"\r\n", b"", 0)
    await _send_head(target, b"GET /top?a=" + b"a" * 70_000 + b" HTTP/1.1\r\n" + host + b"\r\n", b"", 0)
    for _ in range(200):
        query = secrets.token_hex(15_000).encode()
        await _send_head(target, b"GET /top?a=" + query + b" HTTP/1.1\r\n" + host + b"\r\n", b"", 0)


async def _send_head(target: Target, begin: bytes, piece: bytes, pieces: int) -> None:
    reader, writer = await target.connect()
    try:
        writer.write(begin)
        for _ in range(pieces):
            writer.write(piece)
            await writer.drain()
        status = (await asyncio.wait_for(reader.readline(), _SECONDS_OF_ONE)).split(b" ")
        target.count("heads", status[1].decode() if len(status) > 1 else "closed")
    except OSError as error:
        target.count("heads", type(error).__name__)
    finally:
        writer.transport.abort()


async def pipelines(target: Target) -> None:
    """256 KiB of requests behind each of some streams, left open for a while."""
    await _streams(target, "pipelines", behind=256 * 1024, leave=asyncio.StreamWriter.close)


async def streams(target: Target) -> None:
    """Streams with one request behind, whose clients vanish."""

    def reset(writer: asyncio.StreamWriter) -> None:
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        writer.transport.abort()

    await _streams(target, "streams", behind=1, leave=reset)


async def _streams(target: Target, name: str, *, behind: int, leave: Callable[[asyncio.StreamWriter], None]) -> None:
    host = urlsplit(target.url).netloc.encode()
    stream = b"GET /stream/top HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    request = b"GET /top HTTP/1.1\r\nHost: " + host + b"\r\n\r\n"
    opened = []
    for _ in range(_STREAMS_AT_ONCE):
        reader, writer = await target.connect()
        opened.append(writer)
        writer.write(stream + request * (behind // len(request) + 1))
        with suppress(OSError, TimeoutError):
            status = (await asyncio.wait_for(reader.readline(), _SECONDS_OF_ONE)).split(b" ")
            target.count(name, status[1].decode() if len(status) > 1 else "closed")
    for writer in opened:
        leave(writer)


ATTACKS: Final[tuple[Callable[[Target], Awaitable[None]], ...]] = (passwords, bodies, heads, pipelines, streams)
