"""Entries on whatever Redis a layout has: put them there, and read what is there, with its events and rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from leaderboard_core.boards import ALL, Place
from leaderboard_core.entries import Entry, encode
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.fencing import Fence
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.support.entries import BOARDS, Writer, define, field_of
from tests.support.worker import EAGER
from worker_service.recovery.rebuild import rebuild
from worker_service.saving.batch import build
from worker_service.saving.upsert import save


@asynccontextmanager
async def admitted(environ: dict[str, str], databases: RegionDatabases) -> AsyncIterator[ShardMap]:
    """Have every Redis open, with the boards of the tests."""
    await define(databases)
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        for shard in shard_map.shards:
            await rebuild(shard, databases, EAGER)
        yield shard_map
    finally:
        await shard_map.close()


async def put_on(shard: Shard, writer: Writer) -> None:
    """Write a player into a Redis as its writer left it."""
    client, keys = shard.client, shard.keys
    if writer.score is not None:
        card: Any = {"name": writer.user_id, "region": writer.region, "score": writer.score}
        card |= {"updated_at": writer.updated_at}
        card |= {"since": writer.deleted_at} if writer.deleted_at else {}
        card |= {"clock": writer.clock} if writer.clock > writer.updated_at else {}
        await client.hset(keys.user(writer.user_id), mapping=card)
        for region in {writer.region, GLOBAL}:
            await client.zadd(keys.board(region), {writer.user_id: writer.score})
    for state in writer.entries.values():
        await put_entry(shard, writer.region, state)


async def put_entry(shard: Shard, region: str, state: Entry) -> None:
    """Write an entry into a Redis: its hash and sets."""
    await shard.client.hset(shard.keys.entries(state.user_id), field_of(state), encode(state))
    for name in () if state.removed else {*shard.keys.sets(Place(BOARDS[state.board_id], ALL, region))}:
        await shard.client.zadd(name, {state.member: state.key})


async def hashes_on(shard_map: ShardMap) -> dict[str, dict[str, str]]:
    """Return all hashes of entries, by user_id."""
    found: dict[str, dict[str, str]] = {}
    for shard in shard_map.shards:
        start = shard.keys.entries("")
        async for key in shard.client.scan_iter(f"{start}*", count=1000):
            assert key.removeprefix(start) not in found, "it is on two Redis"
            fields: Any = await shard.client.hgetall(key)
            found[key.removeprefix(start)] = fields
    return found


async def sets_on(shard_map: ShardMap) -> dict[str, dict[str, float]]:
    """Return all sets of boards other than `main`, the parts of each as one."""
    found: dict[str, dict[str, float]] = {}
    for shard in shard_map.shards:
        start = f"{shard.keys.prefix}leaderboard:"
        async for key in shard.client.scan_iter(f"{start}*:*", count=1000):
            rows: Any = await shard.client.zrange(key, 0, -1, withscores=True)
            found.setdefault(key.removeprefix(start), {}).update(dict(rows))
    return found


def sets_of_hashes(hashes: dict[str, dict[str, str]], region: str = "EU") -> dict[str, dict[str, float]]:
    """What the sets have to be."""
    rules = {board.name: board.rules for board in BOARDS.values()}
    found: dict[str, dict[str, float]] = {}
    for user_id, fields in hashes.items():
        for field, text in fields.items():
            key, tie, *_ = text.split(" ")
            both = rules[field.partition(".")[0]].regions
            for place in ((region, GLOBAL) if both else (GLOBAL,)) if key != "-" else ():
                found.setdefault(f"{field}:{place}", {})[(tie if tie != "-" else "") + user_id] = float(key)
    return found


async def saved_on(shard: Shard, databases: RegionDatabases, *events: str, region: str = "EU") -> None:
    """Save events of a shard's players, under its admission."""
    name = shard.partition.name(region)
    nonce = await databases[region].fetchval("SELECT nonce FROM admissions WHERE region = $1", name)
    assert await save(databases[region], build(events, region), Fence(name, nonce)) == []


async def queued_on(shard: Shard, region: str = "EU") -> list[str]:
    """Take all events of a queue, oldest first."""
    found: Any = await shard.client.lrange(shard.keys.queue(region), 0, -1)
    await shard.client.delete(shard.keys.queue(region))
    return [*found[::-1]]
