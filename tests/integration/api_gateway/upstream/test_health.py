"""The health checks on real connections: what counts as alive, and what is said of what does not."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from api_gateway.upstream import health
from api_gateway.upstream.health import MAX_ANSWER_BYTES, HealthMonitor, describe_cause
from api_gateway.upstream.pool import Pool
from tests.integration.api_gateway.support import answer, full_port, raw_server, refusing_port, services
from tests.support.waiting import eventually


@contextlib.asynccontextmanager
async def checked(url: str) -> AsyncIterator[tuple[dict[str, Any], Callable[[], Any]]]:
    """What the pool reports of a service after a check, and a function that checks once more."""
    pool = Pool([url])
    monitor = HealthMonitor(pool, interval=60, connect_timeout=0.2)
    try:
        await monitor.check(pool.upstreams[0])
        yield pool.report()[0], lambda: monitor.check(pool.upstreams[0])
    finally:
        await monitor.close()


def says(data: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Any]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(data)
        await writer.drain()

    return handle


async def test_each_check_is_a_connection_of_its_own() -> None:
    async with services(1) as (service,), checked(service.url) as (_, check_again):
        await check_again()
        await check_again()
        assert (service.checks, service.connections) == (3, 3)
        await eventually(lambda: service.open_connections == 0, "the end of all connections")


@pytest.mark.parametrize("status", [200, 302, 404, 503])
@pytest.mark.parametrize(
    ("body", "state"), [(b"{}", "healthy"), (b"\xff", "healthy"), (b'{"stopping":true}', "stopping")]
)
async def test_any_answer_is_one(status: int, body: bytes, state: str) -> None:
    async with raw_server(says(answer(status, body, "Location: /x"))) as url, checked(url) as (report, _):
        assert (report["state"], report["health_status"], report["last_error"]) == (state, status, None)


async def test_an_answer_without_end_is_read_in_part() -> None:
    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b" " * MAX_ANSWER_BYTES)
            await writer.drain()

    async with raw_server(endless) as url, checked(url) as (report, _):
        assert report["healthy"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "disconnected"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nab", "incomplete|without sending complete"),
        (b"nonsense\r\n\r\n", "illegal"),
    ],
)
async def test_what_is_no_answer_is_a_failure_and_says_why(data: bytes, reason: str) -> None:
    async with raw_server(says(data)) as url, checked(url) as (report, _):
        assert (report["state"], report["failed_checks"]) == ("ejected", 1)
        assert re.search(reason, report["last_error"])


async def test_a_service_that_accepts_no_connection() -> None:
    with refusing_port() as port:
        async with checked(f"http://127.0.0.1:{port}") as (report, _):
            assert re.search(r"\[Errno 111\] ", report["last_error"])
    with full_port() as port:
        async with checked(f"http://127.0.0.1:{port}") as (report, _):
            assert re.search(r"^no connection within 0\.2 s$", report["last_error"])


async def test_a_service_that_does_not_answer_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "CHECK_SECONDS", 0.2)
    released = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await released.wait()

    async with raw_server(silent) as url:
        async with checked(url) as (report, _):
            assert re.search(r"^no answer within 0\.2 s$", report["last_error"])
        released.set()


def test_of_an_error_with_several_causes_the_first_is_described() -> None:
    refused = [ConnectionRefusedError(111, "refused by ::1"), ConnectionRefusedError(111, "refused by 127.0.0.1")]
    error = OSError("all attempts failed")
    error.__cause__ = ExceptionGroup("several", refused)
    assert describe_cause(error) == "[Errno 111] refused by ::1"
    assert describe_cause(ValueError()) == "ValueError"
