"""What one connection may cost: heads without end, slow ones, and requests that wait behind others."""

from __future__ import annotations

import asyncio

import pytest

from leaderboard_core.http.heads import MAX_HEAD_BYTES, MAX_HEADERS
from tests.integration.leaderboard_core.http.support import SOON, bodies, echo, request

CHUNKED = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"


def head(*lines: str, path: str = "/a") -> bytes:
    return "\r\n".join((f"GET {path} HTTP/1.1", "Host: h", *lines, "", "")).encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (head(*(f"X-{number}: 1" for number in range(MAX_HEADERS))), 431),
        (head("X: " + "x" * MAX_HEAD_BYTES), 431),
        (head(*(f"X-{number}: " + "x" * 1000 for number in range(70))), 431),
        (head(path="/" + "x" * MAX_HEAD_BYTES), 414),
        (head(path="/?" + "x" * 5 * MAX_HEAD_BYTES), 414),
        (b"GET /a HTTP/1.1\r\nHost: h\r\nX: " + b"x" * 5 * MAX_HEAD_BYTES, 431),
        (b"GET /" + b"x" * 5 * MAX_HEAD_BYTES, 414),
        (b"\r\n" * 2 * MAX_HEAD_BYTES, 431),
    ],
    ids=["headers", "long header", "all headers", "url", "query", "header without end", "url without end", "nothing"],
)
@pytest.mark.parametrize("behind", [b"", request("/b")], ids=["first", "second"])
async def test_a_head_that_is_too_large_is_refused(sent: bytes, status: int, behind: bytes) -> None:
    async with echo() as server:
        said = await server.talk(behind + sent)
        assert said[said.rindex(b"HTTP/1.1") :].startswith(b"HTTP/1.1 %d " % status)
        assert said.count(b"HTTP/1.1 ") == 1 + bool(behind)
        assert b'{"error":"' in said
        assert server.echo.seen == ["/b"] * bool(behind)


async def test_a_head_as_large_as_it_may_be_is_served() -> None:
    lines = [f"X-{number}: 1" for number in range(MAX_HEADERS - 3)]
    async with echo() as server:
        large = head(*lines, "Y: " + "x" * (MAX_HEAD_BYTES - 2000), "Connection: close")
        assert bodies(await server.talk(large)) == [b"GET /a "]
        many = b"".join(request(f"/{number}") for number in range(2000)) + request("/end", close=True)
        assert len(bodies(await server.talk(many))) == 2001, "what is counted is one message's"


@pytest.mark.parametrize(
    "sent",
    [
        CHUNKED + b"1;" + b"x" * 5 * MAX_HEAD_BYTES,
        CHUNKED + (b"1;" + b"x" * 1000 + b"\r\na\r\n") * 300,
        CHUNKED + b"1\r\na\r\n0\r\n" + b"X: y\r\n" * 50_000,
    ],
    ids=["chunk extension", "chunk extensions", "trailers"],
)
async def test_what_frames_a_body_counts_too(sent: bytes) -> None:
    async with echo() as server:
        said = await server.talk(sent)
        assert said.startswith(b"HTTP/1.1 431 ")


async def test_an_honest_body_in_small_chunks_is_served() -> None:
    sent = CHUNKED.replace(b"Host", b"Connection: close\r\nHost") + b"1\r\na\r\n" * 100_000 + b"0\r\n\r\n"
    async with echo() as server:
        assert bodies(await server.talk(sent)) == [b"POST /a " + b"a" * 100_000]


async def test_a_head_that_comes_byte_by_byte_has_an_end() -> None:
    async with echo() as server:
        server.server.head_seconds = 0.5
        loop = asyncio.get_running_loop()
        reader, writer = await server.connect()
        begun = loop.time()
        writer.write(b"GET /a HTTP/1.1\r\nHost: h\r\nX: ")
        reading = asyncio.create_task(reader.read())
        while not reading.done():
            writer.write(b"x")
            await asyncio.wait([reading], timeout=0.1)
            assert loop.time() - begun < SOON
        assert reading.result().startswith(b"HTTP/1.1 408 ")
        assert b'"error":"request_timeout"' in reading.result()
        assert loop.time() - begun > 0.4
        writer.close()
        assert bodies(await server.talk(request("/a", close=True))) == [b"POST /a "]
