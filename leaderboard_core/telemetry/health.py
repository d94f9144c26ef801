"""Probe Redis and Postgres for the /health answers."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.telemetry.ttl_cache import TtlCache

log = logging.getLogger(__name__)

CACHE_SECONDS = 1.0
"""Three gateways ask three services every second: they share one probe."""
TIMEOUT_SECONDS = 1.0
"""A server that hangs must not make the answer about it hang: the asker would take this process for dead."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """One entry per shard `{shard, regions, ok, ready}` and one per region's database `{region, ok}`.

    A shard is ok when it answers and holds its data.
    """

    redis: list[dict[str, Any]]
    postgres: list[dict[str, Any]]

    @property
    def redis_ok(self) -> bool:
        return all(entry["ok"] for entry in self.redis)

    @property
    def ok(self) -> bool:
        return self.redis_ok and all(entry["ok"] for entry in self.postgres)


class HealthProbe:
    """Probes every store at most once in CACHE_SECONDS, however many ask."""

    def __init__(self, shard_map: ShardMap, databases: RegionDatabases) -> None:
        self._map = shard_map
        self._databases = databases
        self._cache = TtlCache(self._probe, CACHE_SECONDS)

    async def stores(self) -> StoreHealth:
        """Return the stores' health, at most CACHE_SECONDS old."""
        return await self._cache.get()

    async def _probe(self) -> StoreHealth:
        redis, postgres = await asyncio.gather(
            asyncio.gather(*(_shard_health(shard) for shard in self._map.shards)),
            asyncio.gather(*(self._database_health(region) for region in self._databases.regions)),
        )
        return StoreHealth(list(redis), list(postgres))

    async def _database_health(self, region: str) -> dict[str, Any]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                return {"region": region, "ok": await self._databases.reachable(region) is None}
        except TimeoutError:
            return {"region": region, "ok": False}


async def _shard_health(shard: Shard) -> dict[str, Any]:
    entry: dict[str, Any] = {"shard": shard.name, "regions": list(shard.regions), "ok": False, "ready": False}
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            ready, warnings = await asyncio.gather(shard.is_ready(), shard.warnings())
    except (Unavailable, TimeoutError) as error:
        return {**entry, "error": type(error.__cause__ or error).__name__}
    return {**entry, "ok": ready, "ready": ready, "warnings": warnings}


async def log_warnings(shard_map: ShardMap) -> None:
    """Log once, at the start, what can lose data. Raises Unavailable."""
    for shard in shard_map.shards:
        for warning in await shard.warnings():
            log.warning("%s: %s", shard.name, warning)
