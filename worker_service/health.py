"""What a worker says of itself, its stores and its queues."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client.core import Metric

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.telemetry.gauges import Gauges
from leaderboard_core.telemetry.health import HealthProbe
from leaderboard_core.telemetry.queues import QueueProbe


class WorkerHealth:
    """Looks at the stores and the queues at most once a second, however many ask."""

    def __init__(self, worker: str, shard_map: ShardMap, databases: RegionDatabases, stop: asyncio.Event) -> None:
        self._worker = worker
        self._stop = stop
        self._stores, self._queues = HealthProbe(shard_map, databases), QueueProbe(shard_map)
        self._gauges = Gauges(shard_map, self._stores, self._queues)

    async def report(self) -> dict[str, Any]:
        """The answer of /health; `ok` while the worker runs, reaches every store and may write there."""
        stores = await self._stores.stores()
        return {
            "ok": stores.ok and not self._stop.is_set(),
            "worker": self._worker,
            "redis": stores.redis,
            "postgres": stores.postgres,
            "queues": [queue.as_dict() for queue in (await self._queues.report()).queues],
        }

    async def gauges(self) -> list[Metric]:
        """The state of queues and stores, for one scrape."""
        return await self._gauges.collect()
