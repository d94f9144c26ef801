"""Entries go along with their player: when it is repaired alone, goes, has two rows, or is on a Redis not its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from leaderboard_cli.commands.stores import open_stores
from leaderboard_core.entries import encode
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from tests.support.entries import PLAN, Writer, field_of
from tests.support.entries_on import admitted, hashes_on, put_on, saved_on, sets_of_hashes, sets_on
from tests.support.layouts import Layout
from tests.support.worker import EAGER
from worker_service.recovery.differences import Report
from worker_service.recovery.forgetting import forget_players
from worker_service.recovery.incomplete import repair_incomplete
from worker_service.recovery.rebuild import rebuild
from worker_service.recovery.regions import rename_region
from worker_service.recovery.verify import Verifier


def written(user_id: str, region: str = "EU", **more: Any) -> Writer:
    writer = Writer(user_id, region, **more)
    for operation in PLAN:
        writer.do(operation)
    return writer


def hash_of(writer: Writer) -> dict[str, str]:
    return {field_of(state): encode(state) for state in writer.entries.values()}


async def put_and_saved(shard_map: ShardMap, databases: RegionDatabases, *writers: Writer) -> None:
    for writer in writers:
        shard = shard_map.shard_of(writer.region, writer.user_id)
        await put_on(shard, writer)
        await saved_on(shard, databases, *writer.events, region=writer.region)


async def report_incomplete(shard: Shard, databases: RegionDatabases, user_id: str) -> None:
    await shard.report_incomplete(user_id)
    assert await repair_incomplete(shard, databases) == 1


@pytest.mark.parametrize("lost", ["hash", "entries too"])
async def test_a_player_who_is_repaired_alone_gets_its_entries(
    any_layout: Layout, environ: dict[str, str], emptied: None, databases: RegionDatabases, lost: str
) -> None:
    del any_layout, emptied
    alice, bob = written("alice"), written("bob")
    async with admitted(environ, databases) as shard_map:
        await put_and_saved(shard_map, databases, alice, bob)
        shard = shard_map.shard_of("EU", "alice")
        later = replace(alice.entries[17], clock=alice.clock + 3, submits=9)
        if lost == "hash":  # and Redis has a later state than Postgres, as after an event that was dropped
            await shard.client.hset(shard.keys.entries("alice"), field_of(later), encode(later))
        else:
            await shard.client.delete(shard.keys.entries("alice"))
        await shard.client.delete(shard.keys.user("alice"))
        await report_incomplete(shard, databases, "alice")
        expected = hash_of(alice) | ({field_of(later): encode(later)} if lost == "hash" else {})
        assert await hashes_on(shard_map) == {"alice": expected, "bob": hash_of(bob)}
        assert await sets_on(shard_map) == sets_of_hashes({"alice": expected, "bob": hash_of(bob)})
        clock = await shard.client.hget(shard.keys.user("alice"), "clock")
        assert clock == str(later.clock if lost == "hash" else alice.clock), "later than all of its entries"


async def test_the_entries_of_who_is_in_postgres_no_more_go(
    any_layout: Layout, environ: dict[str, str], emptied: None, databases: RegionDatabases
) -> None:
    del any_layout, emptied
    alice, bob = written("alice"), written("bob")
    async with admitted(environ, databases) as shard_map:
        await put_and_saved(shard_map, databases, bob)
        shard = shard_map.shard_of("EU", "alice")
        await put_on(shard, alice)
        await shard.client.delete(shard.keys.user("alice"))
        await report_incomplete(shard, databases, "alice")
        assert await hashes_on(shard_map) == {"bob": hash_of(bob)}
        assert await sets_on(shard_map) == sets_of_hashes({"bob": hash_of(bob)})


async def test_the_players_of_a_region_are_forgotten_with_their_entries(
    any_layout: Layout, environ: dict[str, str], emptied: None, databases: RegionDatabases
) -> None:
    del any_layout, emptied
    eu, na = [written(f"e{number}") for number in range(4)], [written(f"n{number}", "NA") for number in range(4)]
    async with admitted(environ, databases) as shard_map:
        await put_and_saved(shard_map, databases, *eu, *na)
        for shard in shard_map.shards_of_region("EU"):
            await forget_players(shard, "EU")
        left = {writer.user_id: hash_of(writer) for writer in na}
        assert await hashes_on(shard_map) == left
        assert await sets_on(shard_map) == sets_of_hashes(left, "NA")


async def test_a_region_that_is_renamed_keeps_its_entries(
    environ: dict[str, str], emptied: None, databases: RegionDatabases
) -> None:
    del emptied
    alice = written("alice")
    async with admitted(environ, databases) as shard_map:
        await put_and_saved(shard_map, databases, alice)
    other = {name.replace("URL_EU", "URL_EUROPE"): value for name, value in environ.items()}
    async with open_stores({**other, "REGIONS": "ASIA,EUROPE,NA,GLOBAL"}) as (renamed, there):
        await rename_region(renamed, there, "EU", "EUROPE", lambda _: None)
        for shard in renamed.shards:
            await rebuild(shard, there, EAGER)
        assert await hashes_on(renamed) == {"alice": hash_of(alice)}
        assert await sets_on(renamed) == sets_of_hashes({"alice": hash_of(alice)}, "EUROPE")
        assert (await Verifier(renamed, there, wait_seconds=0).verify()).differences == []


async def all_rows(databases: RegionDatabases) -> AsyncIterator[str]:
    """Yield the region of each row of entries."""
    for pool in databases.distinct():
        for row in await pool.fetch("SELECT region FROM entries"):
            yield row["region"]


async def settled(shard_map: ShardMap, databases: RegionDatabases, *, drop_older: bool = True) -> Report:
    return await Verifier(shard_map, databases, wait_seconds=0).verify(repair=True, drop_older=drop_older)


@pytest.mark.parametrize("older", ["EU", "NA"])
async def test_of_two_rows_of_a_player_the_older_one_goes_with_its_entries(
    any_layout: Layout, environ: dict[str, str], emptied: None, databases: RegionDatabases, older: str
) -> None:
    """Redis has the player of EU; on Redis of its own NA has another one."""
    del any_layout, emptied
    newer_clock = {"clock": Writer("x").clock + 1_000_000}
    eu, na = (written("alice", region, **({} if region == older else newer_clock)) for region in ("EU", "NA"))
    async with admitted(environ, databases) as shard_map:
        shards = {region: shard_map.shard_of(region, "alice") for region in ("EU", "NA")}
        for writer in (eu, na):
            await saved_on(shards[writer.region], databases, *writer.events, region=writer.region)
        for writer in (eu, na) if shards["EU"] is not shards["NA"] else (eu,):
            await put_on(shards[writer.region], writer)
        report = await settled(shard_map, databases, drop_older=False)
        assert report.unrepaired
        assert len([row async for row in all_rows(databases)]) == 6
        report = await settled(shard_map, databases)
        assert not [one for one in report.differences if "(all)" in one.problem], "they went with the row"
        left = na if older == "EU" else eu
        assert (await settled(shard_map, databases)).differences == []
        assert await hashes_on(shard_map) == {"alice": hash_of(left)}
        assert await sets_on(shard_map) == sets_of_hashes({"alice": hash_of(left)}, left.region)
        assert {region async for region in all_rows(databases)} == {left.region}


async def test_entries_on_the_wrong_partition_are_named_and_go(
    layouts: dict[Layout, dict[str, str]], emptied: None, databases: RegionDatabases
) -> None:
    del emptied
    alice = written("alice")
    async with admitted(layouts["two-partitions"], databases) as shard_map:
        await put_and_saved(shard_map, databases, alice)
        (wrong,) = [shard for shard in shard_map.shards if not shard.partition.holds("alice")]
        await put_on(wrong, alice)
        await wrong.client.delete(wrong.keys.user("alice"))
        await wrong.client.zrem(wrong.keys.board("EU"), "alice")
        await wrong.client.zrem(wrong.keys.board("GLOBAL"), "alice")
        report = await settled(shard_map, databases)
        (difference,) = {one.problem.partition(";")[0] for one in report.differences}
        assert difference == "entries: is on a Redis that holds another partition"
        assert (await settled(shard_map, databases)).differences == []
        assert await hashes_on(shard_map) == {"alice": hash_of(alice)}
        assert await wrong.client.keys("*leaderboard:*") == []
        await put_on(wrong, alice)
        await settled(shard_map, databases)
        assert await hashes_on(shard_map) == {"alice": hash_of(alice)}
        assert await wrong.client.keys("*leaderboard:*") == []
