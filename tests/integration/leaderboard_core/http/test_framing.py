"""Where a request begins and ends: upgrades are ignored, trailers are no headers, and who is unclear is refused."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.leaderboard_core.http.support import SOON, bodies, echo, request
from tests.support.waiting import eventually

UPGRADE = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n"


@pytest.mark.parametrize("name", ["h2c", "websocket", "TLS/1.3"])
async def test_an_upgrade_is_ignored_and_the_body_and_what_is_pipelined_behind_arrive(name: str) -> None:
    wish = UPGRADE.replace("h2c", name)
    sent = request("/a", b"one", extra=wish) + request("/b", b"two", extra=wish) + request("/c", b"three", close=True)
    async with echo() as server:
        assert bodies(await server.talk(sent)) == [b"POST /a one", b"POST /b two", b"POST /c three"]


async def test_a_body_behind_an_upgrade_in_a_packet_of_its_own_is_no_second_request() -> None:
    inner = request("/inner")
    whole = request("/a", inner, extra=UPGRADE) + request("/b", close=True)
    async with echo() as server:
        reader, writer = await server.connect()
        head = whole.index(b"\r\n\r\n") + 4
        for piece in (whole[:40], whole[40:head], whole[head : head + 30], whole[head + 30 :]):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)  # a packet of its own
        said = await asyncio.wait_for(reader.read(), SOON)
        writer.close()
        assert bodies(said) == [b"POST /a " + inner, b"POST /b "]
        assert server.echo.seen == ["/a", "/b"]


async def test_an_upgrade_with_chunks_and_with_100_continue() -> None:
    chunked = (
        f"POST /a HTTP/1.1\r\nHost: h\r\n{UPGRADE}Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n".encode()
    )
    async with echo() as server:
        assert bodies(await server.talk(chunked + request("/b", close=True))) == [b"POST /a one", b"POST /b "]
        reader, writer = await server.connect()
        waiting = request("/a", b"body", extra=UPGRADE + "Expect: 100-continue\r\n", close=False)
        writer.write(waiting[:-4])
        assert await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON) == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"body" + request("/end", close=True))
        assert bodies(await asyncio.wait_for(reader.read(), SOON)) == [b"POST /a body", b"POST /end "]
        writer.close()


async def test_trailers_are_no_headers() -> None:
    sent = (
        b"POST /headers HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\none\r\n0\r\nAuthorization: Bearer x\r\nExpect: 100-continue\r\n\r\n"
    )
    async with echo() as server:
        assert bodies(await server.talk(sent + request("/b", close=True))) == [
            b"host transfer-encoding",
            b"POST /b ",
        ]


@pytest.mark.parametrize(
    "start",
    [
        b"GET /a HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /a HTTP/1.0\r\nHost: a\r\nhost: b\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer a\r\nauthorization: Bearer a\r\n\r\n",
        b"GET /a HTTP/0.9\r\nHost: a\r\n\r\n",
        b"GET /a\r\n\r\n",
        b"GET /a HTTP/2.0\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"CONNECT /a HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n\r\n",
        b"CONNECT /a HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ],
)
async def test_whose_framing_is_unclear_is_refused_and_the_connection_ends(start: bytes) -> None:
    async with echo() as server:
        said = await server.talk(start + request("/b", close=True))
        assert said.startswith(b"HTTP/1.1 400 ")
        assert said.count(b"HTTP/1.1 ") == 1
        assert b'"error":"bad_request"' in said
        assert server.echo.seen == []


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"use HTTP/1.1"),
        (b"GET /a HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n", b"one Authorization header"),
    ],
)
async def test_what_usual_clients_do_wrong_is_said(start: bytes, reason: bytes) -> None:
    async with echo() as server:
        assert reason in await server.talk(start)


async def test_an_encoding_that_is_not_known_is_501() -> None:
    sent = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
    async with echo() as server:
        assert (await server.talk(sent)).startswith(b"HTTP/1.1 501 ")
        assert server.echo.seen == []


async def test_a_refusal_waits_for_the_answers_before_it() -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        writer.write(request("/slow") + b"nonsense\r\n\r\n")

        await server.echo.begun("/slow")
        server.echo.go.set()
        said = await asyncio.wait_for(reader.read(), SOON)
        writer.close()
        first, _, second = said.partition(b"POST /slow ")
        assert first.startswith(b"HTTP/1.1 200 ")
        assert second.startswith(b"HTTP/1.1 400 ")


async def test_a_request_whose_body_is_broken_in_the_same_packet_is_not_run() -> None:
    sent = b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n\r\n"
    async with echo() as server:
        said = await server.talk(sent)
        assert said.startswith(b"HTTP/1.1 400 ")
        assert said.count(b"HTTP/1.1 ") == 1
        assert server.echo.seen == []


async def test_a_body_that_turns_out_to_be_broken_is_refused_in_place_of_an_answer() -> None:
    async with echo() as server:
        reader, writer = await server.connect()
        writer.write(b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")

        async def begun() -> bool:
            return server.echo.missed == ["/a"]

        await eventually(begun)
        writer.write(b"nonsense\r\n\r\n")
        said = await asyncio.wait_for(reader.read(), SOON)
        writer.close()
        assert said.startswith(b"HTTP/1.1 400 ")
        assert said.count(b"HTTP/1.1 ") == 1
