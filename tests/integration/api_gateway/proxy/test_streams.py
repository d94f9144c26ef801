"""Event streams through the gateway: how they end, and what becomes of clients that take nothing."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest

from tests.integration.api_gateway.support import (
    SOON,
    Behaviour,
    Request,
    Running,
    Service,
    answer,
    gateway,
    services,
)
from tests.integration.api_gateway.support import says as answers
from tests.support.events import EndedError, listening
from tests.support.waiting import eventually

HEAD = answer(200, b"", "Content-Type: text/event-stream", "Transfer-Encoding: chunked", length=False)


def chunk(text: str) -> bytes:
    return b"%x\r\n%b\r\n" % (len(text.encode()), text.encode())


def event(number: int) -> bytes:
    return chunk(f'id: {number}\nevent: change\ndata: {{"n": {number}}}\n\n')


def says(*pieces: bytes, then: asyncio.Event) -> Behaviour:
    """A stream that sends these pieces, and breaks off when `then` is set."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(HEAD + b"".join(pieces))
        await asyncio.wait_for(then.wait(), SOON)
        return True

    return behave


def base(gate: Running) -> str:
    return f"http://127.0.0.1:{gate.port}"


def notes(gate: Running) -> bytes:
    gate.app.access_log.flush()
    return b"".join(gate.log)


async def test_a_service_that_dies_ends_the_stream_in_order() -> None:
    """Whoever listens comes back anyway; a connection that is cut would be an error in every log on the way."""
    async with services(1) as (service,), gateway(service) as gate:
        dies = asyncio.Event()
        service.behave = says(event(1), b"40\r\nid: 2\nevent: cha", then=dies)
        async with listening(base(gate), "/stream/top") as listener:
            assert (await listener.next()).data == {"n": 1}
            dies.set()
            with pytest.raises(EndedError) as end:
                await listener.next()
            assert end.value.clean
        await eventually(lambda: b'"note":"bad_gateway"' in notes(gate), "the log line")


async def test_any_other_answer_that_breaks_off_is_cut_off() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        dies = asyncio.Event()

        async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
            writer.write(answer(200, b"", "Transfer-Encoding: chunked", length=False) + event(1))
            await asyncio.wait_for(dies.wait(), SOON)
            return True

        service.behave = behave
        async with listening(base(gate), "/top") as listener:
            await listener.next()
            dies.set()
            assert await listener.ended() is False


async def test_a_service_that_hangs_ends_the_stream_after_three_heartbeats() -> None:
    never = asyncio.Event()
    async with services(1) as (service,), gateway(service, heartbeat_seconds=0.2) as gate:
        service.behave = says(event(1), then=never)
        async with listening(base(gate), "/stream/top") as listener:
            await listener.next()
            started = asyncio.get_running_loop().time()
            assert await listener.ended() is True
            assert asyncio.get_running_loop().time() - started > 0.4
        never.set()


async def test_heartbeats_keep_a_stream_open() -> None:
    async with services(1) as (service,), gateway(service, heartbeat_seconds=0.2) as gate:

        async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(HEAD)
            for _ in range(10):
                writer.write(chunk(": heartbeat\n"))
                await asyncio.sleep(0.15)
            writer.write(event(1))
            await request.gone()

        service.behave = behave
        async with listening(base(gate), "/stream/top") as listener:
            assert (await listener.next()).data == {"n": 1}
            assert len(listener.comments) == 10


async def test_the_gateways_stop_ends_streams_at_once() -> None:
    never = asyncio.Event()
    async with services(1) as (service,), gateway(service) as gate:
        service.behave = says(event(1), then=never)
        async with listening(base(gate), "/stream/top") as listener:
            await listener.next()
            gate.app.announce_stop()
            assert await listener.ended(1) is True
        async with listening(base(gate), "/stream/top") as late:
            assert await late.ended(1) is True, "an error would make a browser give up for good"
        never.set()


async def flood(service: Service) -> asyncio.Event:
    """Let the service send events for ever; the event says that the gateway has left."""
    left = asyncio.Event()

    async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(HEAD)
        try:
            while True:
                writer.write(chunk(f'data: "{"x" * 60_000}"\n\n'))
                await writer.drain()
        except ConnectionError:
            left.set()
        return True

    service.behave = behave
    return left


async def test_who_takes_nothing_is_cut_off_on_both_sides() -> None:
    async with services(1) as (service,), gateway(service, client_timeout_seconds=0.3) as gate:
        left = await flood(service)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", gate.port))
            client.send(b"GET /stream/top HTTP/1.1\r\nHost: x\r\n\r\n")
            await asyncio.wait_for(left.wait(), SOON)
            # The client still has its socket open: an orderly close would wait for it for ever.
            await eventually(lambda: not gate.server.server_state.connections, "the end of the connection")
        assert b'"note":"the client left"' in notes(gate)


async def test_streams_are_a_route_of_the_metrics() -> None:
    never = asyncio.Event()
    async with services(1) as (service,), gateway(service) as gate:
        service.behave = says(event(1), then=never)
        for path in ("/stream/top", "/stream/rank/alice"):
            async with listening(base(gate), path) as listener:
                await listener.next()
        for route in ("/stream/top", "/stream/rank/{user_id}"):
            counted = partial(gate.metric, "gateway_requests_total", method="GET", route=route, status="200")
            await eventually(lambda counted=counted: counted() == 1, route)
        never.set()


@pytest.mark.parametrize("behind", [1, 20_000])
async def test_a_stream_ends_with_its_client_whatever_is_pipelined_behind_it(behind: int) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        never = asyncio.Event()
        service.behave = says(event(1), then=never)
        reader, writer = await gate.connect()
        writer.write(b"GET /stream/top HTTP/1.1\r\nHost: h\r\n\r\n" + b"GET /top HTTP/1.1\r\nHost: h\r\n\r\n" * behind)
        await asyncio.wait_for(reader.readuntil(b"data: "), SOON)
        writer.close()
        await eventually(lambda: not gate.server.server_state.tasks, "the end of the stream")
        assert len(service.requests) == 1
        never.set()


async def open_stream(gate: Running, address: str, path: str = "/stream/top") -> tuple[int, asyncio.StreamWriter]:
    """Ask for a stream as a client behind a trusted proxy; return the status, when the head has come."""
    reader, writer = await gate.connect()
    writer.write(f"GET {path} HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: {address}\r\n\r\n".encode())
    head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
    return int(head.split()[1]), writer


async def test_an_address_has_so_many_streams_and_others_have_theirs() -> None:
    async with services(1) as (service,), gateway(service, streams_per_address=2) as gate:
        never = asyncio.Event()
        service.behave = says(event(1), then=never)
        opened = [await open_stream(gate, "203.0.113.9", path) for path in ("/stream/top", "/stream/rank/alice")]
        refused = await gate.get("/stream/top", headers={"X-Forwarded-For": "198.51.100.1, 203.0.113.9"})
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
        assert (refused.json()["error"], refused.json()["retry_after"]) == ("rate_limited", 5.0)
        assert len(service.requests) == 2, "no service is asked"
        service.behave = says(event(1), then=never)
        opened += [await open_stream(gate, address) for address in ("203.0.113.10", "2001:db8::1", "2001:db8::2")]
        status, last = await open_stream(gate, "2001:db8::3")
        assert status == 429, "the /64 of a customer is one client"
        opened += [await open_stream(gate, "127.0.0.1") for _ in range(4)]
        assert {status for status, _ in opened} == {200}
        assert gate.parts.proxy.streams.taken == {"203.0.113.9": 2, "203.0.113.10": 1, "2001:db8::/64": 2}
        for writer in (last, *(writer for _, writer in opened)):
            writer.close()
        await eventually(lambda: not gate.parts.proxy.streams.taken, "free places")
        never.set()


@pytest.mark.parametrize(
    "end", ["client closes", "client resets", "client takes nothing", "service ends", "service dies", "gateway stops"]
)
async def test_a_place_is_free_again_however_a_stream_ends(end: str) -> None:
    async with services(1) as (service,), gateway(service, streams_per_address=1, client_timeout_seconds=0.3) as gate:
        ends = asyncio.Event()
        service.behave = says(event(1), *([b"0\r\n\r\n"] if end == "service ends" else []), then=ends)
        if end == "client takes nothing":
            await flood(service)
        status, writer = await open_stream(gate, "203.0.113.9")
        assert status == 200
        if end == "client closes":
            writer.close()
        elif end == "client resets":
            writer.transport.abort()
        elif end == "client takes nothing":
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        elif end == "service dies":
            await service.kill()
        elif end == "gateway stops":
            gate.app.announce_stop()
        await eventually(lambda: not gate.parts.proxy.streams.taken, "a free place")
        ends.set()
        writer.close()


async def test_what_is_refused_takes_no_place() -> None:
    async with services(1) as (service,), gateway(service, streams_per_address=1) as gate:
        headers = {"X-Forwarded-For": "203.0.113.9"}
        service.behave = answers(404, b"{}")
        for _ in range(3):
            assert (await gate.get("/stream/rank/nobody", headers=headers)).status_code == 404
        await service.kill()
        for _ in range(3):
            assert (await gate.get("/stream/top", headers=headers)).status_code == 503
        assert gate.parts.proxy.streams.taken == {}
