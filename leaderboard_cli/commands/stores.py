"""Open Redis and Postgres for the length of one command."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress

import asyncpg

from leaderboard_cli.commands.environment import stores_environment
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.redis.layout import check_places
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from worker_service.recovery.layout import check_count


@asynccontextmanager
async def open_stores(environ: Mapping[str, str] | None = None) -> AsyncIterator[tuple[ShardMap, RegionDatabases]]:
    """Open both from the command's environment, or another. Raises SettingsError, also for Redis of another layout."""
    topology = load(TopologySettings, stores_environment() if environ is None else environ)
    shard_map = ShardMap.open(topology)
    databases = await RegionDatabases.open(topology)
    try:
        # What the command does with a store that is away, or has no tables yet, is its own affair.
        with suppress(Unavailable):
            await check_places(shard_map.shards)
        with suppress(*CONNECTION_ERRORS, asyncpg.PostgresError):
            for shard in shard_map.shards:
                await check_count(shard, databases)
        yield shard_map, databases
    finally:
        await shard_map.close()
        await databases.close()
