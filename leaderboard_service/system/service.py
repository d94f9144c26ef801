"""Reports the health of a replica, and the status of the system's stores, queues and workers."""

from __future__ import annotations

import asyncio
from typing import Any

from prometheus_client.core import Metric

from leaderboard_core.telemetry.gauges import Gauges
from leaderboard_core.telemetry.health import HealthProbe
from leaderboard_core.telemetry.queues import QueueProbe


class SystemStatus:
    """Reports from probes that ask the stores at most once a second, however many requests come."""

    def __init__(self, instance: str, stores: HealthProbe, queues: QueueProbe, gauges: Gauges) -> None:
        self.stopping = False
        """Whether a stop was requested."""
        self._instance = instance
        self._stores = stores
        self._queues = queues
        self._gauges = gauges

    async def health(self) -> dict[str, Any]:
        """Report whether this replica can serve; Postgres is reported and does not count."""
        stores = await self._stores.stores()
        return {
            "ok": not self.stopping and stores.redis_ok,
            "instance": self._instance,
            "stopping": self.stopping,
            "redis": stores.redis,
            "postgres": stores.postgres,
        }

    async def status(self) -> dict[str, Any]:
        """Report whether everything is saved, which workers run, and where reads come from."""
        stores, report = await asyncio.gather(self._stores.stores(), self._queues.report())
        return {
            "ok": stores.ok and not report.missing and report.workers_alive > 0,
            "saved": not report.missing and not any(q.waiting or q.processing or q.dead for q in report.queues),
            "reads": "redis" if stores.redis_ready else "postgres",
            "queues": [_rounded(queue.as_dict()) for queue in report.queues],
            "workers": [_rounded(worker.as_dict()) for worker in report.workers],
            "redis": [_redis(shard) for shard in stores.redis],
            "postgres": [_shown(database, "region") for database in stores.postgres],
        }

    async def gauges(self) -> list[Metric]:
        """Collect the state of queues and stores for one scrape."""
        return await self._gauges.collect()


def _redis(shard: dict[str, Any]) -> dict[str, Any]:
    shown = _shown(shard, "regions", "partition", "clock_offset_seconds")
    return {**shown, "replicas": len(shard["replicas"])} if "replicas" in shard else shown


def _shown(store: dict[str, Any], *names: str) -> dict[str, Any]:
    """What everybody may see of a store: not where it is."""
    return {field: store[field] for field in (*names, "ok", "refuses_writes") if field in store}


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in fields.items()}
