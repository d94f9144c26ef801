"""What one connection may cost: heads without end, slow ones, and requests that wait behind others."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

import pytest

from leaderboard_core.http.heads import MAX_HEAD_BYTES, MAX_HEADERS
from leaderboard_core.http.protocol import EnvelopeProtocol
from tests.integration.leaderboard_core.http.support import SOON, Running, bodies, echo, request
from tests.support.waiting import eventually

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


async def connections(server: Running) -> list[EnvelopeProtocol]:
    return [each for each in server.server.server_state.connections if isinstance(each, EnvelopeProtocol)]


async def test_behind_a_request_that_waits_nothing_is_parsed_or_read() -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        writer.write(request("/slow") + request("/x") * 100_000)
        begun = len(request("/x")) * 100_000
        transport = writer.transport

        async def stuck() -> bool:
            (connection,) = await connections(server)
            return bool(connection.pipeline) and not connection.transport.is_reading()

        await eventually(stuck)
        (connection,) = await connections(server)
        assert len(connection.pipeline) < 100
        assert transport.get_write_buffer_size() > 0, f"of {begun} bytes some are not taken"
        server.echo.go.set()
        seen = 0
        while seen < 1_000:
            seen += (await asyncio.wait_for(reader.read(65_536), SOON)).count(b"HTTP/1.1 200")
        assert server.echo.most_under_way == 1
        transport.abort()


async def test_reading_goes_on_when_those_that_waited_have_their_turn() -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        writer.write(request("/slow") + request("/a"))

        async def waits() -> bool:
            return any(connection.pipeline for connection in await connections(server))

        await eventually(waits)
        writer.write(request("/b"))

        async def stopped() -> bool:
            return not any(connection.transport.is_reading() for connection in await connections(server))

        await eventually(stopped)
        server.echo.go.set()
        await asyncio.wait_for(reader.readuntil(b"POST /b "), SOON)
        writer.write(request("/c", close=True))
        assert bodies(await asyncio.wait_for(reader.read(), SOON)) == [b"POST /c "]
        writer.close()


def end(writer: asyncio.StreamWriter) -> None:
    writer.close()


def reset(writer: asyncio.StreamWriter) -> None:
    linger = b"\1\0\0\0\0\0\0\0"
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


@pytest.mark.parametrize("leave", [end, reset])
@pytest.mark.parametrize("behind", [1, 20_000])
async def test_a_stream_ends_with_its_client_whatever_is_pipelined_behind_it(
    leave: Callable[[asyncio.StreamWriter], None], behind: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        writer.write(request("/stream") + request("/x") * behind)
        await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
        assert server.echo.under_way == 1
        leave(writer)

        async def ended() -> bool:
            return server.echo.under_way == 0

        await eventually(ended, "the end of the stream")
        assert server.echo.seen == ["/stream"]
        assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_request_learns_that_its_client_left_though_another_waits_behind_it() -> None:
    async with echo() as server:
        _, writer = await server.connect()
        writer.write(request("/listen") + request("/x"))

        async def begun() -> bool:
            return server.echo.seen == ["/listen"]

        await eventually(begun)
        writer.close()

        async def ended() -> bool:
            return server.echo.after == {"type": "http.disconnect"}

        await eventually(ended, "the news")


async def test_a_write_to_a_connection_that_is_closing_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    async with echo() as server:
        _, writer = await server.connect()
        writer.write(request("/events"))

        async def begun() -> bool:
            return server.echo.seen == ["/events"]

        await eventually(begun)
        (connection,) = await connections(server)
        connection.transport.close()
        server.echo.go.set()

        async def ended() -> bool:
            return server.echo.under_way == 0

        await eventually(ended)
        writer.close()
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
