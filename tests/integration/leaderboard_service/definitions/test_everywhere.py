"""Every score that is sent after a definition was answered goes by it: paused services, Redis away, restores."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_core.boards import Rules
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens
from tests.conftest import Start, admit
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.all_redis import AllRedis
from tests.support.process import Running, running
from tests.support.proxy import Proxy, proxy
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import working


@dataclass
class Replicas:
    """Three services as processes, and a client that speaks for an administrator and for alice."""

    services: list[Running]
    http: httpx.AsyncClient
    tokens: Tokens

    async def define(self, number: int, definition: dict[str, Any]) -> httpx.Response:
        token = self.tokens.issue("ops", "ops", "GLOBAL", role="admin")
        headers = {"Authorization": f"Bearer {token}"}
        return await self.http.put(f"{self.services[number].url}/boards/main", json=definition, headers=headers)

    async def add(self, number: int, delta: int = 1) -> httpx.Response:
        token = self.tokens.issue("alice", "alice", "EU", method="secret")
        headers = {"Authorization": f"Bearer {token}"}
        return await self.http.post(f"{self.services[number].url}/score/add", json={"delta": delta}, headers=headers)


@pytest.fixture
async def replicas(environ: dict[str, str], all_redis: AllRedis, databases: RegionDatabases) -> AsyncIterator[Replicas]:
    await admit(environ, databases)
    async with AsyncExitStack() as stack:
        services = [await stack.enter_async_context(running("leaderboard_service", environ)) for _ in range(3)]
        http = await stack.enter_async_context(httpx.AsyncClient(trust_env=False, timeout=20))
        yield Replicas(services, http, Tokens(load(AuthSettings, environ)))


@asynccontextmanager
async def paused(service: Running) -> AsyncIterator[None]:
    """Pause a process; it goes on at the end."""
    os.kill(service.process.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(service.process.pid, signal.SIGCONT)


async def test_a_service_that_was_paused_goes_by_the_rules_from_its_next_write_on(replicas: Replicas) -> None:
    card = {"user_id": "alice", "name": "alice", "region": "EU"}
    assert (await replicas.http.post(f"{replicas.services[2].url}/auth/register", json=card)).status_code == 201
    for number in range(3):
        assert (await replicas.add(number, 10)).status_code == 200
    async with paused(replicas.services[2]):
        defined = await replicas.define(0, {"open": False})
        assert (defined.status_code, defined.json()["version"]) == (200, 1)
        refused(await replicas.add(1), 409, "board_closed")
        waiting = asyncio.create_task(replicas.add(2))  # the kernel has it before the process goes on
        refused(await replicas.add(0), 409, "board_closed")
        assert not waiting.done()
    refused(await waiting, 409, "board_closed")
    async with paused(replicas.services[2]):
        assert (await replicas.define(1, {"max_step": 5})).json()["version"] == 2
    refused(await replicas.add(2, 6), 422, "score_out_of_bounds")
    assert (await replicas.add(2, 5)).json()["score"] == 35


@asynccontextmanager
async def cut_off(between: Proxy) -> AsyncIterator[None]:
    """Break the way to a server; it is there again at the end."""
    await between.cut()
    try:
        yield
    finally:
        await between.open()


async def everywhere(api: Api) -> bool:
    found = (await api.get("/boards/main")).json()
    return bool(found["everywhere"])


async def test_a_redis_that_is_away_is_told_by_a_worker(
    start: Start, layouts: dict[Any, dict[str, str]], redis_2: redis.Redis, databases: RegionDatabases
) -> None:
    """EU's is: for the one service and the worker, and not for the other service."""
    async with proxy(layouts["two-redis"]["REDIS_URL_EU"]) as between:
        environ = {**layouts["two-redis"], "REDIS_URL_EU": between.url}
        near = await start(layout="two-redis")
        far = await start(layout="two-redis", ready=False, REDIS_URL_EU=between.url)
        alice, bob = await near.register("alice", "EU", 10), await near.register("bob", "ASIA", 10)
        async with working(environ, heartbeats=True):
            async with cut_off(between):
                response = await far.define({"max_step": 5})
                refused(response, 503, "not_everywhere")
                assert (response.json()["version"], await everywhere(near)) == (1, False)
                refused(await far.post("/score/add", {"delta": 6}, token=bob), 422, "score_out_of_bounds")
                # Nobody was told yet that it may not be.
                assert (await near.post("/score/add", {"delta": 6}, token=alice)).status_code == 200
                again = await far.define({"max_step": 5})
                refused(again, 503, "not_everywhere")
                assert again.json()["version"] == 1
            await eventually(lambda: everywhere(near), "the worker", seconds=20)
        assert await redis_2.get("board:main") == "0 1"
        refused(await near.post("/score/add", {"delta": 6}, token=alice), 422, "score_out_of_bounds")
    assert await databases["GLOBAL"].fetchval("SELECT everywhere_at IS NOT NULL FROM boards")
    assert (await near.define({"max_step": 5})).json()["version"] == 1


async def test_who_repeats_the_call_tells_the_redis_as_well(start: Start, layouts: dict[Any, dict[str, str]]) -> None:
    async with proxy(layouts["two-redis"]["REDIS_URL_EU"]) as between:
        api = await start(layout="two-redis", REDIS_URL_EU=between.url)
        async with cut_off(between):
            refused(await api.define({"open": False}), 503, "not_everywhere")

        async def is_defined() -> bool:  # the breaker has to find that the Redis is there again
            return (await api.define({"open": False})).status_code == 200

        await eventually(is_defined)
        assert await everywhere(api)
        refused(await api.try_register("alice", "EU", 1), 409, "board_closed")


async def test_a_redis_without_memory_is_told_as_well(
    start: Start, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    """So that a board can be closed just then."""
    api = await start()
    await redis_1.config_set("maxmemory", 1)
    try:
        with pytest.raises(redis.OutOfMemoryError):
            await redis_1.set("x", "1")
        assert (await api.define({"open": False})).status_code == 200
        await redis_1.delete("board:main")

        async def is_back() -> bool:
            return await redis_1.get("board:main") == "0 1"

        async with working(environ, heartbeats=True):
            await eventually(is_back)
    finally:
        await redis_1.config_set("maxmemory", 0)


async def test_a_definition_that_a_restore_has_taken_back_gets_a_later_version(
    any_api: Api, databases: RegionDatabases
) -> None:
    api = any_api
    for title in ("one", "two", "three"):
        assert (await api.define({"title": title})).status_code == 200
    text = Rules(title="one").encode()
    await databases["GLOBAL"].execute("UPDATE boards SET version = 1, rules = $1", text)
    stated = await api.define({"title": "four"})
    assert (stated.status_code, stated.json()["version"]) == (200, 4)
    found = (await api.get("/boards/main")).json()
    assert (found["version"], found["definition"]["title"], found["everywhere"]) == (4, "four", True)
    assert await databases["GLOBAL"].fetchval("SELECT version FROM boards") == 4
