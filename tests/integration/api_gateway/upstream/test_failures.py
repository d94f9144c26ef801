"""Services that refuse, break off, stay silent or stop, and what clients see of it."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Sized

import pytest

from api_gateway.upstream.connection import Connection
from api_gateway.upstream.errors import BrokenOffError
from tests.integration.api_gateway.support import (
    SOON,
    Behaviour,
    Request,
    Service,
    answer,
    bearer,
    gateway,
    hang_up,
    refusing_port,
    says,
    services,
)
from tests.support.waiting import eventually

KEY = {"Idempotency-Key": "k-1"}


async def checked_again(service: Service, seen: int) -> None:
    await eventually(lambda: service.checks > seen + 3, "health checks")


async def longer_than(items: Sized, count: int, what: str) -> None:
    await eventually(lambda: len(items) > count, what)


def silent(event: asyncio.Event, first: bytes = b"") -> Behaviour:
    """Say `first`, then nothing until the event is set."""

    async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(first)
        await event.wait()
        return True

    return behave


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_a_refused_connection_goes_to_another_service(method: str) -> None:
    with refusing_port() as port:
        async with services(1) as (service,), gateway(service, f"http://127.0.0.1:{port}") as gate:
            refusing = gate.parts.upstreams.upstreams[1]
            gate.parts.upstreams.check_passed(refusing, 200, stopping=False)
            for _ in range(2):
                response = await gate.request(method, "/auth/login")
                assert (response.status_code, response.headers["x-upstream-addr"]) == (200, service.address)
            assert not gate.parts.upstreams.report()[1]["healthy"]
            assert gate.metric("gateway_retries_total", upstream=refusing.address, reason="connect") == 1
            assert gate.metric("gateway_upstream_healthy", upstream=refusing.address) == 0
            gate.app.access_log.flush()
            assert b'"retries":1' in b"".join(gate.log)


async def test_no_service_is_503_and_a_returning_one_is_used_at_once() -> None:
    service = await Service().start()
    await service.kill()
    with refusing_port() as port:
        async with gateway(service, f"http://127.0.0.1:{port}") as gate:
            for _ in range(2):
                response = await gate.get("/top")
                assert (response.status_code, response.json()["error"]) == (503, "unavailable")
                assert response.headers["retry-after"]
            await service.start()
            try:
                for _ in range(3):
                    assert (await gate.get("/top")).status_code == 200
                assert gate.parts.upstreams.report()[0]["healthy"]
            finally:
                await service.kill()


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [("GET", "/top", {}), ("HEAD", "/top", {}), ("POST", "/score/add", KEY), ("POST", "/score", KEY)],
)
async def test_what_broke_off_and_may_be_repeated_is_repeated(method: str, path: str, headers: dict[str, str]) -> None:
    async with services(2) as (bad, good), gateway(bad, good) as gate:
        bad.behave = hang_up
        response = await gate.request(method, path, headers={**bearer(), **headers}, content=b"{}")
        assert (response.status_code, response.headers["x-upstream-addr"]) == (200, good.address)
        assert len(bad.requests) == len(good.requests) == 1
        assert good.requests[0] == bad.requests[0]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", "/score/add", {}),
        ("POST", "/score/add", {"Idempotency-Key": ""}),
        ("POST", "/score/add", {**KEY, "Connection": "Idempotency-Key"}),
        ("POST", "/auth/register", KEY),
        ("PUT", "/top", {}),
        ("DELETE", "/top", {}),
    ],
)
async def test_what_broke_off_and_may_not_be_repeated_is_502(method: str, path: str, headers: dict[str, str]) -> None:
    async with services(2) as (bad, other), gateway(bad, other) as gate:
        await gate.get("/top")
        await gate.get("/top")
        bad.behave = hang_up
        response = await gate.request(method, path, headers={**bearer(), **headers}, content=b"{}")
        assert (response.status_code, response.json()["error"]) == (502, "bad_gateway")
        assert "may or may not" in response.json()["message"]
        assert [len(service.requests) for service in (bad, other)] == [2, 1]


async def test_services_that_all_break_off_are_502() -> None:
    async with services(2) as both, gateway(*both) as gate:
        for service in both:
            service.behave = hang_up
        response = await gate.get("/top")
        assert (response.status_code, response.json()["error"]) == (502, "bad_gateway")
        assert [len(service.requests) for service in both] == [2, 2]


async def test_an_answer_that_is_not_http_is_502() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        service.behave = says(200, b"", "no colon here", length=False)
        response = await gate.post("/auth/login")
        assert (response.status_code, response.json()["error"]) == (502, "bad_gateway")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_small_answer_that_breaks_in_the_middle_is_replaced(method: str) -> None:
    async def half(request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer(200, b'{"a":', "Content-Length: 100", length=False))
        return True

    async with services(2) as (bad, good), gateway(bad, good) as gate:
        bad.behave = half
        response = await gate.request(method, "/auth/login")
        assert response.status_code == (200 if method == "GET" else 502)
        assert len(good.requests) == (1 if method == "GET" else 0)


@pytest.mark.parametrize("header", ["Transfer-Encoding: chunked", "Content-Length: 1000000"])
async def test_a_streamed_answer_that_breaks_is_cut_off_for_the_client_too(header: str) -> None:
    async def half(request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer(200, b"3\r\nabc\r\n", header, length=False))
        return True

    async with services(2) as (bad, other), gateway(bad, other) as gate:
        bad.behave = half
        heard = await gate.raw(b"GET /top HTTP/1.1\r\nHost: h\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 200 ")
        assert b"abc" in heard
        assert not heard.endswith(b"0\r\n\r\n")
        assert b"error" not in heard
        assert other.requests == []


async def test_a_silent_service_is_504_and_is_not_asked_again() -> None:
    async with services(2) as (slow, other), gateway(slow, other, upstream_timeout_seconds=0.1) as gate:
        done = asyncio.Event()
        slow.behave = silent(done)
        response = await gate.get("/top")
        assert (response.status_code, response.json()["error"]) == (504, "gateway_timeout")
        assert gate.metric("gateway_upstream_requests_total", upstream=slow.address, outcome="timeout") == 1
        assert other.requests == []
        assert gate.parts.upstreams.report()[0]["healthy"]
        done.set()


async def test_a_client_that_stops_reading_does_not_hold_a_service() -> None:
    async def endless(request: Request, writer: asyncio.StreamWriter) -> bool:
        writer.write(answer(200, b"", "Content-Length: 999999999999", length=False))
        while not writer.transport.is_closing():
            writer.write(b"x" * 65_536)
            await writer.drain()
        return True

    async with services(1) as (service,), gateway(service, client_timeout_seconds=0.2) as gate:
        service.behave = endless
        _, writer = await gate.connect()
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(b"GET /top HTTP/1.1\r\nHost: h\r\n\r\n")
        await eventually(lambda: len(service.requests) == 1, "the request")
        await eventually(lambda: not service.open_connections, "the end of the upstream request")
        writer.transport.abort()


@pytest.mark.parametrize("size", [100, 1_000_000])
async def test_a_service_that_falls_silent_in_its_answer(size: int) -> None:
    async with services(1) as (slow,), gateway(slow, upstream_timeout_seconds=0.1) as gate:
        done = asyncio.Event()
        slow.behave = silent(done, answer(200, b"abc", f"Content-Length: {size}", length=False))
        heard = await gate.raw(b"GET /top HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
        if size == 100:
            assert heard.startswith(b"HTTP/1.1 504 ")
        else:
            assert heard.startswith(b"HTTP/1.1 200 ")
            assert heard.endswith(b"abc")
        done.set()


async def test_a_service_that_says_503_is_alive() -> None:
    async with services(2) as both, gateway(*both, health_check_interval_seconds=0.02) as gate:
        for service in both:
            service.health = (503, b'{"ok":false,"redis":false}')
            service.behave = says(503, b'{"error":"unavailable","message":"Redis is down"}')
            await checked_again(service, service.checks)
        assert (await gate.get("/health")).status_code == 200
        assert all(one["healthy"] and one["health_status"] == 503 for one in gate.parts.upstreams.report())
        response = await gate.post("/auth/login")
        assert (response.status_code, response.json()["message"]) == (503, "Redis is down")
        assert sum(len(service.requests) for service in both) == 1


async def test_a_stopping_service_gets_no_new_requests_and_returns() -> None:
    async with services(2) as (stopping, other), gateway(stopping, other, health_check_interval_seconds=0.02) as gate:
        upstream = gate.parts.upstreams.upstreams[0]
        stopping.health = (503, b'{"ok":false,"stopping":true}')
        await eventually(lambda: upstream.state.value == "stopping", "the notice")
        for _ in range(4):
            assert (await gate.get("/top")).headers["x-upstream-addr"] == other.address
        assert stopping.requests == []
        other.health = stopping.health
        await eventually(lambda: gate.parts.upstreams.upstreams[1].state.value == "stopping", "the notice")
        assert (await gate.get("/top")).status_code == 200, "a stopping service is better than none"
        assert (await gate.get("/health")).status_code == 503
        stopping.health = (200, b'{"ok":true}')
        await eventually(lambda: upstream.state.value == "healthy", "the return")


async def test_a_killed_service_leaves_the_rotation_and_returns() -> None:
    async with services(2) as (one, two), gateway(one, two, health_check_interval_seconds=0.02) as gate:
        await one.kill()
        await eventually(lambda: not gate.parts.upstreams.report()[0]["healthy"], "the ejection")
        assert gate.metric("gateway_ejections_total", upstream=one.address, reason="ejected") == 1
        assert (await gate.get("/health")).json()["upstreams"][0]["state"] == "ejected"
        await one.start()
        await eventually(lambda: gate.parts.upstreams.report()[0]["healthy"], "the return")
        served = {(await gate.get("/top")).headers["x-upstream-addr"] for _ in range(2)}
        assert served == {one.address, two.address}


async def test_a_dead_health_task_is_noticed_and_started_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with services(1) as (service,), gateway(service, health_check_interval_seconds=0.02) as gate:
        working = gate.parts.health.check

        async def broken(upstream: object) -> None:
            raise ZeroDivisionError

        with caplog.at_level(logging.ERROR):
            monkeypatch.setattr(gate.parts.health, "check", broken)
            await eventually(lambda: gate.metric("gateway_health_task_failures_total") >= 1, "the failure")
        assert "the health task died" in caplog.text
        monkeypatch.setattr(gate.parts.health, "check", working)
        seen = service.checks
        await eventually(lambda: service.checks > seen + 2, "new checks")


async def test_a_connection_that_cannot_be_timed_out_leaves_the_others_their_time_limits(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    times_out, failed = Connection.on_timeout, list[Connection]()

    def broken_once(connection: Connection) -> None:
        if not failed:
            failed.append(connection)
            raise ZeroDivisionError
        times_out(connection)

    async with services(1) as (slow,), gateway(slow, upstream_timeout_seconds=0.1) as gate:
        done = asyncio.Event()
        slow.behave = silent(done)
        monkeypatch.setattr(Connection, "on_timeout", broken_once)
        with caplog.at_level(logging.ERROR):
            answers = await asyncio.gather(gate.get("/top"), gate.get("/top"), gate.get("/top"))
        assert [each.status_code for each in answers] == [504, 504, 504]
        assert "could not be timed out" in caplog.text
        assert gate.metric("gateway_sweep_failures_total") == 1
        assert (await gate.get("/top")).status_code == 504, "the sweep goes on"
        done.set()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_connections_closed_while_idle_cost_no_request(method: str) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        for _ in range(20):
            assert (await gate.request(method, "/auth/login")).status_code == 200
            await service.close_connections()
        assert len(service.requests) == 20


async def test_a_pooled_connection_closed_a_moment_ago_is_not_used() -> None:
    """The close is in the kernel, the event loop has not seen it: a write would be lost, and may not be repeated."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        close, closed = threading.Event(), threading.Event()
        served: list[bytes] = []

        def serve() -> None:
            while len(served) < 2:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(SOON)
                    request = connection.recv(65_536)
                    connection.sendall(answer(200, b"{}"))
                    if b"/health" in request:
                        continue
                    served.append(request)
                    if len(served) == 1:
                        close.wait(SOON)
                closed.set()

        listener.settimeout(SOON)
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        async with gateway(f"http://127.0.0.1:{listener.getsockname()[1]}") as gate:
            upstream = gate.parts.upstreams.upstreams[0]
            arguments = (upstream, "POST", b"/score/add", [(b"host", b"h")], b"{}")
            assert (await gate.parts.client.request(*arguments)).complete
            close.set()
            closed.wait(SOON)  # blocks the event loop, on purpose
            try:
                answer_ = await gate.parts.client.request(*arguments)
            except BrokenOffError:
                pytest.fail("the request was written to a closed connection")
            assert answer_.take() == b"{}"
        thread.join(SOON)
        assert not thread.is_alive()


@pytest.mark.parametrize("count", [1, 2])
async def test_what_was_not_written_is_sent_again_whatever_it_is(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async with services(count) as some, gateway(*some) as gate:
        for _ in range(count):
            await gate.post("/auth/login", content=b"{}")
        closings = 0

        def closing_now(connection: Connection) -> bool:
            nonlocal closings
            closings += 1
            if closings == 1:
                connection.abort()
            return False

        monkeypatch.setattr(Connection, "has_pending_input", closing_now)
        assert (await gate.post("/auth/login", content=b"{}")).status_code == 200
        assert closings >= 1
        assert sum(len(service.requests) for service in some) == count + 1
        address = some[0].address
        assert gate.metric("gateway_retries_total", upstream=address, reason="not_sent") == 1
        assert gate.parts.upstreams.report()[0]["healthy"]


async def test_a_service_killed_under_load_fails_no_request() -> None:
    async with services(3) as three, gateway(*three, health_check_interval_seconds=0.05) as gate:
        victim, statuses, stop = three[1], [], asyncio.Event()

        async def slowly(request: Request, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.002)
            writer.write(answer(200, b"{}"))

        for service in three:
            service.behave = slowly

        async def load(number: int) -> None:
            headers, sent = bearer(), 0
            while not stop.is_set():
                sent += 1
                if number % 2:
                    response = await gate.get("/rank/alice")
                else:
                    key = {"Idempotency-Key": f"{number}-{sent}"}
                    response = await gate.post("/score/add", json={"delta": 1}, headers={**headers, **key})
                statuses.append(response.status_code)

        clients = [asyncio.create_task(load(number)) for number in range(16)]
        for _ in range(3):
            want = len(victim.requests) + 50
            await longer_than(victim.requests, want, "load on the victim")
            await victim.kill()
            count = len(statuses) + 50
            await longer_than(statuses, count, "load on the others")
            await victim.start()
        stop.set()
        await asyncio.gather(*clients)
        assert set(statuses) == {200}
        assert gate.metric("gateway_retries_total", upstream=victim.address, reason="broken") > 0
