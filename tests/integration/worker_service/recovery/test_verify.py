"""`leaderboard verify` and `dead-letters` find what differs, reconcile it from the newer side, and lose nothing."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start
from tests.support.layouts import Layout
from tests.support.service import Api
from tests.support.worker import dead_letters, drained, event, push, rows, working
from worker_service.recovery.differences import Difference, Report
from worker_service.recovery.verify import Verifier


@pytest.fixture
async def stocked(any_api: Api, environ: dict[str, str], all_redis: redis.Redis) -> tuple[Api, dict[str, str]]:
    """Players of every region, all saved."""
    api = any_api
    async with working(environ, block_seconds=0.1):
        for user_id, region in (("ann", "ASIA"), ("bob", "EU"), ("cyd", "NA"), ("dan", "GLOBAL"), ("eve", "EU")):
            await api.register(user_id, region, 10)
        await api.register("pia", "EU", 10, password="a long password")
        await drained(all_redis)
    return api, environ


async def verified(
    environ: dict[str, str], databases: RegionDatabases, *, repair: bool = False, wait: float = 0.2
) -> Report:
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        return await Verifier(shard_map, databases, wait_seconds=wait).verify(repair=repair)
    finally:
        await shard_map.close()


def found(report: Report) -> dict[str, str]:
    return {difference.user_id: difference.problem for difference in report.differences}


async def repaired(environ: dict[str, str], databases: RegionDatabases, *clients: redis.Redis) -> dict[Difference, str]:
    """Repair, let a worker save what was queued, and see that nothing differs any more."""
    report = await verified(environ, databases, repair=True)
    async with working(environ, block_seconds=0.1):
        await drained(*clients)
    assert (await verified(environ, databases)).differences == []
    return dict(report.repaired)


async def test_nothing_differs(stocked: tuple[Api, dict[str, str]], databases: RegionDatabases) -> None:
    report = await verified(stocked[1], databases)
    assert (report.players, report.differences, report.pending) == (6, [], 0)


async def test_a_newer_row_goes_back_to_redis(
    stocked: tuple[Api, dict[str, str]], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api, environ = stocked
    await databases["EU"].execute(
        "UPDATE leaderboard SET score = 99, updated_at = updated_at + INTERVAL '1 hour' WHERE user_id = 'bob'"
    )
    assert set(found(await verified(environ, databases))) == {"bob"}
    assert set((await repaired(environ, databases, all_redis)).values()) == {"from_postgres"}
    assert (await api.scores())["bob"] == (await api.scores("EU"))["bob"] == 99


async def test_a_newer_hash_goes_to_postgres(
    stocked: tuple[Api, dict[str, str]], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    _, environ = stocked
    await databases["ASIA"].execute("DELETE FROM leaderboard WHERE user_id = 'ann'")
    await databases["NA"].execute("UPDATE leaderboard SET score = 1, name = 'x' WHERE user_id = 'cyd'")
    assert found(await verified(environ, databases)) == {
        "ann": "is missing in Postgres",
        "cyd": "score 10 in Redis, 1 in Postgres; name cyd in Redis, x in Postgres",
    }
    assert set((await repaired(environ, databases, all_redis)).values()) == {"from_redis"}
    assert (await rows(databases, "ASIA"))["ann"][:2] == ("ann", 10)
    assert (await rows(databases, "NA"))["cyd"][:2] == ("cyd", 10)


@asynccontextmanager
async def without_memory(*clients: redis.Redis) -> AsyncIterator[None]:
    for client in clients:
        await client.config_set("maxmemory", int((await client.info("memory"))["used_memory"]) // 2)
    try:
        yield
    finally:
        for client in clients:
            await client.config_set("maxmemory", 0)


async def test_a_redis_without_memory_is_repaired_too(
    stocked: tuple[Api, dict[str, str]], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api, environ = stocked
    await databases["ASIA"].execute("DELETE FROM leaderboard WHERE user_id = 'ann'")
    await databases["EU"].execute(
        "UPDATE leaderboard SET score = 99, updated_at = updated_at + INTERVAL '1 hour' WHERE user_id = 'bob'"
    )
    async with without_memory(*(shard.client for shard in api.services.shard_map.shards)):
        outcomes = await repaired(environ, databases, all_redis)
    assert {difference.user_id: outcome for difference, outcome in outcomes.items()} == {
        "ann": "from_redis",
        "bob": "from_postgres",
    }
    assert (await api.scores())["bob"] == 99


async def test_boards_follow_the_hash_and_ghosts_are_removed(
    stocked: tuple[Api, dict[str, str]], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api, environ = stocked
    await all_redis.zadd("leaderboard:GLOBAL", {"ann": 5, "ghost": 1})
    await all_redis.zrem("leaderboard:NA", "cyd")
    await all_redis.zadd("leaderboard:ASIA", {"phantom": 7})
    assert set(found(await verified(environ, databases))) == {"ann", "cyd", "ghost", "phantom"}
    await repaired(environ, databases, all_redis)
    assert await api.scores() == dict.fromkeys(("ann", "bob", "cyd", "dan", "eve", "pia"), 10)
    assert await api.scores("ASIA") == {"ann": 10}
    assert await api.scores("NA") == {"cyd": 10}


async def test_a_lost_hash_comes_back_with_its_password_mark(
    stocked: tuple[Api, dict[str, str]], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api, environ = stocked
    await all_redis.delete("user:pia")
    assert "pia" in found(await verified(environ, databases))
    await repaired(environ, databases, all_redis)
    assert (await api.login("pia")).status_code == 401
    assert (await api.login("pia", password="a long password")).status_code == 200


async def test_uncommitted_events_are_pending_and_no_difference(
    stocked: tuple[Api, dict[str, str]], databases: RegionDatabases
) -> None:
    api, environ = stocked
    assert (await api.post("/score/add", {"delta": 1}, token=api.player_token("ann"))).status_code == 200
    report = await verified(environ, databases)
    assert (report.differences, report.pending) == ([], 1)
    async with working(environ, block_seconds=0.1):
        report = await verified(environ, databases, wait=10)
    assert (report.differences, report.pending) == ([], 0)


async def test_it_may_run_while_players_play(stocked: tuple[Api, dict[str, str]], databases: RegionDatabases) -> None:
    api, environ = stocked
    playing = True

    async def play(user_id: str, region: str) -> None:
        token = api.player_token(user_id, region)
        while playing:
            assert (await api.post("/score/add", {"delta": 1}, token=token)).status_code == 200

    async with working(environ, block_seconds=0.1):
        players = [asyncio.create_task(play("ann", "ASIA")), asyncio.create_task(play("bob", "EU"))]
        reports = [await verified(environ, databases, wait=1) for _ in range(3)]
        playing = False
        await asyncio.gather(*players)
        assert (await verified(environ, databases, wait=10)).differences == []
    assert [report.differences for report in reports] == [[], [], []]


def command(environ: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-m", "leaderboard_cli", *words]
    wide = {"PATH": "/usr/bin:/bin", "COLUMNS": "300", "LEADERBOARD_DATA_DIR": "/nonexistent", **environ}
    return subprocess.run(arguments, env=wide, capture_output=True, text=True, timeout=60, check=False)


async def test_the_command_says_so_with_its_exit_code(
    stocked: tuple[Api, dict[str, str]], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    _, environ = stocked
    clean = await asyncio.to_thread(command, environ, "verify")
    assert (clean.returncode, clean.stdout) == (0, "6 players compared, 0 differences\n")
    await databases["ASIA"].execute("DELETE FROM leaderboard WHERE user_id = 'ann'")
    differs = await asyncio.to_thread(command, environ, "verify")
    assert differs.returncode == 1
    assert "ann: is missing in Postgres" in differs.stdout
    repaired = await asyncio.to_thread(command, environ, "verify", "--repair")
    assert repaired.returncode == 0
    assert "1 differences, 1 mended" in repaired.stdout


async def test_dead_letters_are_listed_retried_and_dropped(
    environ: dict[str, str], databases: RegionDatabases, start: Start, all_redis: redis.Redis
) -> None:
    await start()
    async with working(environ, block_seconds=0.1):
        # Refused as long as the column is too short for it; nothing else is wrong with it.
        await databases["EU"].execute("ALTER TABLE leaderboard ADD CONSTRAINT small CHECK (score < 100)")
        try:
            await push(all_redis, event("big", 500), "not json", event("small", 5))
            await drained(all_redis)
        finally:
            await databases["EU"].execute("ALTER TABLE leaderboard DROP CONSTRAINT small")
        assert set(await rows(databases)) == {"small"}
        listed = await asyncio.to_thread(command, environ, "dead-letters", "list")
        assert "not JSON" in listed.stdout
        assert "big" in listed.stdout
        assert (await asyncio.to_thread(command, environ, "dead-letters", "retry")).returncode == 1
        assert (await asyncio.to_thread(command, environ, "dead-letters", "drop", "unknown")).returncode == 1
        assert len(await dead_letters(all_redis)) == 2

        retried = await asyncio.to_thread(command, environ, "dead-letters", "retry", "--all")
        assert retried.returncode == 0
        await drained(all_redis)
        assert (await rows(databases))["big"][1] == 500
    (left,) = await dead_letters(all_redis)
    assert left["event"] == "not json"
    listed = await asyncio.to_thread(command, environ, "dead-letters", "list", "--region", "eu")
    (letter_id,) = [line.split()[0] for line in listed.stdout.splitlines() if "not JSON" in line]
    assert (await asyncio.to_thread(command, environ, "dead-letters", "drop", letter_id)).returncode == 0
    assert await dead_letters(all_redis) == []


async def test_a_player_on_the_wrong_partition_is_named_and_goes(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    databases: RegionDatabases,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    """Newer or not: its own partition has its writes."""
    api, environ = await start(layout="two-partitions"), layouts["two-partitions"]
    await api.register("bob", "EU", 10)
    await api.register("eve", "EU", 20)
    async with working(environ, block_seconds=0.1):
        await drained(redis_1, redis_2)
    stray: Any = {**await redis_1.hgetall("user:bob"), "score": "99", "updated_at": "4000000000000000"}
    await redis_2.hset("user:bob", mapping=stray)
    await redis_2.zadd("leaderboard:EU", {"bob": 99})
    await redis_2.zadd("leaderboard:GLOBAL", {"bob": 99})
    assert found(await verified(environ, databases)) == {"bob": "is on a Redis that holds another partition"}
    assert set((await repaired(environ, databases, redis_1, redis_2)).values()) == {"removed"}
    assert await api.scores() == {"bob": 10, "eve": 20}
    assert not await redis_2.exists("user:bob")


async def test_a_player_who_moved_to_another_region_is_well(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """By deletion and registration: its predecessor is in another region's database."""
    api = await start()
    await api.register("bob", "EU", 10)
    await api.delete("bob", api.server_token())
    await api.register("bob", "ASIA", 20)
    async with working(environ, block_seconds=0.1):
        await drained(all_redis)
    assert (await verified(environ, databases)).differences == []
    await all_redis.hset("user:bob", "since", "7")
    assert found(await verified(environ, databases)) == {"bob": "deletion of a predecessor 7 in Redis, 0 in Postgres"}
