"""A Redis that lost its data is rebuilt from Postgres: all of it, nothing older than it has, and not served before."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from typing import Any

import pytest
import redis.asyncio as redis
from redis import Redis as BlockingRedis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start
from tests.support.proxy import proxy
from tests.support.redis_dump import dump
from tests.support.waiting import eventually
from tests.support.worker import EAGER, drained, working
from worker_service.recovery import restore as recovery
from worker_service.recovery.rebuild import rebuild
from worker_service.recovery.restore import RebuildInterrupted

NOW = 1_700_000_000_000_000


@pytest.fixture
async def shard(environ: dict[str, str], redis_1: redis.Redis) -> AsyncIterator[Shard]:
    """One Redis, that is rebuilt."""
    shard_map = ShardMap.open(load(TopologySettings, environ))
    yield shard_map.shards[0]
    await shard_map.close()


async def fill(databases: RegionDatabases, region: str, count: int, *, start: int = 0, micros: int = NOW) -> None:
    """Players `<region>-<n>` with score n."""
    await databases[region].execute(
        "INSERT INTO leaderboard SELECT $1::text || '-' || n, 'name ' || n, $1::text, n, "
        "TIMESTAMP 'epoch' + ($4::bigint + n) * INTERVAL '1 microsecond' FROM generate_series($2::int, $3::int) AS n",
        region,
        start,
        start + count - 1,
        micros,
    )


async def boards(client: redis.Redis) -> dict[str, dict[str, float]]:
    found: dict[str, dict[str, float]] = {}
    for region in ("ASIA", "EU", "NA", "GLOBAL"):
        rows: Any = await client.zrange(f"leaderboard:{region}", 0, -1, withscores=True)
        found[region] = dict(rows)
    return found


async def test_everything_comes_back(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_service.recovery.rebuild.PLAYERS_PER_PAGE", 7)
    monkeypatch.setattr(recovery, "PLAYERS_PER_CALL", 3)
    for number, region in enumerate(("ASIA", "EU", "GLOBAL")):
        await fill(databases, region, 10 + 4 * number)
    await databases["EU"].execute("UPDATE leaderboard SET protected = TRUE WHERE user_id = 'EU-3'")
    seen: list[tuple[str, int]] = []
    assert (
        await rebuild(shard, databases, EAGER, lambda region, players: seen.append((region, players))) == 10 + 14 + 18
    )
    assert seen == [("ASIA", 7), ("ASIA", 3), ("EU", 7), ("EU", 7), ("GLOBAL", 7), ("GLOBAL", 7), ("GLOBAL", 4)]
    expected: dict[str, dict[str, float]] = {
        "ASIA": {f"ASIA-{n}": n for n in range(10)},
        "EU": {f"EU-{n}": n for n in range(14)},
        "NA": {},
    }
    everybody = {**expected["ASIA"], **expected["EU"], **{f"GLOBAL-{n}": n for n in range(18)}}
    assert await boards(redis_1) == {**expected, "GLOBAL": everybody}
    stored = await redis_1.hgetall("user:EU-3")
    assert stored == {"name": "name 3", "region": "EU", "score": "3", "updated_at": str(NOW + 3), "protected": "1"}
    assert "protected" not in await redis_1.hgetall("user:EU-4")
    assert await shard.is_ready()
    assert not await redis_1.exists(shard.keys.rebuild_lock)


async def test_what_is_newer_in_redis_stays(shard: Shard, databases: RegionDatabases, redis_1: redis.Redis) -> None:
    await fill(databases, "EU", 3)
    for user_id, score, micros in (("EU-0", 100, NOW + 1), ("EU-1", 100, NOW + 1), ("EU-2", 100, NOW + 1)):
        await redis_1.hset(
            f"user:{user_id}",
            mapping={"name": "n", "region": "EU", "score": str(score), "updated_at": str(micros)},
        )
        await redis_1.zadd("leaderboard:EU", {user_id: score})
        await redis_1.zadd("leaderboard:GLOBAL", {user_id: score})
    await rebuild(shard, databases, EAGER)
    # EU-0 is newer in Redis, EU-1 is the same write, EU-2 is newer in Postgres.
    assert (await boards(redis_1))["EU"] == {"EU-0": 100, "EU-1": 100, "EU-2": 2}
    assert (await boards(redis_1))["GLOBAL"] == {"EU-0": 100, "EU-1": 100, "EU-2": 2}


async def test_a_rebuild_that_was_interrupted_is_not_served_and_is_resumed(
    shard: Shard, environ: dict[str, str], databases: RegionDatabases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_service.recovery.rebuild.PLAYERS_PER_PAGE", 5)
    monkeypatch.setattr("worker_service.recovery.rebuild.PAGES_HELD", 0)
    await fill(databases, "ASIA", 12)
    await fill(databases, "EU", 12)
    async with proxy(environ["DATABASE_URL_EU"]) as between:
        cuttable = await RegionDatabases.open(load(TopologySettings, {**environ, "DATABASE_URL_EU": between.url}))
        try:
            cut: list[asyncio.Task[None]] = []

            def interrupt(region: str, players: int) -> None:
                if not cut:
                    cut.append(asyncio.get_running_loop().create_task(between.cut()))

            with pytest.raises(RebuildInterrupted):
                await rebuild(shard, cuttable, EAGER, interrupt)
            await asyncio.gather(*cut)
            assert not await shard.is_ready()
            assert await shard.command("ZCARD", "leaderboard:ASIA") == 12
            await between.open()
            assert await rebuild(shard, cuttable, EAGER) == 24
            assert await shard.is_ready()
        finally:
            await cuttable.close()


async def test_a_cancelled_rebuild_is_not_served(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_service.recovery.rebuild.PLAYERS_PER_PAGE", 2)
    monkeypatch.setattr("worker_service.recovery.rebuild.PAGES_HELD", 0)
    await fill(databases, "EU", 9)

    class Killed(BaseException):
        pass

    def kill(region: str, players: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        await rebuild(shard, databases, EAGER, kill)
    assert not await shard.is_ready()
    assert 0 < await shard.command("ZCARD", "leaderboard:EU") < 9
    assert await rebuild(shard, databases, EAGER) == 9


async def test_two_rebuilds_at_once(shard: Shard, databases: RegionDatabases, redis_1: redis.Redis) -> None:
    await fill(databases, "EU", 50)
    results: list[Any] = await asyncio.gather(
        *(rebuild(shard, databases, EAGER) for _ in range(4)), return_exceptions=True
    )
    assert sorted(type(result).__name__ for result in results) == ["LockHeld"] * 3 + ["int"]
    assert await shard.is_ready()
    assert len((await boards(redis_1))["EU"]) == 50


async def test_a_rebuild_whose_lock_was_taken_by_another_stops(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker_service.recovery.rebuild.PLAYERS_PER_PAGE", 2)
    monkeypatch.setattr("worker_service.recovery.rebuild.PAGES_HELD", 0)
    await fill(databases, "EU", 5)
    loop = asyncio.get_running_loop()
    stolen: list[asyncio.Task[Any]] = []

    def steal(region: str, players: int) -> None:
        stolen.append(loop.create_task(shard.command("SET", shard.keys.rebuild_lock, "another")))

    with pytest.raises(RebuildInterrupted):
        await rebuild(shard, databases, EAGER, steal)
    await asyncio.gather(*stolen)
    assert not await shard.is_ready()
    assert await redis_1.get(shard.keys.rebuild_lock) == "another"


async def test_a_redis_that_is_emptied_during_its_rebuild_is_not_served(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    """Also when it happens after the last page."""
    await fill(databases, "ASIA", 3)
    loop = asyncio.get_running_loop()
    emptied: list[asyncio.Task[Any]] = []

    def empty(region: str, players: int) -> None:
        if not emptied:
            emptied.append(loop.create_task(shard.command("FLUSHDB")))

    with pytest.raises(RebuildInterrupted):
        await rebuild(shard, databases, EAGER, empty)
    await asyncio.gather(*emptied)
    assert not await shard.is_ready()
    assert await rebuild(shard, databases, EAGER) == 3
    assert len((await boards(redis_1))["ASIA"]) == 3


async def test_an_emptied_redis_is_rebuilt_by_the_worker_and_then_served(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start()
    tokens = {user_id: await api.register(user_id, "EU", n) for n, user_id in enumerate(("alice", "bob", "日本"))}
    await api.register("locked", "EU", 9, password="correct horse battery")
    async with working(environ):
        await drained(all_redis)
    before = await api.top()
    await all_redis.flushdb()
    refused = await api.post("/score/add", {"delta": 1}, token=tokens["bob"])
    assert (refused.status_code, refused.json()["error"]) == (503, "warming_up")
    assert (await all_redis.dbsize()) == 0
    async with working(environ, "worker-2", heartbeats=True):

        async def served() -> bool:
            return (await api.post("/score/add", {"delta": 0}, token=tokens["bob"])).status_code == 200

        await eventually(served)
    assert await api.top() == before
    assert (await api.login("locked")).status_code == 401
    assert (await api.login("locked", password="correct horse battery")).status_code == 200


async def test_a_rebuild_changes_nothing_in_a_redis_that_is_complete(
    start: Start, shard: Shard, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    api = await start()
    for n in range(20):
        await api.register(f"p{n}", "EU", n)
    async with working(environ):
        await drained(redis_1)
    await redis_1.delete("workers")
    before = await dump(redis_1)
    await rebuild(shard, databases, EAGER, whole=True)
    assert await dump(redis_1) == before


REWRITES = "auto-aof-rewrite-percentage"


async def rewrites(client: redis.Redis) -> str:
    return str((await client.config_get(REWRITES))[REWRITES])


@pytest.mark.parametrize("interrupted", [False, True], ids=["complete", "interrupted"])
async def test_the_append_only_file_is_not_rewritten_during_a_rebuild(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis, environ: dict[str, str], interrupted: bool
) -> None:
    await fill(databases, "EU", 3)
    before, meanwhile = await rewrites(redis_1), []
    assert before != "0"

    def on_page(_: str, __: int) -> None:
        with BlockingRedis.from_url(environ["REDIS_URL"], decode_responses=True) as client:
            meanwhile.append(client.config_get(REWRITES)[REWRITES])
        if interrupted:
            raise RebuildInterrupted("for a test")

    with pytest.raises(RebuildInterrupted) if interrupted else nullcontext():
        await rebuild(shard, databases, EAGER, on_page)
    assert meanwhile == ["0"]
    assert await rewrites(redis_1) == before
    assert not await redis_1.exists(shard.keys.rebuild_rewrites)


async def test_a_rebuild_ends_what_a_killed_one_has_put_off(
    shard: Shard, databases: RegionDatabases, redis_1: redis.Redis
) -> None:
    before = await rewrites(redis_1)
    await redis_1.set(shard.keys.rebuild_rewrites, before)
    await redis_1.config_set(REWRITES, "0")
    try:
        await rebuild(shard, databases, EAGER)
        assert await rewrites(redis_1) == before
    finally:
        await redis_1.config_set(REWRITES, before)
