"""Test CORS at a gateway and at a service: pages of listed sites read every answer, others none."""

from __future__ import annotations

import httpx

from leaderboard_core.calls import CALLS
from leaderboard_core.http.cross_origin import ANSWER_HEADERS
from tests.conftest import Start
from tests.integration.api_gateway.support import bearer, gateway, says, services

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
