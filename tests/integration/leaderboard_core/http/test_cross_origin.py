"""Test CORS at a gateway and at a service: pages of listed sites read every answer, others none."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from leaderboard_core.calls import CALLS
from leaderboard_core.http.cross_origin import ANSWER_HEADERS, CrossOrigin
from leaderboard_core.http.heads import MAX_HEAD_BYTES
from tests.conftest import Start
from tests.integration.api_gateway.support import bearer, gateway, says, services
from tests.integration.leaderboard_core.http.support import SOON, Echo, echo, request

GAME, EVIL = "https://game.example", "https://evil.example"
LISTED = {"CORS_ORIGINS": f"{GAME},http://localhost:3000"}
ALLOW = "access-control-allow-origin"


def shared(answer: httpx.Response, origin: str = GAME) -> bool:
    """Tell whether a browser gives an answer to a page; half an answer is a failure."""
    names = [name for name in answer.headers if name.startswith("access-control-")]
    if not names:
        return False
    assert answer.headers.get_list(ALLOW) == [origin]
    assert answer.headers["vary"].split(", ").count("Origin") == 1, answer.headers["vary"]
    exposed = answer.headers.get_list("access-control-expose-headers")
    assert exposed == [", ".join(ANSWER_HEADERS)]
    assert len(answer.headers.get_list("x-request-id")) == 1
    return True


def asks(verb: str, origin: str = GAME) -> dict[str, str]:
    return {
        "Origin": origin,
        "Access-Control-Request-Method": verb,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }


def check_preflight(answer: httpx.Response, *verbs: str) -> None:
    assert (answer.status_code, answer.content) == (204, b"")
    assert shared(answer)
    assert answer.headers["access-control-allow-methods"] == ", ".join(sorted(verbs))
    allowed = answer.headers["access-control-allow-headers"].lower().split(", ")
    for name in ("authorization", "content-type", "idempotency-key", "last-event-id", "traceparent", "x-request-id"):
        assert name in allowed
    assert 600 <= int(answer.headers["access-control-max-age"]) <= 86_400
    assert "content-length" not in answer.headers


async def test_a_gateway_shares_with_listed_origins_whatever_it_answers() -> None:
    async with services(1) as (service,), gateway(service, process=LISTED) as gate:
        service.behave = says(200, b"{}", f"{ALLOW}: {GAME}", "Vary: Origin", "Access-Control-Expose-Headers: x")
        for origin in (GAME, "http://localhost:3000"):
            assert shared(await gate.get("/top", headers={"Origin": origin}), origin)
        answered = await gate.get("/health", headers={"Origin": GAME})
        assert answered.status_code == 200
        assert shared(answered)
        for status, method, path, headers, body in (
            (401, "POST", "/score", {}, b"{}"),
            (403, "GET", "/status", {"X-Forwarded-For": "203.0.113.9"}, b""),
            (405, "POST", "/health", {}, b""),
            (413, "POST", "/score", bearer(), b"x" * 70_000),
        ):
            refused = await gate.request(method, path, headers={"Origin": GAME, **headers}, content=body)
            assert (refused.status_code, shared(refused)) == (status, True)
        service.behave = says(429, b"{}", "Retry-After: 1")
        assert shared(await gate.post("/score", headers={"Origin": GAME, **bearer()}))
        await service.kill()
        away = await gate.get("/top", headers={"Origin": GAME})
        assert (away.status_code, shared(away)) == (503, True)
        check_preflight(await gate.options("/score", headers=asks("POST")), "POST")


async def test_a_gateway_shares_nothing_with_others() -> None:
    async with services(1) as (service,), gateway(service, process=LISTED) as gate:
        for origin in (EVIL, "null", GAME.upper(), f"{GAME}.evil.example", f"http://127.0.0.1:{gate.port}"):
            for answer in (
                await gate.get("/top", headers={"Origin": origin}),
                await gate.get("/health", headers={"Origin": origin}),
                await gate.post("/score", headers={"Origin": origin}),
                await gate.options("/score", headers=asks("POST", origin)),
            ):
                assert not shared(answer)
        assert not shared(await gate.get("/health"))
        assert (await gate.get("/health")).headers["vary"] == "Origin", "a cache keeps it for nobody else"
    async with services(1) as (service,), gateway(service) as gate:
        for answer in (await gate.get("/health", headers={"Origin": GAME}), await gate.options("/health")):
            assert not shared(answer)
            assert "vary" not in answer.headers


async def test_a_preflight_names_the_verbs_of_its_path() -> None:
    async with services(1) as (service,), gateway(service, process=LISTED) as gate:
        for path in {call.path for call in CALLS}:
            verbs = {call.method for call in CALLS if call.path == path}
            verbs |= {"HEAD"} if "GET" in verbs else set()
            target = path.replace("{user_id}", "alice")
            check_preflight(await gate.options(target, headers=asks("PUT")), *verbs)
        assert service.requests == [], "the gateway needs no service to answer that"
        gate.app.access_log.flush()
        assert b'"method":"OPTIONS"' in b"".join(gate.log)
        assert gate.metric("gateway_requests_total", method="OPTIONS", route="/top", status="204") == 1
        assert shared(await gate.options("/openapi.json", headers=asks("GET"))), "its service knows the verbs"
        assert [request.target for request in service.requests] == ["/openapi.json"]
        await gate.options("/top", headers={"Origin": GAME})
        assert service.requests[-1].target == "/top", "no preflight"


async def test_a_stream_is_shared_and_ends_as_any_other() -> None:
    async with services(1) as (service,), gateway(service, process=LISTED) as gate:
        events = b"event: snapshot\ndata: {}\n\n"
        service.behave = says(200, events, "Content-Type: text/event-stream")
        answered = await gate.get("/stream/top", headers={"Origin": GAME})
        assert (answered.content, shared(answered)) == (events, True)


async def test_a_service_asked_directly_shares_the_same(start: Start) -> None:
    api = await start(CORS_ORIGINS=LISTED["CORS_ORIGINS"])
    calls = ((200, "GET", "/top"), (401, "POST", "/score"), (404, "GET", "/no"), (200, "GET", "/docs"))
    for status, method, path in calls:
        answered = await api.http.request(method, path, headers={"Origin": GAME})
        assert (answered.status_code, shared(answered)) == (status, True)
        assert not shared(await api.http.request(method, path, headers={"Origin": EVIL}))
    check_preflight(await api.http.options("/users/alice", headers=asks("DELETE")), "DELETE", "GET", "HEAD")
    check_preflight(await api.http.options("/openapi.json", headers=asks("GET")), "GET", "HEAD")


LONG = "x" * MAX_HEAD_BYTES
START = "Origin: {origin}\r\nHost: h\r\n"
CHUNKED = "POST /a HTTP/1.1\r\n" + START + "Transfer-Encoding: chunked\r\n\r\n"


def parsed(said: bytes) -> httpx.Response:
    """The last answer of a connection."""
    head, _, body = said[said.rindex(b"HTTP/1.1 ") :].partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    headers = [(name, value) for name, _, value in (each.partition(b": ") for each in lines)]
    return httpx.Response(int(line.split()[1]), headers=headers, content=body)


@pytest.mark.parametrize(
    ("status", "sent"),
    [
        (400, "GET /a HTTP/1.1\r\n" + START + "no header\r\n\r\n"),
        (400, "GET /a HTTP/1.1\r\n" + START + "Host: another\r\n\r\n"),
        (400, "CONNECT a:1 HTTP/1.1\r\n" + START + "\r\n"),
        (400, CHUNKED + "no length\r\n"),
        (431, "GET /a HTTP/1.1\r\n" + START + f"X: {LONG}\r\n\r\n"),
        (431, "GET /a HTTP/1.1\r\n" + START + "X: 1\r\n" * 100 + "\r\n"),
        (431, CHUNKED + "1;" + LONG * 2),
        (414, f"GET /{LONG} HTTP/1.1\r\n" + START + "\r\n"),
        (501, "POST /a HTTP/1.1\r\n" + START + "Transfer-Encoding: gzip, chunked\r\n\r\n"),
    ],
)
@pytest.mark.parametrize("before", [b"", request("/a")], ids=["first", "second"])
async def test_what_never_becomes_a_request_is_shared_too(status: int, sent: str, before: bytes) -> None:
    async with echo(CrossOrigin(Echo(), [GAME])) as server:
        for origin in (GAME, EVIL):
            refused = parsed(await server.talk(before + sent.format(origin=origin).encode()))
            assert (refused.status_code, shared(refused)) == (status, origin == GAME)
            assert refused.json()["message"]
            assert refused.headers["vary"] == "Origin"


async def test_a_head_that_comes_too_late_is_shared_when_its_origin_has_come() -> None:
    async with echo(CrossOrigin(Echo(), [GAME])) as server:
        server.server.head_seconds = 0.2
        for end in ("\r\nX: ", ""):  # without an end of its line it may go on with .evil.example
            reader, writer = await server.connect()
            writer.write(f"GET /a HTTP/1.1\r\nHost: h\r\nOrigin: {GAME}{end}".encode())
            refused = parsed(await asyncio.wait_for(reader.read(), SOON))
            writer.close()
            assert (refused.status_code, shared(refused)) == (408, bool(end))


@pytest.mark.parametrize("sent", [f"Origin: {GAME}\r\n\r\n", f"GET /a HTTP/7.7\r\nOrigin: {GAME}\r\n\r\n"])
async def test_what_has_no_readable_origin_is_shared_with_nobody(sent: str) -> None:
    async with echo(CrossOrigin(Echo(), [GAME])) as server:
        assert not shared(parsed(await server.talk(sent.encode())))


async def test_an_origin_of_a_trailer_or_of_the_request_before_is_none() -> None:
    async with echo(CrossOrigin(Echo(), [GAME])) as server:
        trailers = CHUNKED.replace("Origin: {origin}\r\n", "") + f"0\r\nOrigin: {GAME}\r\nno trailer\r\n"
        before = request("/a", extra=f"Origin: {GAME}\r\n")
        blank = b"\r\n" * MAX_HEAD_BYTES
        for status, sent in ((400, trailers.encode()), (400, before + b"no request\r\n"), (431, before + blank)):
            refused = parsed(await server.talk(sent))
            assert (refused.status_code, shared(refused)) == (status, False)


async def test_without_listed_sites_a_refusal_says_nothing_of_them() -> None:
    async with echo() as server:
        refused = parsed(await server.talk(b"GET /a HTTP/1.1\r\n" + START.format(origin=GAME).encode() + b"no\r\n\r\n"))
        assert refused.status_code == 400
        assert not shared(refused)
        assert "vary" not in refused.headers
