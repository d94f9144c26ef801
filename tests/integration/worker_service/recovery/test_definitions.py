"""A Redis has the definitions of boards before it is admitted, and a worker gives it those that it lacks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import redis.asyncio as redis

from leaderboard_core.boards import Rules
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start, admit
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.all_redis import AllRedis
from tests.support.proxy import proxy
from tests.support.waiting import eventually
from tests.support.worker import EAGER, drained, working
from worker_service.recovery.definitions import copy_definitions
from worker_service.recovery.rebuild import rebuild
from worker_service.recovery.restore import RebuildInterrupted

STATED = {"max_step": 5, "title": "Season 3"}


async def test_a_redis_that_lost_everything_opens_with_the_rules(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    api = await start()
    own = await api.register("alice", "EU", 10)
    assert (await api.define(STATED)).json()["version"] == 1
    async with working(environ):
        await drained(all_redis)
    await all_redis.lose_players()
    assert await all_redis.get("board:main") is None
    await admit(environ, databases)
    assert await all_redis.get("board:main") == "0 1"
    assert Rules.decode(str(await all_redis.get("board:main:rules"))) == Rules(**STATED)  # type: ignore[arg-type]
    refused(await api.post("/score/add", {"delta": 6}, token=own), 422, "score_out_of_bounds")
    assert (await api.post("/score/add", {"delta": 5}, token=own)).json()["score"] == 15


async def test_a_redis_of_an_older_life_opens_with_the_rules_of_now(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    api = await start()
    own = await api.register("alice", "EU", 10)
    assert (await api.define(STATED)).status_code == 200
    text = Rules(open=False).encode()
    await databases["GLOBAL"].execute("UPDATE boards SET version = 2, rules = $1", text)
    await all_redis.begin_another_life()
    await admit(environ, databases)
    refused(await api.post("/score/add", {"delta": 5}, token=own), 409, "board_closed")


@pytest.fixture
async def two_redis(
    layouts: dict[Any, dict[str, str]], redis_1: redis.Redis, redis_2: redis.Redis
) -> AsyncIterator[ShardMap]:
    """Two Redis, EU on the second one."""
    shard_map = ShardMap.open(load(TopologySettings, layouts["two-redis"]))
    yield shard_map
    await shard_map.close()


async def test_while_postgres_is_away_another_redis_tells(
    start: Start,
    layouts: dict[Any, dict[str, str]],
    databases: RegionDatabases,
    redis_2: redis.Redis,
    two_redis: ShardMap,
) -> None:
    """GLOBAL's database goes away while EU's players are read."""
    api = await start(layout="two-redis")
    own = await api.register("alice", "EU", 10)
    assert (await api.define(STATED)).status_code == 200
    async with working(layouts["two-redis"]):
        await drained(redis_2)
    (of_eu,) = two_redis.shards_of_region("EU")
    async with proxy(layouts["two-redis"]["DATABASE_URL_GLOBAL"]) as between:
        environ = {**layouts["two-redis"], "DATABASE_URL_GLOBAL": between.url}
        cuttable = await RegionDatabases.open(load(TopologySettings, environ))
        cuts: list[asyncio.Task[None]] = []

        def cut(_region: str, _players: int) -> None:
            cuts.append(asyncio.create_task(between.cut()))

        try:
            await redis_2.flushdb()
            with pytest.raises(RebuildInterrupted, match="definitions"):
                await rebuild(of_eu, cuttable, EAGER, cut)
            assert not await of_eu.is_ready(), "nobody told it the rules"
            await between.open()
            assert await rebuild(of_eu, cuttable, EAGER, cut, others=two_redis.shards) == 1
            await asyncio.gather(*cuts)
            assert len(cuts) == 2
            await between.open()
        finally:
            await cuttable.close()
    assert await of_eu.is_ready()
    assert await redis_2.get("board:main") == "0 1"
    refused(await api.post("/score/add", {"delta": 6}, token=own), 422, "score_out_of_bounds")
    assert (await api.post("/score/add", {"delta": 5}, token=own)).json()["score"] == 15


async def test_a_redis_that_is_not_open_tells_nothing(
    start: Start, layouts: dict[Any, dict[str, str]], redis_1: redis.Redis, two_redis: ShardMap
) -> None:
    """It may have lost what was answered."""
    api = await start(layout="two-redis")
    assert (await api.define(STATED)).status_code == 200
    away = {
        f"DATABASE_URL_{region}": "postgresql://postgres@127.0.0.1:1/away" for region in ("GLOBAL", "EU", "NA", "ASIA")
    }
    unreachable = await RegionDatabases.open(load(TopologySettings, {**layouts["two-redis"], **away}))
    (of_eu,) = two_redis.shards_of_region("EU")
    try:
        await redis_1.delete("board:main", "board:main:rules", "boards")
        await redis_1.set("shard:admission", "closed ASIA,GLOBAL,NA a1 b2")
        with pytest.raises(RebuildInterrupted, match="definitions"):
            await copy_definitions(of_eu, unreachable["GLOBAL"], two_redis.shards)
    finally:
        await unreachable.close()


async def test_a_worker_compares_all_definitions_at_its_start(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    api = await start()
    assert (await api.define(STATED)).status_code == 200
    for shard in all_redis.shard_map.shards:
        await shard.client.delete(shard.keys.definition("main"))

    async def is_back() -> bool:
        return await all_redis.get("board:main") == "0 1"

    async with working(environ, heartbeats=True):
        await eventually(is_back)
    assert (await api.get("/boards/main")).json()["everywhere"] is True


@pytest.mark.parametrize("by", ["a PUT", "a worker"])
async def test_a_version_that_postgres_gives_a_second_time_is_not_taken_for_the_first(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis, by: str
) -> None:
    """It has lost exactly one: who knows that version would go on by the rules that were lost."""
    api = await start()
    assert (await api.define({"max_score": 50})).status_code == 200
    token = await api.register("alice", "EU", 1)
    assert (await api.post("/score/update", {"score": 40}, token=token)).status_code == 200
    rules = orjson.dumps({"max_score": 10}).decode() if by == "a worker" else "{}"
    version = 1 if by == "a worker" else 0
    await databases["GLOBAL"].execute("UPDATE boards SET version = $1, rules = $2", version, rules)
    if by == "a PUT":
        assert (await api.define({"max_score": 10})).json()["version"] == 2
    else:

        async def is_told() -> bool:
            return await all_redis.get("board:main") == "0 2"

        async with working(environ, heartbeats=True):
            await eventually(is_told)
    refused = await api.post("/score/update", {"score": 40}, token=token)
    assert (refused.status_code, refused.json()["max"]) == (422, 10)


async def test_definitions_that_a_restore_has_taken_back_overtake_those_of_redis(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    api = await start()
    for title in ("one", "two"):
        assert (await api.define({"title": title, "open": False})).status_code == 200
    await databases["GLOBAL"].execute("DELETE FROM boards")

    async def is_at_its_beginning() -> bool:
        found = (await api.get("/boards/main")).json()
        return bool(found["version"] == 3 and found["definition"]["title"] == "" and found["everywhere"])

    async with working(environ, heartbeats=True):
        await eventually(is_at_its_beginning)
    assert (await api.try_register("alice", "EU", 5)).status_code == 201
