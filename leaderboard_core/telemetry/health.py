"""Probe Redis and Postgres for the /health answers."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from leaderboard_core.concurrency.ttl_cache import TtlCache
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.redis.error_codes import meaning_of
from leaderboard_core.redis.refusals import look_at_writes
from leaderboard_core.redis.server_settings import warnings_of
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap

log = logging.getLogger(__name__)

CACHE_SECONDS = 1.0
"""Three gateways ask three services every second: they share one probe."""
TIMEOUT_SECONDS = 1.0
"""A server that hangs must not make the answer about it hang: the asker would take this process for dead."""


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """One entry per shard `{shard, regions, ok, ready}` and one per region's database `{region, ok}`.

    `partition` says which part of its regions' players a shard holds, where that is not all. A shard is ok when it
    answers, holds its data and takes writes, a database when it answers and takes writes. Else `error` says why it does
    not answer, or `refuses_writes` why it takes none. `server` is where a shard is now, `replicas` those that are in
    sync with it, `clock_offset_seconds` how far its clock is ahead of this process's.
    """

    redis: list[dict[str, Any]]
    postgres: list[dict[str, Any]]

    @property
    def redis_ok(self) -> bool:
        return all(entry["ok"] for entry in self.redis)

    @property
    def redis_ready(self) -> bool:
        """Whether every shard answers and holds its data, so that boards are read from Redis."""
        return all(entry["ready"] for entry in self.redis)

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
                refusal = await self._databases.why_writes_are_refused(region)
        except CONNECTION_ERRORS as error:
            return {"region": region, "ok": False, "error": type(error).__name__}
        return {"region": region, "ok": refusal is None, **_refusal(refusal)}


async def _shard_health(shard: Shard) -> dict[str, Any]:
    entry: dict[str, Any] = {"shard": shard.name, "regions": list(shard.regions), "ok": False, "ready": False}
    if shard.partition.count > 1:
        entry["partition"] = str(shard.partition)
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            ready, writes, warnings, offset = await asyncio.gather(
                shard.is_ready(), look_at_writes(shard), warnings_of(shard), _clock_offset(shard)
            )
    except (Unavailable, TimeoutError) as error:
        return {**entry, **_failure(shard, error)}
    return {
        **entry,
        "ok": ready and writes.refusal is None,
        "ready": ready,
        "warnings": warnings,
        "server": shard.pipeliner.server,
        "replicas": list(writes.replicas),
        "clock_offset_seconds": offset,
        **_refusal(writes.refusal),
    }


def _failure(shard: Shard, error: BaseException) -> dict[str, str]:
    """Tell a server that answers, and refuses what is asked of it, from one that is away."""
    if error.__cause__ is None and shard.breaker.is_open:
        return {"error": shard.away_because}
    meaning = meaning_of(error.__cause__)
    if meaning is None:
        return {"error": type(error.__cause__ or error).__name__}
    return {"error" if meaning.away else "refuses_writes": meaning.health}


async def _clock_offset(shard: Shard) -> float:
    asked = time.time()
    return round(await shard.now() / 1e6 - (asked + time.time()) / 2, 6)


def _refusal(reason: str | None) -> dict[str, str]:
    return {} if reason is None else {"refuses_writes": reason}


async def log_warnings(shard_map: ShardMap) -> None:
    """Log once, at the start, what can lose data. Raises Unavailable."""
    for shard in shard_map.shards:
        for warning in await warnings_of(shard):
            log.warning("%s: %s", shard.name, warning)
