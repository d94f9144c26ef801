"""Report queues and workers to whoever monitors: cached, and without the Redis that does not answer."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass
from typing import Any

from leaderboard_core.concurrency.ttl_cache import TtlCache
from leaderboard_core.errors import Unavailable
from leaderboard_core.redis.queues import QueueState, by_region, inspect_queue
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap

CACHE_SECONDS = 1.0
"""A page that many people watch, and a monitoring that asks every process, cost one probe a second."""
TIMEOUT_SECONDS = 1.0
"""A Redis that hangs must not make the answer about it hang."""
ALIVE_SECONDS = 5.0
"""Workers send a heartbeat every second or more often: after so many missed ones, one is counted as gone."""
SHOWN_SECONDS = 60.0
"""Redis keeps the name of an ended worker for a day, which interests nobody."""


@dataclass(frozen=True, slots=True)
class WorkerState:
    """A worker, and how long ago any Redis had its last heartbeat."""

    name: str
    last_seen_seconds: float

    @property
    def alive(self) -> bool:
        return self.last_seen_seconds < ALIVE_SECONDS

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class QueueReport:
    """Every region's queue that could be read whole, and the workers seen lately, latest first.

    `missing` are the regions of which a Redis did not answer.
    """

    queues: list[QueueState]
    workers: list[WorkerState]
    missing: list[str]

    @property
    def workers_alive(self) -> int:
        return sum(worker.alive for worker in self.workers)


class QueueProbe:
    """Reads every queue at most once in CACHE_SECONDS, however many ask."""

    def __init__(self, shard_map: ShardMap) -> None:
        self._map = shard_map
        self._cache = TtlCache(self._probe, CACHE_SECONDS)

    async def report(self) -> QueueReport:
        """Return queues and workers, at most CACHE_SECONDS old; never raises for an unavailable Redis."""
        return await self._cache.get()

    async def _probe(self) -> QueueReport:
        queues = self._map.queues()
        found = await asyncio.gather(*(_inspect(shard, region) for shard, region in queues))
        seen: dict[str, float] = {}
        for _, heartbeats in filter(None, found):
            for name, age in heartbeats.items():
                seen[name] = min(age, seen.get(name, SHOWN_SECONDS))
        missing = list(dict.fromkeys(region for (_, region), one in zip(queues, found, strict=True) if one is None))
        shown = sorted((age, name) for name, age in seen.items() if age < SHOWN_SECONDS)
        return QueueReport(
            [one for one in by_region(one[0] for one in found if one is not None) if one.region not in missing],
            [WorkerState(name, age) for age, name in shown],
            missing,
        )


async def _inspect(shard: Shard, region: str) -> tuple[QueueState, dict[str, float]] | None:
    try:
        async with asyncio.timeout(TIMEOUT_SECONDS):
            return await inspect_queue(shard, region)
    except (Unavailable, TimeoutError):
        return None
