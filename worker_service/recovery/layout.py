"""Hold the Redis of the settings against what the databases know, and note a layout that is new."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress

import asyncpg

from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool, RegionDatabases
from leaderboard_core.postgres.layouts import partitions_of, set_partitions, settle_layout_id
from leaderboard_core.redis.layout import (
    LayoutChanged,
    check_place,
    check_places,
    databases_differ,
    different_count,
    read_place,
    take_place,
)
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from worker_service.recovery.restore import RebuildInterrupted


async def check_layout(shards: Sequence[Shard], databases: RegionDatabases) -> str:
    """Compare the settings with the databases, and with what each Redis says of itself; returns the layout's id.

    The id is that of the databases, and where they have none that of the Redis. Raises LayoutChanged, Unavailable, and
    asyncpg's errors.
    """
    for shard in shards:
        await check_count(shard, databases)
    return await settle_layout_id(databases[GLOBAL], await check_places(shards) or secrets.token_hex(8))


async def note_layout(shard: Shard, databases: RegionDatabases) -> None:
    """As `check_layout` for one shard; then write into it, and into the databases of its regions, what it holds."""
    layout_id = await check_layout([shard], databases)
    await take_place(shard, layout_id)
    for region in shard.regions:
        if await partitions_of(databases[region], region) is None:
            await set_partitions(databases[region], region, shard.partition.count)


async def check_count(shard: Shard, databases: RegionDatabases) -> None:
    """Compare the number of partitions with what the databases know. Raises LayoutChanged, and asyncpg's errors."""
    for region in shard.regions:
        await _check_count_of(shard, databases[region], region)


async def check_same_layout(shard: Shard, pool: Pool, region: str) -> None:
    """Look whether a shard is still what the settings say, in Redis and in the database of a region.

    Raises LayoutChanged, Unavailable, and RebuildInterrupted when Postgres does not answer.
    """
    check_place(shard, await read_place(shard))
    try:
        await _check_count_of(shard, pool, region)
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        raise RebuildInterrupted(describe(error)) from error


async def _check_count_of(shard: Shard, pool: Pool, region: str) -> None:
    known = await partitions_of(pool, region)
    if known is None or known == shard.partition.count:
        return
    place = None
    with suppress(Unavailable):  # that the numbers differ is known without it
        place = await read_place(shard)
    agrees = place is not None and place.layout_id and place.partition == shard.partition
    raise LayoutChanged(databases_differ(shard, known) if agrees else different_count(shard, known))
