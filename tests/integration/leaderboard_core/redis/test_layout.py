"""Test that players are found on their partitions only, and that Redis of another layout are refused by name."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable
from functools import partial
from zlib import crc32

import pytest
import redis.asyncio as redis

from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.layouts import change_partitions, partitions_of, settle_layout_id
from leaderboard_core.redis.layout import LayoutChanged, check_places
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start
from tests.support.infrastructure import Infrastructure
from tests.support.layouts import Layout
from tests.support.worker import EAGER, drained, working
from worker_service.recovery.layout import check_layout
from worker_service.recovery.rebuild import rebuild
from worker_service.recovery.restore import RebuildInterrupted

USER_IDS = [f"player-{number}" for number in range(40)]


@pytest.fixture
async def maps() -> AsyncIterator[list[ShardMap]]:
    opened: list[ShardMap] = []
    yield opened
    for one in opened:
        await one.close()


def opened(maps: list[ShardMap], environ: dict[str, str]) -> ShardMap:
    maps.append(ShardMap.open(load(TopologySettings, environ)))
    return maps[-1]


async def test_a_player_is_on_its_partition_and_no_other(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    databases: RegionDatabases,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    api = await start(layout="two-partitions")
    for number, user_id in enumerate(USER_IDS):
        await api.register(user_id, ("EU", "ASIA")[number % 2], number)
    async with working(layouts["two-partitions"]):
        await drained(redis_1, redis_2)
    for index, client in enumerate((redis_1, redis_2)):
        expected = {user_id for user_id in USER_IDS if crc32(user_id.encode()) % 2 == index}
        assert {key async for key in client.scan_iter("user:*")} == {f"user:{user_id}" for user_id in expected}
        assert set(await client.zrange("leaderboard:GLOBAL", 0, -1)) == expected
        assert str(await client.get("shard:layout")).startswith(f"{index}/2 ")
    assert await api.scores() == {user_id: number for number, user_id in enumerate(USER_IDS)}
    assert await partitions_of(databases["EU"], "EU") == 2


async def test_a_partition_that_lost_its_data_gets_its_part_back(
    start: Start,
    layouts: dict[Layout, dict[str, str]],
    databases: RegionDatabases,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    api = await start(layout="two-partitions")
    for number, user_id in enumerate(USER_IDS):
        await api.register(user_id, "EU", number)
    await api.delete("player-0", api.server_token())
    async with working(layouts["two-partitions"], heartbeats=True):
        await drained(redis_1, redis_2)
        before = await redis_1.zrange("leaderboard:EU", 0, -1, withscores=True)
        lost = await redis_2.zrange("leaderboard:EU", 0, -1, withscores=True)
        await redis_2.flushdb()
        during = await api.get("/top", region="EU", limit=100)
        assert (during.json()["total"], len(during.json()["rows"])) == (39, 39)
        async with working(layouts["two-partitions"], name="worker-2"):
            assert await redis_2.zrange("leaderboard:EU", 0, -1, withscores=True) == lost
        assert await redis_1.zrange("leaderboard:EU", 0, -1, withscores=True) == before
        # The admission of the one has not undone that of the other.
        for user_id in USER_IDS[1:]:
            await api.post("/score", {"user_id": user_id, "region": "EU", "score": 7}, token=api.server_token())
        await drained(redis_1, redis_2)
    assert await databases["EU"].fetchval("SELECT count(*) FROM leaderboard WHERE score = 7") == 39


async def test_regions_with_and_without_partitions_have_one_user_id_each(
    start: Start, infra: Infrastructure, environ: dict[str, str], redis_1: redis.Redis, redis_2: redis.Redis
) -> None:
    first, second = infra.redis_urls
    third = first.removesuffix("/0") + "/1"
    async with redis.Redis.from_url(third, decode_responses=True) as redis_3:
        await redis_3.flushdb()
        api = await start(REDIS_URL=f"{first},{second}", REDIS_URL_EU=third)
        for number, user_id in enumerate(USER_IDS):
            await api.register(user_id, ("EU", "ASIA")[number % 2], number)
        assert await redis_3.zcard("leaderboard:EU") == 20
        for user_id in USER_IDS:
            for region in ("EU", "NA"):
                assert (await api.try_register(user_id, region)).status_code == 409
        assert await api.scores() == {user_id: number for number, user_id in enumerate(USER_IDS)}
        assert (await api.get("/rank/player-0", region="global")).json()["rank"] == 40
        leftovers = [key for one in (redis_1, redis_2, redis_3) async for key in one.scan_iter("claim:*")]
        assert leftovers == []
        await redis_3.flushdb()


OTHER_LAYOUTS = {
    "fewer": ("{first}", "names 1 Redis, and the players of .* are spread over 2"),
    "more": ("{first},{second},{third}", "names 3 Redis, and the players of .* are spread over 2"),
    "another order": ("{second},{first}", "holds partition [01]/2, counted from 0, and is named as [01]/2"),
    "the same one twice": (
        "{first},{alias}",
        "(is the same Redis as|holds partition 0/2, counted from 0, and is named as 1/2)",
    ),
}


@pytest.mark.parametrize("other", OTHER_LAYOUTS)
async def test_another_layout_is_refused_by_name(
    other: str,
    start: Start,
    maps: list[ShardMap],
    infra: Infrastructure,
    environ: dict[str, str],
    databases: RegionDatabases,
) -> None:
    """By whatever reads Redis at its start, and by an admission."""
    await start(layout="two-partitions")
    first, second = infra.redis_urls
    url, said = OTHER_LAYOUTS[other]
    alias = first.replace("127.0.0.1", "localhost")
    if other == "the same one twice" and alias == first:
        pytest.skip("these servers have one name")
    named = url.format(first=first, second=second, third=first.removesuffix("/0") + "/1", alias=alias)
    shard_map = opened(maps, {**environ, "REDIS_URL": named})
    with pytest.raises(LayoutChanged, match=f"REDIS_URL:? .*{said}"):
        await check_layout(shard_map.shards, databases)
    with pytest.raises(LayoutChanged, match=said):
        await check_places(shard_map.shards)
    with pytest.raises(RebuildInterrupted, match=said):
        await all_rebuilt(reversed(shard_map.shards), databases)
    assert not all([await shard.is_ready() for shard in shard_map.shards])


async def test_players_from_before_there_were_partitions_are_not_spread_by_a_second_url(
    start: Start,
    maps: list[ShardMap],
    layouts: dict[Layout, dict[str, str]],
    databases: RegionDatabases,
    redis_1: redis.Redis,
) -> None:
    await start()
    await redis_1.delete("shard:layout")
    await databases["GLOBAL"].execute("DELETE FROM admissions WHERE region LIKE '*%'")
    two = opened(maps, layouts["two-partitions"])
    for check in (check_places(two.shards), check_layout(two.shards, databases)):
        with pytest.raises(LayoutChanged, match=r"names 2 Redis, and the players of .* are spread over 1"):
            await check
    # As they were they are well, and say from now on what they are.
    one = opened(maps, layouts["one-redis"])
    await redis_1.delete("shard:admission")
    await rebuild(one.shards[0], databases, EAGER)
    assert str(await redis_1.get("shard:layout")).startswith("0/1 ")


async def test_databases_from_before_a_repartition_are_told_from_another_number_of_urls(
    start: Start,
    maps: list[ShardMap],
    layouts: dict[Layout, dict[str, str]],
    databases: RegionDatabases,
    redis_1: redis.Redis,
    redis_2: redis.Redis,
) -> None:
    await start(layout="two-partitions")
    for region in ("ASIA", "EU", "NA", "GLOBAL"):
        await change_partitions(databases[region], region, 1)
    two, one = (opened(maps, layouts[name]) for name in ("two-partitions", "one-redis"))
    with pytest.raises(LayoutChanged, match=r"a copy from before one, .* empty these Redis, set the variable to 1 of"):
        await check_layout(two.shards, databases)
    # As the message says:
    for emptied in (redis_1, redis_2):
        await emptied.flushdb()
    await check_layout(one.shards, databases)
    await all_rebuilt(one.shards, databases)
    assert await one.shards[0].is_ready()


async def test_a_redis_of_another_system_is_refused(
    start: Start,
    maps: list[ShardMap],
    layouts: dict[Layout, dict[str, str]],
    databases: RegionDatabases,
    redis_2: redis.Redis,
) -> None:
    await start(layout="two-partitions")
    ours = await settle_layout_id(databases["GLOBAL"], "new")
    await redis_2.set("shard:layout", f"1/2 {secrets.token_hex(8)}")
    shard_map = opened(maps, layouts["two-partitions"])
    with pytest.raises(LayoutChanged, match="is of another system than"):
        await check_places(shard_map.shards)
    await redis_2.delete("shard:admission")
    with pytest.raises(RebuildInterrupted, match="belongs to another system than the databases"):
        await all_rebuilt(shard_map.shards, databases)
    # New databases take the id of the Redis that are there.
    await redis_2.set("shard:layout", f"1/2 {ours}")
    await databases["GLOBAL"].execute("DELETE FROM admissions")
    assert await check_layout(shard_map.shards, databases) == ours


async def all_rebuilt(shards: Iterable[Shard], databases: RegionDatabases) -> None:
    for shard in shards:
        await rebuild(shard, databases, EAGER)


@pytest.mark.parametrize("module", ["leaderboard_service", "worker_service"])
async def test_a_process_that_is_started_on_another_layout_says_so_and_ends(
    module: str, start: Start, layouts: dict[Layout, dict[str, str]]
) -> None:
    await start(layout="two-partitions")
    environ = {"PATH": os.environ["PATH"], **layouts["one-redis"], "PORT": str(find_free_ports(1)[0])}
    command = partial(subprocess.run, (sys.executable, "-m", module), env=environ, capture_output=True, text=True)
    ended = await asyncio.to_thread(command, stdin=subprocess.DEVNULL, timeout=60, check=False)
    assert ended.returncode == 1
    assert "REDIS_URL names 1 Redis" in ended.stderr
    assert "leaderboard repartition" in ended.stderr
    assert "Traceback" not in ended.stderr
