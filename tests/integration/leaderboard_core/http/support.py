"""An application that answers with what it was asked, under our server, and the bytes to talk with it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from leaderboard_core.http.cross_origin import CrossOrigin
from leaderboard_core.http.cycle import FLUSH_HEAD, send_whole, take_whole_body
from tests.support.serving import serving, talk
from tests.support.waiting import eventually

SOON = 5.0
START = {"type": "http.response.start", "status": 200}
Headers = list[tuple[bytes, bytes]]


class Echo:
    """Answers with the method, path and body; a path may ask for something special."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.under_way = self.most_under_way = 0
        self.seen: list[str] = []
        self.missed: list[str] = []
        self.after: dict[str, Any] = {}

    async def begun(self, *paths: str) -> None:
        """Wait until the requests of exactly these paths have begun."""

        async def seen() -> bool:
            return self.seen == [*paths]

        await eventually(seen, f"the beginning of {paths}")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            for kind in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{kind}.complete"})
            return
        self.seen.append(scope["path"])
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self._answer(scope, receive, send)
        finally:
            self.under_way -= 1

    async def _answer(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        if path == "/fail":
            raise RuntimeError("as an application with a bug does")
        if path == "/fail-late":
            await send({**START, "headers": []})
            raise RuntimeError("after the head, which is still held")
        if path == "/refuse":
            send_whole(send, 413, [(b"content-length", b"2")], b"no")
            self.after = await receive()
            return
        if path == "/unfinished":
            await send({**START, "headers": []})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
            return
        if path == "/events":
            await send({**START, "headers": []})
            await send(FLUSH_HEAD)
            await self.go.wait()
            await send({"type": "http.response.body", "body": b"event"})
            return
        if path == "/headers":
            while (await receive())["more_body"]:
                pass
            content = b" ".join(name for name, _ in scope["headers"])
            send_whole(send, 200, [(b"content-length", b"%d" % len(content))], content)
            return
        if path == "/listen":
            message = {"type": "http.request"}
            while message["type"] == "http.request":
                message = await receive()
            self.after = message
            return
        if path == "/stream":
            await send({**START, "headers": [(b"connection", b"close")]})
            await send(FLUSH_HEAD)
            message = {"type": "http.request"}
            while message["type"] == "http.request":
                message = await receive()
            await send({"type": "http.response.body", "body": b"late"})
            return
        if path == "/slow":
            await self.go.wait()
        body = take_whole_body(receive)
        if body is None:
            self.missed.append(path)
            body, more = b"", True
            while more:
                message = await receive()
                assert message["type"] == "http.request"
                body += message["body"]
                more = message["more_body"]
        content = b" ".join([scope["method"].encode(), path.encode(), body])
        headers: Headers = [(b"content-length", b"%d" % len(content))]
        if path == "/split":
            headers.append((b"x-name", b"a\r\nx-evil: 1"))
        if path == "/nul":
            headers.append((b"x-name", b"evil\0"))
        if path == "/more-than-said":
            headers = [(b"content-length", b"1")]
        if path == "/messages" or not send_whole(send, 200, headers, content):
            await send({**START, "headers": headers})
            await send({"type": "http.response.body", "body": content})


class Running:
    def __init__(self, echo: Echo, server: Any, port: int) -> None:
        self.echo, self.server, self.port = echo, server, port

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def talk(self, data: bytes) -> bytes:
        return await talk(self.port, data)


@asynccontextmanager
async def echo(cross_origin: CrossOrigin | None = None) -> AsyncIterator[Running]:
    app = Echo()
    async with serving(app, cross_origin=cross_origin) as (server, port):
        yield Running(app, server, port)


def request(path: str, body: bytes = b"", *, method: str = "POST", close: bool = False, extra: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: h\r\nContent-Length: {len(body)}\r\n{extra}"
    return (head + ("Connection: close\r\n" if close else "") + "\r\n").encode() + body


def bodies(answers: bytes) -> list[bytes]:
    """The bodies of a row of answers, each as long as its head says."""
    found = []
    while answers:
        head, _, rest = answers.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head)
        assert length, head
        found.append(rest[: int(length[1])])
        answers = rest[int(length[1]) :]
    return found
