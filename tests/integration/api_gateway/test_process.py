"""The gateway as a process: its start, its complaints, and its stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator

import httpx
import pytest

from leaderboard_cli.cluster.ports import find_free_ports
from tests.integration.api_gateway.support import SECRET, SOON, Request, Service, answer, services
from tests.support.waiting import PROCESS_SECONDS, eventually


async def start(**environment: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "api_gateway",
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"], "JWT_SECRET": SECRET, **environment},
    )


@contextlib.asynccontextmanager
async def running(
    service: Service, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient]]:
    (port,) = find_free_ports(1)
    process = await start(PORT=str(port), LEADERBOARD_SERVICE_URLS=service.url, **environment)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as client:

            async def healthy() -> bool:
                assert process.returncode is None, (await process.communicate())[1]
                try:
                    return (await client.get("/health")).status_code == 200
                except httpx.ConnectError:
                    return False

            await eventually(healthy, "the gateway's health", seconds=PROCESS_SECONDS)
            yield process, client
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@pytest.mark.parametrize(
    ("environment", "named"),
    [
        ({"JWT_SECRET": ""}, "JWT_SECRET"),
        ({"JWT_SECRET": "short"}, "JWT_SECRET"),
        ({"PORT": "seventy"}, "PORT"),
        ({"LEADERBOARD_SERVICE_URLS": "ftp://x"}, "LEADERBOARD_SERVICE_URLS"),
        ({"UPSTREAM_TIMEOUT_SECONDS": "-1"}, "UPSTREAM_TIMEOUT_SECONDS"),
    ],
)
async def test_bad_settings_are_one_readable_message(environment: dict[str, str], named: str) -> None:
    process = await start(**environment)
    _, complaint = await process.communicate()
    assert process.returncode == 1
    assert named in complaint.decode()
    assert "Traceback" not in complaint.decode()


async def test_a_busy_port_is_a_readable_message() -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        process = await start(PORT=str(port))
        _, complaint = await process.communicate()
    assert process.returncode == 1
    assert f"127.0.0.1:{port}" in complaint.decode()
    assert "Traceback" not in complaint.decode()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_requests_finish_and_ends_event_streams(number: signal.Signals) -> None:
    async with services(1) as (service,):
        asked, go = asyncio.Event(), asyncio.Event()

        async def behave(request: Request, writer: asyncio.StreamWriter) -> bool | None:
            if request.target == "/events":
                writer.write(answer(200, b"data: 1\n\n", "Content-Type: text/event-stream", length=False))
                await writer.drain()
                await request.gone()
                return True
            asked.set()
            await go.wait()
            writer.write(answer(200, b'{"late":true}'))
            return None

        service.behave = behave
        async with running(service) as (process, client), client.stream("GET", "/events") as events:
            pieces = events.aiter_bytes()
            assert await anext(pieces) == b"data: 1\n\n"
            slow = asyncio.create_task(client.post("/auth/login", json={}))
            await asyncio.wait_for(asked.wait(), SOON)
            process.send_signal(number)
            # The stream ends in order, which the client library would not believe of a cut-off one.
            assert [piece async for piece in pieces] == []
            go.set()
            response = await slow
            assert (response.status_code, response.json()) == (200, {"late": True})
            output, complaints = await asyncio.wait_for(process.communicate(), 10)
            assert process.returncode == 0
            assert complaints == b""
            lines = [json.loads(line) for line in output.splitlines()]
            served = {line["path"]: line for line in lines if line["logger"] == "api_gateway.access"}
            assert "/health" not in served
            assert served["/auth/login"]["status"] == 200
            assert served["/events"]["upstream"] == service.address


async def test_a_stop_does_not_wait_for_ever() -> None:
    async with services(1) as (service,):
        asked = asyncio.Event()

        async def never(request: Request, writer: asyncio.StreamWriter) -> bool:
            asked.set()
            await request.gone()
            return True

        service.behave = never
        async with running(service) as (process, client):
            slow = asyncio.create_task(client.post("/auth/login", json={}))
            await asyncio.wait_for(asked.wait(), SOON)
            started_at = time.monotonic()
            process.terminate()
            response = await slow
            assert (response.status_code, response.json()["error"]) == (503, "unavailable")
            output, _ = await process.communicate()
            assert process.returncode == 0
            assert time.monotonic() - started_at < 10
            assert b'"path":"/auth/login","status":503' in output, "the last log line is not lost"


async def test_health_checks_leave_no_line_in_the_log() -> None:
    async with services(1) as (service,), running(service) as (process, _):
        process.send_signal(signal.SIGTERM)
        output, _ = await process.communicate()
    assert b"Application startup complete" in output
    assert b"HTTP Request" not in output


async def test_what_it_refuses_before_there_is_a_request_is_shared_with_listed_sites() -> None:
    site = "https://game.example"
    async with services(1) as (service,), running(service, CORS_ORIGINS=site) as (_, client):
        for origin, allowed in ((site, site), ("https://evil.example", None)):
            refused = await client.get("/top", headers={"Origin": origin, "X-Long": "x" * 70_000})
            assert refused.status_code == 431
            assert refused.headers.get("access-control-allow-origin") == allowed
            assert refused.headers["vary"] == "Origin"
