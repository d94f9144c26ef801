"""What Redis and Postgres say of themselves, in the form of the /health answers."""

from __future__ import annotations

import asyncio
from typing import Any

from leaderboard_core.postgres import RegionDatabases
from leaderboard_core.shards import CONNECTION_ERRORS, Shard, ShardMap


async def redis_health(shard_map: ShardMap) -> list[dict[str, Any]]:
    """One entry per shard: `{shard, regions, ok, ready}`; ok when it answers and holds its data."""
    return list(await asyncio.gather(*(_shard_health(shard) for shard in shard_map.shards)))


async def _shard_health(shard: Shard) -> dict[str, Any]:
    entry: dict[str, Any] = {"shard": shard.name, "regions": list(shard.regions)}
    try:
        ready = bool(await shard.client.exists(shard.keys.ready))
    except CONNECTION_ERRORS as error:
        return {**entry, "ok": False, "ready": False, "error": type(error).__name__}
    return {**entry, "ok": ready, "ready": ready}


async def postgres_health(databases: RegionDatabases) -> list[dict[str, Any]]:
    """One entry per region: `{region, ok}`."""
    problems = await asyncio.gather(*(databases.reachable(region) for region in databases.regions))
    return [
        {"region": region, "ok": problem is None} for region, problem in zip(databases.regions, problems, strict=True)
    ]
