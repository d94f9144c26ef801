"""A call that is declared once is known to a service, a gateway, NGINX' template and the metrics of both."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from fastapi import APIRouter
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from leaderboard_cli.cluster.nginx_locations import locations
from leaderboard_core.calls import CALLS, Call, CallTable, Repeat
from leaderboard_core.http.application import Application
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_core.settings import ProcessSettings, load
from leaderboard_core.telemetry.request_metrics import RequestMetrics
from tests.integration.api_gateway.support import Service, bearer, gateway, hang_up, says, services
from tests.support.serving import serving

GREET = Call("POST", "/greet/{name}", token=True, repeat=Repeat.WITH_KEY, largest_body=64)
LOOK_UP = Call("POST", "/look-up", repeat=Repeat.ALWAYS)
WATCH = Call("GET", "/watch", repeat=Repeat.ALWAYS, streams=True)
TABLE = CallTable((*CALLS, GREET, LOOK_UP, WATCH))


class Greeting(BaseModel):
    words: str


router = APIRouter(route_class=CompiledRoute)


@router.post(GREET.path)
async def greet(name: str, body: Greeting) -> dict[str, str]:
    return {"said": f"{body.words}, {name}"}


@asynccontextmanager
async def scratch_service(registry: CollectorRegistry) -> AsyncIterator[str]:
    @asynccontextmanager
    async def lifespan(_: Application) -> AsyncIterator[dict[str, Any]]:
        yield {}

    app = Application(
        process=load(ProcessSettings, {"ACCESS_LOG": "false"}),
        name="scratch",
        metrics=RequestMetrics("scratch_requests", "scratch_seconds", (1,), registry),
        lifespan=lifespan,
        calls=TABLE,
    )
    app.include_router(router)
    async with serving(app) as (_, port):
        yield f"http://127.0.0.1:{port}"


async def test_a_call_goes_through_gateway_and_service() -> None:
    registry = CollectorRegistry()
    async with scratch_service(registry) as url, gateway(url, calls=TABLE) as gate:
        answer = await gate.post("/greet/alice", json={"words": "hello"}, headers=bearer())
        assert (answer.status_code, answer.json()) == (200, {"said": "hello, alice"})
        labels = {"method": "POST", "route": "/greet/{name}", "status": "200"}
        assert gate.metric("gateway_requests_total", **labels) == 1
        assert registry.get_sample_value("scratch_requests_total", labels) == 1


async def test_the_gateway_asks_for_its_token() -> None:
    async with services(1) as (service,), gateway(service, calls=TABLE) as gate:
        answer = await gate.post("/greet/alice", json={"words": "hello"})
        assert (answer.status_code, answer.json()["error"], service.requests) == (401, "missing_token", [])
        assert (await gate.post("/look-up", json={})).status_code == 200


async def test_its_largest_body_holds_at_the_gateway_and_at_the_service() -> None:
    body = {"words": "x" * 64}
    async with scratch_service(CollectorRegistry()) as url, gateway(url, calls=TABLE) as gate:
        for address in ("/greet/alice", f"{url}/greet/alice"):
            answer = await gate.post(address, json=body, headers=bearer())
            assert (answer.status_code, answer.json()["error"]) == (413, "payload_too_large"), address


@pytest.mark.parametrize(
    ("path", "key", "status"), [("/greet/a", None, 502), ("/greet/a", "k", 200), ("/look-up", None, 200)]
)
async def test_it_is_repeated_as_declared(path: str, key: str | None, status: int) -> None:
    headers = bearer() | ({"Idempotency-Key": key} if key else {})
    async with services(2) as (broken, good), gateway(broken, good, calls=TABLE) as gate:
        broken.behave, good.behave = hang_up, says(200)
        assert await turn_of(broken, gate.parts.upstreams)
        answer = await gate.post(path, json={"words": "hello"}, headers=headers)
        assert (answer.status_code, len(good.requests)) == (status, int(status == 200))


async def turn_of(service: Service, pool: Any) -> bool:
    """Let the next request go to that service."""
    return any(pool.pick().address != service.address for _ in range(len(pool)))


def test_nginx_treats_it_as_declared() -> None:
    made = locations(TABLE)
    blocks = {block.split(" {")[0].strip(): block for block in made.split("\n\n")}
    assert "proxy_buffering off;" in blocks["location = /watch"]
    assert "non_idempotent" in blocks["location = /look-up"]
    assert "client_max_body_size 64;" in blocks["location ~ ^/greet/[^/]+$"]
    assert "return 418;" in blocks["location ~ ^/greet/[^/]+$"], "a write with a key goes on to @repeatable"
    assert made.startswith(locations(CALLS)), "what was there before stays"
