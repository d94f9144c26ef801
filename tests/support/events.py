"""A client of Server-Sent Events on a raw socket, and the board that a client builds from them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

SOON = 5.0


@dataclass(frozen=True)
class Event:
    """One event; `data` is its JSON."""

    name: str
    data: dict[str, Any]
    id: str


class EndedError(Exception):
    """The stream has ended; `clean` when its last chunk was received."""

    def __init__(self, *, clean: bool) -> None:
        self.clean = clean
        super().__init__(f"the stream ended, clean={clean}")


@dataclass
class Listener:
    """One open stream; `comments` and `retry` were sent besides the events."""

    status: int
    headers: dict[str, str]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    comments: list[str] = field(default_factory=list)
    retry: int | None = None
    last_id: str = ""
    bytes_read: int = 0
    _buffer: bytes = b""
    _block: list[str] = field(default_factory=list)

    async def next(self, seconds: float = SOON) -> Event:
        """Wait for the next event. Raises EndedError at the end, TimeoutError when none comes."""
        async with asyncio.timeout(seconds):
            while True:
                while b"\n" not in self._buffer:
                    self._buffer += await self._read_chunk()
                line, _, self._buffer = self._buffer.partition(b"\n")
                if (event := self._take(line.decode())) is not None:
                    return event

    async def silent(self, seconds: float) -> None:
        """Fail if an event comes within that time; its absence cannot be waited for otherwise."""
        try:
            event = await self.next(seconds)
        except TimeoutError:
            return
        raise AssertionError(f"nothing should have come, and this did: {event}")

    async def ended(self, seconds: float = SOON) -> bool:
        """Skip events until the end, and return whether it was a clean one."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.next(seconds)
        except EndedError as end:
            return end.clean

    async def body(self) -> dict[str, Any]:
        """Read the JSON of an answer that is no stream."""
        length = int(self.headers["content-length"])
        found: dict[str, Any] = json.loads(await self.reader.readexactly(length))
        return found

    async def close(self) -> None:
        self.writer.transport.abort()
        # The transport calls connection_lost in the next iteration of the loop.
        await asyncio.sleep(0)

    async def _read_chunk(self) -> bytes:
        try:
            size = int(await self.reader.readline() or b"-1", 16)
            if size <= 0:
                raise EndedError(clean=size == 0)
            chunk = await self.reader.readexactly(size + 2)
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            raise EndedError(clean=False) from error
        self.bytes_read += size
        return chunk[:-2]

    def _take(self, line: str) -> Event | None:
        """Take one line; an empty one ends an event, and must end nothing else."""
        key, _, value = line.partition(": ")
        if line and key == "":
            self.comments.append(value)
        elif key == "retry":
            self.retry = int(value)
        elif line:
            self._block.append(line)
        else:
            fields = dict(one.split(": ", 1) for one in self._block)
            self._block.clear()
            assert fields.keys() - {"id"} == {"event", "data"}, f"a client does not know {fields}"
            self.last_id = fields.get("id", self.last_id)
            return Event(fields["event"], json.loads(fields["data"]), fields.get("id", ""))
        return None


async def connect(url: str, path: str, method: str = "GET", /, **headers: str) -> Listener:
    """Request a path and read the head of the answer; `_` in a header's name stands for `-`."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    lines = [f"{method} {path} HTTP/1.1", f"Host: {parts.netloc}", "Accept: text/event-stream"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *rest = head.rstrip("\r\n").split("\r\n")
    found = {name.lower(): value for name, _, value in (line.partition(": ") for line in rest)}
    return Listener(int(first.split(" ")[1]), found, reader, writer)


@asynccontextmanager
async def listening(url: str, path: str, **headers: str) -> AsyncIterator[Listener]:
    """Open a stream, and close it at the end."""
    listener = await connect(url, path, **headers)
    try:
        assert listener.status == 200, await listener.body()
        yield listener
    finally:
        await listener.close()


@asynccontextmanager
async def many(url: str, paths: Iterable[str]) -> AsyncIterator[list[Listener]]:
    """Open streams (or get refusals), a hundred at a time, and close them at the end."""
    made: list[Listener] = []
    semaphore = asyncio.Semaphore(100)

    async def one(path: str) -> Listener:
        async with semaphore:
            listener = await connect(url, path)
            made.append(listener)
            return listener

    try:
        yield await asyncio.gather(*map(one, paths))
    finally:
        for listener in made:
            listener.writer.transport.abort()
        await asyncio.sleep(0)


def apply(rows: list[dict[str, Any]], change: dict[str, Any]) -> list[dict[str, Any]]:
    """Apply a `change` to rows: drop the removed, replace by user_id, sort by position."""
    kept = {row["user_id"]: row for row in rows if row["user_id"] not in change["removed"]}
    kept |= {row["user_id"]: row for row in change["rows"]}
    return sorted(kept.values(), key=lambda row: int(row["position"]))
