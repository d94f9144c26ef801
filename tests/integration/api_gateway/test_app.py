"""What the gateway answers itself: tokens, limits, its own pages, and what is not HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, MutableMapping
from typing import Any

import httpx
import jwt
import pytest

from api_gateway.app import create_app
from api_gateway.upstream.health import HealthMonitor
from leaderboard_service.system.schemas import Health
from tests.integration.api_gateway.support import (
    SECRET,
    SOON,
    bearer,
    gateway,
    refusing_port,
    services,
    settings,
)
from tests.support.waiting import eventually

CLAIMS = {"user_id": "alice", "name": "Alice", "region": "ASIA"}


def is_envelope(response: httpx.Response, status: int, code: str) -> bool:
    body = response.json()
    return (
        (response.status_code, body["error"]) == (status, code)
        and bool(body["message"])
        and response.headers["content-type"] == "application/json"
        and bool(response.headers["x-request-id"])
    )


def _token(key: str = SECRET, algorithm: str = "HS256", **claims: object) -> str:
    return jwt.encode({**CLAIMS, "exp": int(time.time()) + 60, **claims}, key, algorithm=algorithm)


BAD_TOKENS = {
    "absent": (None, "missing_token"),
    "empty": ("", "missing_token"),
    "not bearer": ("Basic YTpi", "missing_token"),
    "nonsense": ("Bearer nonsense", "invalid_token"),
    "expired": (f"Bearer {_token(exp=1)}", "invalid_token"),
    "other key": (f"Bearer {_token('k' * 40)}", "invalid_token"),
    "other algorithm": (f"Bearer {_token(SECRET * 2, 'HS512')}", "invalid_token"),
    "alg none": (f"Bearer {jwt.encode({**CLAIMS, 'exp': 9e9}, None, algorithm='none')}", "invalid_token"),
    "no exp": (f"Bearer {jwt.encode(CLAIMS, SECRET)}", "invalid_token"),
}


@pytest.mark.parametrize("case", BAD_TOKENS)
@pytest.mark.parametrize("path", ["/score", "/score/add", "/%73core/add", "/scores"])
async def test_no_score_request_passes_without_a_good_token(case: str, path: str) -> None:
    authorization, code = BAD_TOKENS[case]
    async with services(1) as (service,), gateway(service) as gate:
        headers = {} if authorization is None else {"Authorization": authorization}
        response = await gate.post(path, json={"delta": 1}, headers=headers)
        assert is_envelope(response, 401, code)
        assert service.requests == []


async def test_other_paths_need_no_token() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        for path in ("/top", "/scoreboard", "/auth/login", "/nothing"):
            assert (await gate.get(path)).status_code == 200
        assert (await gate.options("/score/add")).status_code == 200
        assert len(service.requests) == 5


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_413_and_goes_nowhere(chunked: bool) -> None:
    async with services(1) as (service,), gateway(service, max_body_bytes=65_536) as gate:

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(32):
                yield b"x" * 65_536

        content = pieces() if chunked else b"x" * 2**21
        response = await gate.post("/scores", content=content, headers=bearer())
        assert is_envelope(response, 413, "payload_too_large")
        assert service.requests == []
        assert (await gate.post("/scores", content=b"x" * 65_536, headers=bearer())).status_code == 200
        assert len(service.requests[0].body) == 65_536


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize(("call", "largest"), [("/auth/register", 30_000), ("/score/add", 20_000), ("/ranks", 600_000)])
async def test_a_call_takes_no_more_than_it_can_need(call: str, largest: int, chunked: bool) -> None:
    async with services(1) as (service,), gateway(service, max_body_bytes=2**20) as gate:

        async def pieces() -> AsyncIterator[bytes]:
            for _ in range(largest // 1000):
                yield b"x" * 1000

        content = pieces() if chunked else b"x" * largest
        assert is_envelope(await gate.post(call, content=content, headers=bearer()), 413, "payload_too_large")
        assert service.requests == []


async def test_a_declared_length_is_refused_before_the_body_is_sent() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        reader, writer = await gate.connect()
        writer.write(b"POST /auth/login HTTP/1.1\r\nHost: h\r\nContent-Length: 999999999\r\n\r\n")
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
        assert b" 413 " in head
        assert b"connection: close" in head
        writer.close()


async def test_a_limit_over_a_mebibyte_works_too() -> None:
    async with services(1) as (service,), gateway(service, max_body_bytes=2**22) as gate:
        body = bytes(range(256)) * 2**13
        assert (await gate.post("/scores", content=body, headers=bearer())).status_code == 200
        assert service.requests[0].body == body
        assert service.requests[0].get("content-length") == str(len(body))


async def test_a_body_that_does_not_come_is_408() -> None:
    async with services(1) as (service,), gateway(service, client_timeout_seconds=0.1) as gate:
        heard = await gate.raw(b"POST /auth/login HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
        assert heard.startswith(b"HTTP/1.1 408 ")
        assert b'"error":"request_timeout"' in heard
        assert service.requests == []


async def test_a_client_that_leaves_amid_its_body_reaches_no_service() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        _, writer = await gate.connect()
        writer.write(b"POST /auth/login HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nhalf")
        await writer.drain()
        await eventually(lambda: len(gate.server.server_state.tasks) == 1, "the request")
        writer.close()
        label = {"method": "POST", "route": "/auth/login", "status": "499"}
        await eventually(lambda: gate.metric("gateway_requests_total", **label) == 1, "the end of the request")
        assert service.requests == []


async def test_expect_100_continue_is_answered_here() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        reader, writer = await gate.connect()
        writer.write(b"POST /auth/login HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        assert b" 100 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
        writer.write(b"{}")
        assert b" 200 " in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), SOON)
        writer.close()
        assert service.requests[0].get("expect") is None
        assert service.requests[0].body == b"{}"


async def test_what_is_not_http_gets_the_envelope() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        heard = await gate.raw(b"HELLO\r\n\r\n")
        assert heard.startswith(b"HTTP/1.1 400 ")
        assert b'"error":"bad_request"' in heard


async def test_a_websocket_is_refused() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        heard = await gate.raw(
            b"GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert b" 101 " not in heard
        sent: list[MutableMapping[str, Any]] = []

        async def receive() -> dict[str, object]:
            return {"type": "websocket.connect"}

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        await gate.app({"type": "websocket", "path": "/ws", "headers": []}, receive, send)
        assert [message["type"] for message in sent] == ["websocket.close"]


async def test_health_page_shows_every_upstream() -> None:
    with refusing_port() as port:
        async with services(1) as (service,), gateway(service, f"http://127.0.0.1:{port}") as gate:
            response = await gate.get("/health")
            page = response.json()
            assert (response.status_code, page["ok"]) == (200, True)
            assert [(one["url"], one["healthy"]) for one in page["upstreams"]] == [
                (service.url, True),
                (f"http://127.0.0.1:{port}", False),
            ]
            assert page["upstreams"][1]["last_error"]
        async with gateway(f"http://127.0.0.1:{port}") as gate:
            response = await gate.get("/health")
            assert (response.status_code, response.json()["ok"]) == (503, False)


async def test_the_health_page_is_as_the_api_describes_it() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        for headers in ({}, {"X-Forwarded-For": "203.0.113.9"}):
            page = (await gate.get("/health", headers=headers)).json()
            Health.model_validate(page)
            assert page.keys() <= Health.model_fields.keys()


async def test_own_pages_take_get_and_head_only() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        for path in ("/health", "/metrics"):
            response = await gate.post(path)
            assert is_envelope(response, 405, "method_not_allowed")
            assert response.headers["allow"] == "GET, HEAD"
            head = await gate.head(path)
            assert (head.status_code, head.content) == (200, b"")
        assert service.requests == []


async def test_an_idle_connection_survives_the_start_of_a_stop() -> None:
    """Whoever keeps connections to us must not lose a POST because it was written as we closed."""
    async with services(1) as (service,), gateway(service) as gate:
        request = b"POST /auth/login HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}"
        reader, writer = await gate.connect()
        writer.write(request)
        assert b"connection: close" not in await asyncio.wait_for(reader.readuntil(b"\r\n\r\n{}"), SOON)
        gate.server.should_exit = True
        await eventually(gate.parts.proxy.stopping.is_set, "the stop")
        with pytest.raises(ConnectionRefusedError):
            await gate.connect()
        writer.write(request)
        heard = await asyncio.wait_for(reader.read(), SOON)
        assert heard.startswith(b"HTTP/1.1 200 ")
        assert b"connection: close" in heard
        writer.close()


async def test_a_defect_of_ours_is_a_500_without_a_stack_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    async with services(1) as (service,), gateway(service) as gate:

        async def broken(*_: object) -> None:
            raise ZeroDivisionError("a secret")

        monkeypatch.setattr(gate.app, "fallback", broken)
        response = await gate.get("/top", headers=bearer())
        assert is_envelope(response, 500, "internal_error")
        assert "secret" not in response.text


async def test_a_lifespan_that_cannot_start_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    app = create_app(settings(["http://127.0.0.1:1"]))

    async def broken(_: HealthMonitor) -> None:
        raise OSError("no sockets left")

    monkeypatch.setattr(HealthMonitor, "start", broken)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, object]:
        return {"type": "lifespan.startup"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(dict(message))

    with pytest.raises(OSError, match="no sockets left"):
        await app({"type": "lifespan", "state": {}}, receive, send)
    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "no sockets left" in sent[0]["message"]
