"""Live boards while Redis, or everything, is away: where the state comes from, and that nobody has to come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_service.live.polling import DEGRADED_SECONDS
from tests.conftest import admit
from tests.integration.leaderboard_service.live.test_top import base, set_score
from tests.support.events import listening
from tests.support.own_redis import OwnRedis
from tests.support.proxy import Proxy
from tests.support.service import Api, running_service


@pytest.fixture
async def postgres(environ: dict[str, str]) -> AsyncIterator[Proxy]:
    """What stands before ASIA's database."""
    proxy = Proxy(environ["DATABASE_URL_ASIA"])
    await proxy.open()
    yield proxy
    await proxy.cut()


@pytest.fixture
async def service(
    environ: dict[str, str], own_redis: OwnRedis, postgres: Proxy, databases: RegionDatabases
) -> AsyncIterator[Api]:
    """A service whose Redis and whose Postgres can be taken away; ASIA has one player in both."""
    own = {**environ, "REDIS_URL": own_redis.url, "REDIS_TIMEOUT_SECONDS": "1", "POSTGRES_TIMEOUT_SECONDS": "1"}
    own |= {"DATABASE_URL_ASIA": postgres.url, "STREAM_INTERVAL_MS": "50"}
    await insert(databases, "a", 5)
    await admit(own, databases)
    async with running_service(own) as api:
        yield api


async def insert(databases: RegionDatabases, user_id: str, score: int) -> None:
    statement = "INSERT INTO leaderboard (user_id, name, region, score) VALUES ($1, 'x', 'ASIA', $2)"
    await databases["ASIA"].execute(statement, user_id, score)


async def test_postgres_takes_over_at_its_own_pace_and_redis_again(
    service: Api, own_redis: OwnRedis, databases: RegionDatabases, environ: dict[str, str]
) -> None:
    clock = asyncio.get_running_loop().time
    async with (
        listening(base(service), "/stream/top?region=ASIA") as top,
        listening(base(service), "/stream/rank/a?region=ASIA") as rank,
    ):
        assert (await top.next()).data["source"] == (await rank.next()).data["source"] == "redis"
        own_redis.stop()
        event = await top.next(15)
        assert (event.name, event.data["source"], event.data["rows"]) == ("change", "postgres", [])
        assert (await rank.next(15)).data["source"] == "postgres"
        times = [clock()]
        for score in (6, 7, 8):
            await insert(databases, f"p{score}", score)
            event = await top.next(15)
            times.append(clock())
            assert event.data["rows"][0]["user_id"] == f"p{score}"
        # The first came at any moment of a tick; the others each waited for the next one.
        assert min(later - earlier for earlier, later in pairwise(times[1:])) > DEGRADED_SECONDS * 0.8
        own_redis.start()
        await admit({**environ, "REDIS_URL": own_redis.url}, databases)
        event = await top.next(15)
        assert (event.data["source"], event.data["total"], event.data["rows"]) == ("redis", 4, [])
        await set_score(service, "a", 9)
        assert (await top.next()).data["rows"][0]["user_id"] == "a"


async def test_a_player_whom_postgres_does_not_know_yet_is_not_gone(
    service: Api, own_redis: OwnRedis, databases: RegionDatabases
) -> None:
    await service.register("new", "ASIA", 3)
    async with (
        listening(base(service), "/stream/rank/new") as rank,
        listening(base(service), "/stream/top?region=ASIA") as top,
    ):
        assert (await rank.next()).data["self"]["score"] == 3
        assert (await top.next()).data["total"] == 2
        own_redis.stop()
        assert (await top.next(15)).data["total"] == 1
        assert (await rank.next(15)).name == "unavailable"
        await rank.silent(DEGRADED_SECONDS * 1.5)
        assert (await service.get("/stream/rank/new?range=1")).status_code == 404, "as /rank says"
        await insert(databases, "new", 3)
        assert (await rank.next(15)).data["source"] == "postgres"


async def test_nothing_answers_is_said_once_and_the_stream_goes_on(
    service: Api, own_redis: OwnRedis, postgres: Proxy
) -> None:
    own_redis.stop()
    await postgres.cut()
    async with (
        listening(base(service), "/stream/top?region=ASIA") as top,
        listening(base(service), "/stream/rank/a?region=ASIA") as rank,
    ):
        for listener in (top, rank):
            event = await listener.next(15)
            assert (event.name, event.data["error"], event.id) == ("unavailable", "unavailable", "")
            assert event.data["message"]
        await top.silent(DEGRADED_SECONDS * 1.5)
        await postgres.open()
        for listener in (top, rank):
            event = await listener.next(15)
            assert (event.name, event.data["source"]) == ("snapshot", "postgres")
        seen = top.last_id
        await postgres.cut()
        for listener in (top, rank):
            assert (await listener.next(15)).name == "unavailable"
        await postgres.open()
        for listener in (top, rank):
            event = await listener.next(15)
            assert event.name == "change", "it says that the board can be read again, though nothing changed"
        assert top.last_id == seen
