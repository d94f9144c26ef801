"""The HTTP protocol under every process, byte by byte: the short way for plain requests, and uvicorn's for the rest."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from leaderboard_core.http.cycle import send_whole, take_whole_body
from leaderboard_core.http.protocol import EnvelopeProtocol
from tests.integration.leaderboard_core.http.support import SOON, bodies, echo, request
from tests.support.waiting import eventually


async def test_an_answer_in_one_piece_is_what_uvicorn_writes() -> None:
    async with echo() as server:
        short = await server.talk(request("/a", b"x", close=True))
        messages = await server.talk(request("/messages", b"x", close=True))
    assert bodies(short) == [b"POST /a x"]
    assert bodies(messages) == [b"POST /messages x"]
    names = [re.findall(rb"^([a-z-]+): ", each, flags=re.MULTILINE) for each in (short, messages)]
    assert names[0] == names[1] == [b"date", b"content-length", b"connection"]
    assert short.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_pipelined_requests_are_answered_one_after_the_other_in_order() -> None:
    async with echo() as server:
        paths = ["/slow", "/b", "/messages", "/d"]
        sent = b"".join(request(path, path.encode()) for path in paths) + request("/end", close=True)
        reader, writer = await server.connect()
        writer.write(sent)

        await server.echo.begun("/slow")
        server.echo.go.set()
        said = await asyncio.wait_for(reader.read(), SOON)
        writer.close()
        assert bodies(said) == [*(f"POST {path} {path}".encode() for path in paths), b"POST /end "]
        assert server.echo.most_under_way == 1


async def test_a_request_in_single_bytes_is_understood() -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        for byte in request("/a%20b?c=d", b"body", close=True):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)
        assert bodies(await asyncio.wait_for(reader.read(), SOON)) == [b"POST /a b body"]
        writer.close()


async def test_a_body_that_comes_later_is_waited_for() -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        whole = request("/a", b"0123456789" * 20_000, close=True)
        writer.write(whole[:-150_000])

        async def begun() -> bool:
            return server.echo.missed == ["/a"]

        await eventually(begun)
        writer.write(whole[-150_000:])
        said = await asyncio.wait_for(reader.read(), SOON)
        assert bodies(said) == [b"POST /a " + b"0123456789" * 20_000]
        writer.close()


async def test_a_client_that_waits_for_100_gets_it_before_it_sends() -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        writer.write(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body" + request("/end", close=True))
        assert bodies(await asyncio.wait_for(reader.read(), SOON)) == [b"POST /a body", b"POST /end "]
        writer.close()


async def test_who_was_refused_is_not_told_to_continue() -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        writer.write(b"POST /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        said = await asyncio.wait_for(reader.readuntil(b"no"), SOON)
        assert said.startswith(b"HTTP/1.1 413 ")
        writer.write(b"body" + request("/end", close=True))
        assert bodies(await asyncio.wait_for(reader.read(), SOON)) == [b"POST /end "]
        assert server.echo.after == {"type": "http.disconnect"}
        writer.close()


@pytest.mark.parametrize("path", ["/a", "/messages"])
async def test_head_has_the_head_only(path: str) -> None:
    async with echo() as server:
        said = await server.talk(request(path, method="HEAD") + request("/end", close=True))
    first, _, rest = said.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(f"HEAD {path} ") in first
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")
    assert bodies(rest) == [b"POST /end "]


@pytest.mark.parametrize("path", ["/split", "/nul"])
async def test_a_header_that_would_be_two_or_none_is_refused(path: str, caplog: pytest.LogCaptureFixture) -> None:
    async with echo() as server:
        with caplog.at_level(logging.CRITICAL, "uvicorn.error"):
            said = await server.talk(request(path, close=True))
    assert b"evil" not in said
    assert said == b"" or said.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize("path", ["/fail", "/more-than-said"])
async def test_an_application_that_fails_is_a_500_or_a_cut(path: str) -> None:
    async with echo() as server:
        said = await server.talk(request(path, close=True))
        assert b"200 OK" not in said or not said.endswith(path.encode() + b" ")
        assert bodies(await server.talk(request("/a", close=True))) == [b"POST /a "], "others are served"


async def test_an_application_that_fails_before_anything_was_written_is_a_500() -> None:
    async with echo() as server:
        assert (await server.talk(request("/fail-late"))).startswith(b"HTTP/1.1 500 ")


async def test_an_answer_that_is_left_unfinished_is_cut_off() -> None:
    async with echo() as server:
        said = await server.talk(request("/unfinished"))
    assert b"half" in said
    assert b"\r\n0\r\n\r\n" not in said, "a client can tell that it is not whole"


async def test_a_head_goes_out_before_the_first_event() -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        writer.write(request("/events", close=True))
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        server.echo.go.set()
        assert await asyncio.wait_for(reader.read(), SOON) == b"5\r\nevent\r\n0\r\n\r\n"
        writer.close()


@pytest.mark.parametrize(
    "wrong",
    [b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nA b\r\n\r\n", b"GET a HTTP/1.1\r\n\r\n", b"GET /\xff HTTP/1.1\r\n\r\n"],
)
async def test_what_is_not_http_is_a_400_in_the_envelope(wrong: bytes) -> None:
    async with echo() as server:
        said = await server.talk(wrong)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert b'"error":"bad_request"' in said


async def test_http_1_0_is_answered_and_closed() -> None:
    async with echo() as server:
        said = await server.talk(b"GET /a HTTP/1.0\r\n\r\n")
    assert bodies(said) == [b"GET /a "]
    assert b"connection: close" in said


async def test_a_connection_is_closed_when_it_was_idle_for_the_time_that_it_may_be() -> None:
    async with echo() as server:
        server.server.config.timeout_keep_alive = 0.5
        loop = asyncio.get_running_loop()
        new_reader, new_writer = await server.connect()
        reader, writer = await server.connect()
        busy_reader, busy_writer = await server.connect()
        busy_writer.write(request("/slow", close=True))
        writer.write(request("/a"))
        await asyncio.wait_for(reader.readuntil(b"POST /a "), SOON)
        answered = loop.time()
        assert await asyncio.wait_for(reader.read(), SOON) == b""
        assert loop.time() - answered > 0.4
        assert await asyncio.wait_for(new_reader.read(), SOON) == b"", "also one that never asked"
        server.echo.go.set()
        said = await asyncio.wait_for(busy_reader.read(), SOON)
        assert bodies(said) == [b"POST /slow "], "one that waits for its answer is not idle"
        for each in (new_writer, writer, busy_writer):
            each.close()


async def test_of_other_servers_nothing_is_taken_at_once() -> None:
    async def receive() -> dict[str, Any]:
        raise AssertionError

    async def send(message: dict[str, Any]) -> None:
        raise AssertionError

    assert take_whole_body(receive) is None
    other: Callable[..., Any] = send
    assert not send_whole(other, 200, [(b"content-length", b"0")], b"")


async def test_what_a_connection_held_goes_with_it() -> None:
    async with echo() as server:
        gc.collect()
        gc.disable()
        try:
            for path in ("/a", "/messages", "/unfinished"):
                await server.talk(request(path, close=True))
            reader, writer = await server.connect()
            writer.write(request("/a") * 2)
            await asyncio.wait_for(reader.readuntil(b"/a "), SOON)
            writer.close()

            async def gone() -> bool:
                return not any(isinstance(each, EnvelopeProtocol) for each in gc.get_objects())

            await eventually(gone, "the end of all connections, without the garbage collector")
        finally:
            gc.enable()
