"""What crosses the gateway, both ways, over real connections."""

from __future__ import annotations

import asyncio
import gzip
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from ipaddress import ip_network

import pytest

from tests.integration.api_gateway.support import SOON, Request, answer, bearer, gateway, says, services
from tests.support.waiting import eventually


async def test_nine_requests_reach_each_of_three_services_three_times() -> None:
    async with services(3) as three, gateway(*three) as gate:
        served = [(await gate.get("/top")).headers["x-upstream-addr"] for _ in range(9)]
        assert Counter(served) == {service.address: 3 for service in three}
        assert served[:3] == served[3:6] == served[6:]


async def test_a_request_arrives_as_it_was_sent() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        target = "/rank/%E7%8E%8B%2F..%2fx//y?region=ASIA&q=%20a+b&&x"
        body = b'{"delta": 1}'
        head = (
            f"PUT {target} HTTP/1.1\r\nHost: play.example\r\nX-Two: 1\r\nX-Two: 2\r\nX-Utf: \u738b\r\n"
            f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        )
        assert b" 200 " in await gate.raw(head.encode() + body)
        [request] = service.requests
        assert (request.method, request.target, request.body) == ("PUT", target, body)
        assert request.get("host") == "play.example"
        assert request.all("x-two") == ["1", "2"]
        assert request.get("x-utf").encode("latin-1").decode() == "\u738b"  # type: ignore[union-attr]
        for added in ("accept", "accept-encoding", "user-agent", "content-type", "cookie", "expect"):
            assert request.get(added) is None, added


async def test_hop_by_hop_headers_end_here() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        service.behave = says(
            200, b"{}", "Connection: keep-alive, X-Private", "X-Private: 1", "Keep-Alive: timeout=9", "Trailer: X",
            "Upgrade: h2c", "Proxy-Authenticate: Basic", "X-Kept: yes", "Server: s", "Date: d",
        )  # fmt: skip
        response = await gate.get(
            "/top",
            headers={
                "Connection": "X-Mine, keep-alive", "X-Mine": "1", "TE": "trailers", "Keep-Alive": "1",
                "Proxy-Authorization": "x", "Upgrade": "h2c", "X-Kept": "yes", "Trailer": "X",
            },
        )  # fmt: skip
        [request] = service.requests
        gone = ("x-mine", "te", "keep-alive", "proxy-authorization", "upgrade", "trailer", "connection")
        assert [name for name in gone if request.get(name) is not None] == []
        assert request.get("x-kept") == "yes"
        gone = ("x-private", "keep-alive", "trailer", "upgrade", "proxy-authenticate", "connection", "server")
        assert [name for name in gone if name in response.headers] == []
        assert response.headers["x-kept"] == "yes"
        assert response.headers["date"] != "d"
        assert len(response.headers.get_list("date")) == 1


async def test_forwarding_headers() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        await gate.get("/top")
        await gate.get("/top", headers={"X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https"})
        first, second = service.requests
        assert (first.get("x-forwarded-for"), first.get("x-forwarded-proto")) == ("127.0.0.1", "http")
        assert (second.get("x-forwarded-for"), second.get("x-forwarded-proto")) == ("9.9.9.9, 127.0.0.1", "https")


async def test_a_stranger_cannot_say_who_it_is() -> None:
    told = {
        "X-Forwarded-For": "9.9.9.9", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "a.example",
        "X-Real-IP": "9.9.9.9", "Forwarded": "for=9.9.9.9",
    }  # fmt: skip
    async with services(1) as (service,), gateway(service, process={"TRUSTED_PROXIES": "10.0.0.0/8"}) as gate:
        await gate.get("/top", headers=told)
        [request] = service.requests
        assert (request.get("x-forwarded-for"), request.get("x-forwarded-proto")) == ("127.0.0.1", "http")
        assert [request.get(name) for name in ("x-forwarded-host", "x-real-ip", "forwarded")] == [None] * 3
    async with services(1) as (service,), gateway(service) as gate:
        await gate.get("/top", headers=told)
        [request] = service.requests
        assert request.get("x-forwarded-for") == "9.9.9.9, 127.0.0.1", "loopback is trusted by default"
        assert (request.get("x-forwarded-host"), request.get("x-real-ip")) == ("a.example", "9.9.9.9")


async def test_a_page_of_another_site_changes_nothing() -> None:
    listed = {"CORS_ORIGINS": "https://game.example, https://other.example/"}
    async with services(1) as (service,), gateway(service, process=listed) as gate:
        for origin in ("https://evil.example", "null", f"http://localhost:{gate.port}"):
            for method, path in (("POST", "/auth/register"), ("DELETE", "/users/alice"), ("POST", "/score")):
                headers = {"Origin": origin, "Content-Type": "text/plain", **bearer()}
                refused = await gate.request(method, path, headers=headers)
                assert (refused.status_code, refused.json()["error"]) == (403, "forbidden_origin")
            assert (await gate.get("/top", headers={"Origin": origin})).status_code == 200
            assert (await gate.post("/ranks", headers={"Origin": origin})).status_code == 200, "a read with a body"
        assert {request.method + request.target for request in service.requests} == {"GET/top", "POST/ranks"}
        for origin in ("https://game.example", f"https://127.0.0.1:{gate.port}"):
            assert (await gate.post("/auth/register", headers={"Origin": origin})).status_code == 200


async def test_only_operators_see_metrics_state_and_addresses() -> None:
    strange, spoofed = {"X-Forwarded-For": "203.0.113.9"}, {"X-Forwarded-For": "127.0.0.1, 203.0.113.9"}
    unknown = {"X-Forwarded-For": "unix:"}
    async with services(1) as (service,), gateway(service) as gate:
        for headers in ({}, {"X-Forwarded-For": "127.0.0.2"}):
            assert [(await gate.get(path, headers=headers)).status_code for path in ("/metrics", "/status")] == [
                200
            ] * 2
            assert (await gate.get("/top", headers=headers)).headers["x-upstream-addr"] == service.address
            assert (await gate.get("/health", headers=headers)).json()["upstreams"][0]["url"] == service.url
        for headers in (strange, spoofed, unknown):
            for path in ("/metrics", "/status"):
                refused = await gate.get(path, headers=headers)
                assert (refused.status_code, refused.json()["error"]) == (403, "forbidden")
            assert "x-upstream-addr" not in (await gate.get("/top", headers=headers)).headers
            health = await gate.get("/health", headers=headers)
            assert (health.status_code, health.json()["ok"]) == (200, True)
            assert service.address not in health.text
    far = (ip_network("10.0.0.0/8"),)
    async with services(1) as (service,), gateway(service, status_allow=far) as gate:
        assert (await gate.get("/status")).status_code == 403
        assert (await gate.get("/status", headers={"X-Forwarded-For": "10.1.1.1"})).status_code == 200
    nobody = {"TRUSTED_PROXIES": "192.0.2.1"}
    async with services(1) as (service,), gateway(service, status_allow=far, process=nobody) as gate:
        assert (await gate.get("/status", headers={"X-Forwarded-For": "10.1.1.1"})).status_code == 403


@pytest.mark.parametrize(("sent", "kept"), [("abc-1", True), ("x" * 128, True), ("x" * 129, False), ("a b", False)])
async def test_request_id_is_taken_or_made(sent: str, kept: bool) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        service.behave = says(200, b"{}", "X-Request-ID: of-the-service", "X-Upstream-Addr: of-the-service")
        response = await gate.get("/top", headers={"X-Request-ID": sent})
        assert response.headers.get_list("x-request-id") == [service.requests[0].get("x-request-id")]
        assert (response.headers["x-request-id"] == sent) is kept
        assert len(response.headers["x-request-id"]) >= 5
        assert response.headers.get_list("x-upstream-addr") == [service.address]


async def test_an_answer_comes_back_as_it_was_given() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        packed = gzip.compress(b'{"rows":[]}')
        service.behave = says(
            302,
            packed,
            "Content-Encoding: gzip",
            "Location: http://127.0.0.1:1/x",
            "Set-Cookie: a=1",
            "Set-Cookie: b=2",
        )
        response = await gate.get("/top")
        assert response.status_code == 302, "a redirect is the client's to follow"
        assert response.headers["location"] == "http://127.0.0.1:1/x"
        assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
        assert response.headers["content-length"] == str(len(packed))
        assert response.content == b'{"rows":[]}'
        gate.client.cookies.clear()
        await gate.get("/top")
        assert service.requests[1].get("cookie") is None, "the gateway keeps no cookies"


async def test_answers_without_a_body_keep_the_connection_in_step() -> None:
    async with services(1) as (service,), gateway(service) as gate:

        async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
            writer.write(
                {
                    "/head": answer(200, b"", "Content-Length: 4321", length=False),
                    "/204": answer(204, b"", length=False),
                    "/304": answer(304, b"", "Content-Length: 99", 'ETag: "x"', length=False),
                    "/empty": answer(200, b""),
                    "/chunked": answer(200, b"3\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked", length=False),
                    "/head-chunked": answer(200, b"", "Transfer-Encoding: chunked", length=False),
                    "/last": answer(200, b"last"),
                }[request.target]
            )

        service.behave = behave
        reader, writer = await gate.connect()
        for method, target in (
            ("HEAD", "/head"), ("GET", "/204"), ("GET", "/304"), ("GET", "/empty"), ("GET", "/chunked"),
            ("HEAD", "/head-chunked"), ("GET", "/last"),
        ):  # fmt: skip
            closing = "Connection: close\r\n" if target == "/last" else ""
            writer.write(f"{method} {target} HTTP/1.1\r\nHost: h\r\n{closing}\r\n".encode())
        heard = await asyncio.wait_for(reader.read(), SOON)
        writer.close()
        statuses = re.findall(rb"HTTP/1.1 (\d+) ", heard)
        assert statuses == [b"200", b"204", b"304", b"200", b"200", b"200", b"200"]
        assert b"content-length: 4321" in heard
        assert b"content-length: 99" not in heard
        assert heard.endswith(b"last")


async def test_a_chunked_request_is_passed_on_whole() -> None:
    async with services(1) as (service,), gateway(service) as gate:

        async def pieces() -> AsyncIterator[bytes]:
            for number in range(50):
                yield b"%02d" % number * 100

        await gate.post("/auth/login", content=pieces())
        [request] = service.requests
        assert len(request.body) == 10_000
        assert request.get("content-length") == "10000"


@pytest.mark.parametrize("chunked", [True, False])
async def test_a_large_answer_is_streamed(chunked: bool) -> None:
    async with services(1) as (service,), gateway(service) as gate:
        piece, count, seen = b"x" * 65_536, 64, asyncio.Event()

        async def behave(request: Request, writer: asyncio.StreamWriter) -> None:
            header = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(piece) * count}"
            writer.write(answer(200, b"", header, length=False))
            for number in range(count):
                writer.write(b"10000\r\n" + piece + b"\r\n" if chunked else piece)
                await writer.drain()
                if number == 0:
                    await asyncio.wait_for(seen.wait(), SOON)
            if chunked:
                writer.write(b"0\r\n\r\n")

        service.behave = behave
        size = 0
        async with gate.client.stream("GET", "/top") as response:
            async for part in response.aiter_bytes():
                assert part == b"x" * len(part)
                size += len(part)
                seen.set()
        assert size == len(piece) * count
        assert (await gate.get("/health")).status_code == 200


async def test_events_come_one_by_one_and_end_with_the_client() -> None:
    async with services(1) as (service,), gateway(service, upstream_timeout_seconds=0.2) as gate:
        go, left = asyncio.Event(), asyncio.Event()

        async def behave(request: Request, writer: asyncio.StreamWriter) -> bool:
            writer.write(answer(200, b"", "Content-Type: text/event-stream", length=False))
            for number in range(3):
                writer.write(b"data: %d\n\n" % number)
                await asyncio.wait_for(go.wait(), SOON)
                go.clear()
            # Silent for longer than the limit between the pieces of an ordinary answer.
            await asyncio.sleep(0.5)
            writer.write(b"data: late\n\n")
            await asyncio.wait_for(request.gone(), SOON)
            left.set()
            return True

        service.behave = behave
        async with gate.client.stream("GET", "/events") as response:
            events = []
            async for text in response.aiter_text():
                events += text.split("\n\n")[:-1]
                go.set()
                if len(events) == 4:
                    break
        assert events == ["data: 0", "data: 1", "data: 2", "data: late"]
        await asyncio.wait_for(left.wait(), SOON)
        await eventually(lambda: not service.open_connections, "the end of the upstream request")
        gate.app.access_log.flush()
        assert b'"note":"the client left"' in b"".join(gate.log)


async def test_connections_to_a_service_are_kept() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        before = service.connections
        for _ in range(10):
            assert (await gate.get("/top")).status_code == 200
        assert service.connections == before + 1


async def test_the_access_log_and_the_counters_tell_what_happened() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        await gate.get("/rank/alice?region=ASIA", headers={"X-Request-ID": "id-1"})
        await gate.post("/score/add", json={"delta": 1})
        gate.app.access_log.flush()
        first, second = (json.loads(line) for line in b"".join(gate.log).splitlines())
        assert first.items() >= {
            "request_id": "id-1", "method": "GET", "path": "/rank/alice", "status": 200,
            "upstream": service.address, "retries": 0, "level": "INFO", "process": "api_gateway-4000",
        }.items()  # fmt: skip
        assert 0 < first["ms"] < 5000
        assert second.items() >= {"status": 401, "upstream": None, "note": "missing_token"}.items()
        page = (await gate.get("/metrics")).text
        assert 'gateway_requests_total{method="GET",route="/rank/{user_id}",status="200"} 1.0' in page
        assert 'gateway_request_seconds_count{route="/rank/{user_id}"} 1.0' in page
        assert f'gateway_upstream_requests_total{{outcome="200",upstream="{service.address}"}} 1.0' in page
        assert f'gateway_upstream_seconds_count{{upstream="{service.address}"}} 1.0' in page
        assert f'gateway_upstream_healthy{{upstream="{service.address}"}} 1.0' in page


async def test_a_score_write_with_a_token_goes_through() -> None:
    async with services(1) as (service,), gateway(service) as gate:
        headers = bearer()
        assert (await gate.post("/score/add", json={"delta": 1}, headers=headers)).status_code == 200
        assert service.requests[0].get("authorization") == headers["Authorization"]
