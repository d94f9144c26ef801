"""Regions of a system with players: added, renamed or removed by a command, and else refused by name."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest
import redis.asyncio as redis

from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.commands.stores import open_stores
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start, admit
from tests.support.service import Api, running_service
from tests.support.worker import drained, event, push, working
from worker_service.recovery.regions import (
    RegionsChanged,
    add_region,
    check_regions,
    remove_region,
    rename_region,
)
from worker_service.recovery.restore import RebuildInterrupted, restore
from worker_service.recovery.verify import Verifier


def count(_: int) -> None:
    """Take the progress and leave it."""


def renamed(environ: dict[str, str]) -> dict[str, str]:
    """The settings with EUROPE in the place of EU, on EU's database and Redis."""
    moved = {name.replace("URL_EU", "URL_EUROPE"): value for name, value in environ.items()}
    return {**moved, "REGIONS": "ASIA,EUROPE,NA,GLOBAL"}


def without(environ: dict[str, str], region: str) -> dict[str, str]:
    chosen = {**environ, "REGIONS": ",".join(one for one in ("ASIA", "EU", "NA", "GLOBAL") if one != region)}
    for variable in ("DATABASE_URL", "REDIS_URL"):
        chosen.pop(f"{variable}_{region}", None)
    return chosen


async def test_a_renamed_region_is_refused_until_its_players_are(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start()
    token = await api.register("alice", "EU", 5)
    await api.register("bob", "NA", 3)
    europe = renamed(environ)
    async with working(environ, heartbeats=True), open_stores(europe) as (shard_map, there):
        await drained(all_redis)
        with pytest.raises(RegionsChanged, match="Workers run"):
            await rename_region(shard_map, there, "EU", "EUROPE", count)
    with pytest.raises(RebuildInterrupted, match="rename OLD NEW"):
        await admit(europe, databases_of_europe := await RegionDatabases.open(load(TopologySettings, europe)))
    await databases_of_europe.close()
    async with open_stores(europe) as (shard_map, there):
        await push(all_redis, event("late"))
        with pytest.raises(RegionsChanged, match="1 events and 0 dead letters"):
            await rename_region(shard_map, there, "EU", "EUROPE", count)
        await all_redis.delete("queue:scores:EU")
        with pytest.raises(RegionsChanged, match="knows no region OLD"):
            await rename_region(shard_map, there, "OLD", "EUROPE", count)
        # The worker has just ended, and its last heartbeat is young: that is waited out.
        assert len(set(await all_redis.zrange("workers", 0, -1))) == 1
        seen: list[int] = []
        await rename_region(shard_map, there, "EU", "EUROPE", seen.append)
        assert sum(seen) == 1
        refused = await api.post("/score/add", {"delta": 1}, token=token)
        assert (refused.status_code, refused.json()["error"]) == (503, "warming_up")
        await admit(europe, there)
    async with running_service(europe) as after:
        rank = (await after.get("/rank/alice", region="EUROPE")).json()
        assert (rank["rank"], rank["region"], rank["score"]) == (1, "EUROPE", 5)
        assert await after.scores() == {"alice": 5, "bob": 3}
    assert not await all_redis.exists("leaderboard:EU")
    assert await databases["EU"].fetch("SELECT DISTINCT region FROM leaderboard") == [("EUROPE",)]


async def test_a_rename_goes_on_where_it_was(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """It was killed with a part of the rows renamed."""
    api = await start()
    for number in range(4):
        await api.register(f"p{number}", "EU", number)
    async with working(environ):
        await drained(all_redis)
    await all_redis.delete("workers")
    await databases["EU"].execute("UPDATE leaderboard SET region = 'EUROPE' WHERE user_id < 'p2'")
    async with open_stores(renamed(environ)) as (shard_map, there):
        with pytest.raises(RegionsChanged, match="rename OLD NEW"):
            await check_regions(there)
        await rename_region(shard_map, there, "EU", "EUROPE", count)
        await admit(renamed(environ), there)
    async with running_service(renamed(environ)) as after:
        assert await after.scores("EUROPE") == {f"p{number}": number for number in range(4)}


async def test_a_region_that_is_left_out_is_refused_by_name(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """A worker does not start, nothing is admitted; only a region without players can be taken out."""
    api = await start()
    await api.register("alice", "EU", 5)
    async with working(environ):
        await drained(all_redis)
    await all_redis.delete("workers")
    async with open_stores(without(environ, "EU")) as (_, there):
        with pytest.raises(RegionsChanged, match="REGIONS lacks EU"):
            await check_regions(there)
    worker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "worker_service"),
        env={**os.environ, **without(environ, "EU"), "PORT": str(find_free_ports(1)[0])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await asyncio.wait_for(worker.communicate(), 60)
    assert worker.returncode == 1
    assert b"REGIONS lacks EU" in said
    assert b"Traceback" not in said
    async with open_stores(environ) as (shard_map, there):
        with pytest.raises(RegionsChanged, match="EU has 1 players"):
            await remove_region(shard_map, there, "EU")
        with pytest.raises(RegionsChanged, match="GLOBAL"):
            await remove_region(shard_map, there, "GLOBAL")
        await remove_region(shard_map, there, "NA")
    async with open_stores(without(environ, "NA")) as (_, there):
        await check_regions(there)
    async with open_stores(environ) as (_, there):
        await check_regions(there)  # an empty one may come back


async def test_a_region_that_brings_players_along_is_checked_first(
    environ: dict[str, str], databases: RegionDatabases
) -> None:
    await databases["NA"].execute(
        "INSERT INTO leaderboard (user_id, name, region, score) VALUES ('alice', 'a', 'NA', 1)"
    )
    async with open_stores(without(environ, "NA")) as (_, there):
        await check_regions(there)
    async with open_stores(environ) as (_, there):
        with pytest.raises(RegionsChanged, match="regions add NA"):
            await check_regions(there)
        await there["EU"].execute("INSERT INTO leaderboard (user_id, name, region) VALUES ('alice', 'a', 'EU')")
        with pytest.raises(RegionsChanged, match="the first is alice"):
            await add_region(there, "NA", count)
        await there["EU"].execute("DELETE FROM leaderboard")
        await add_region(there, "NA", count)
        await check_regions(there)


@pytest.mark.parametrize("rebuilt", [False, True])
async def test_two_rows_of_one_player_are_not_called_mended(
    any_api: Api, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis, *, rebuilt: bool
) -> None:
    """A region was dropped, its player registered elsewhere, and it was added again, in a version before this."""
    api = any_api
    await api.register("alice", "EU", 5)
    await api.register("bob", "EU", 5)
    async with working(environ):
        await drained(all_redis)
    await databases["NA"].execute(
        "INSERT INTO leaderboard (user_id, name, region, score, updated_at) VALUES "
        "('alice', 'old', 'NA', 1, TIMESTAMP '2020-01-01'), ('bob', 'new', 'NA', 2, TIMESTAMP '2100-01-01')"
    )
    async with open_stores(environ) as (shard_map, there):
        if rebuilt:  # regions on different Redis have the player twice then
            for region in ("EU", "NA"):
                rows = await there[region].fetch(sql.load("players_by_id"), ["alice", "bob"])
                for shard in shard_map.shards_of_region(region):
                    await restore(shard, region, rows)

        async def verify(**how: Any) -> Any:
            return await Verifier(shard_map, there, wait_seconds=0).verify(repair=True, **how)

        report = await verify()
        assert report.repaired == []
        told = {one.user_id: outcome for one, outcome in report.unrepaired}
        assert "that of NA is older (2020-01-01T00:00:00+00:00): --drop-older drops it" in told["alice"]
        assert "that of EU is older" in told["bob"]
        report = await verify(drop_older=True)
        assert {one.user_id: outcome for one, outcome in report.repaired} == {
            "alice": "dropped the older row of NA",
            "bob": "dropped the older row of EU",
        }
        assert (await verify()).differences == []
    assert await api.scores("EU") == {"alice": 5}
    assert await api.scores("NA") == {"bob": 2}
    assert await api.scores("GLOBAL") == {"alice": 5, "bob": 2}
    assert (await api.top())["total"] == 2


async def test_rows_of_another_region_are_a_difference(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start()
    await api.register("alice", "EU", 5)
    async with working(environ):
        await drained(all_redis)
    await databases["EU"].execute("UPDATE leaderboard SET region = 'ELSEWHERE'")
    async with open_stores(environ) as (shard_map, there):
        report = await Verifier(shard_map, there, wait_seconds=0).verify()
    assert [one.problem for one in report.differences] == ["has region ELSEWHERE in the database of EU"]
