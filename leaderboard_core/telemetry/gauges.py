"""Show the state of queues and stores as gauges, read at a scrape and never in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from prometheus_client.core import GaugeMetricFamily, Metric

from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.telemetry.health import HealthProbe, StoreHealth
from leaderboard_core.telemetry.queues import QueueProbe, QueueReport

Values = Iterable[tuple[Sequence[str], float]]


class Gauges:
    """Every process that can reach the stores shows the same: use max, not sum, over processes.

    What cannot be read is left out, rather than shown as it was.
    """

    def __init__(self, shard_map: ShardMap, stores: HealthProbe, queues: QueueProbe) -> None:
        self._map = shard_map
        self._stores = stores
        self._queues = queues

    async def collect(self) -> list[Metric]:
        """Read the gauges; waits a second at most for a store that hangs."""
        stores, report = await asyncio.gather(self._stores.stores(), self._queues.report())
        return [*queue_gauges(report), *store_gauges(stores), *breaker_gauges(self._map.shards)]


def queue_gauges(report: QueueReport) -> list[Metric]:
    """Show what is not in Postgres yet, by region, and how many workers save it."""
    queues, by_region = report.queues, ("region",)
    return [
        _gauge(
            "leaderboard_queue_length",
            "Events that wait to be taken by a worker.",
            by_region,
            (((queue.region,), queue.waiting) for queue in queues),
        ),
        _gauge(
            "leaderboard_queue_processing_length",
            "Events that a worker has taken and Postgres has not committed.",
            by_region,
            (((queue.region,), queue.processing) for queue in queues),
        ),
        _gauge(
            "leaderboard_queue_dead_letters",
            "Events that Postgres refused.",
            by_region,
            (((queue.region,), queue.dead) for queue in queues),
        ),
        _gauge(
            "leaderboard_worker_lag_seconds",
            "Age of the oldest event that is not committed yet; 0 when there is none.",
            by_region,
            (((queue.region,), queue.lag_seconds) for queue in queues),
        ),
        _gauge(
            "leaderboard_workers_alive",
            "Workers that sent a heartbeat in the last 5 s.",
            (),
            [((), report.workers_alive)] if queues else [],
        ),
    ]


def store_gauges(stores: StoreHealth) -> list[Metric]:
    """Show which Redis and which region's database answers, and which of those take writes."""
    return [
        _gauge(
            "leaderboard_redis_up",
            "1 while the Redis answers.",
            ("shard",),
            (((shard["shard"],), "error" not in shard) for shard in stores.redis),
        ),
        _gauge(
            "leaderboard_redis_ready",
            "1 while the Redis is known to hold all its data, so that boards are read from it.",
            ("shard",),
            (((shard["shard"],), shard["ready"]) for shard in stores.redis),
        ),
        _gauge(
            "leaderboard_redis_clock_offset_seconds",
            "How far the clock of the Redis is ahead of this process's; servers that may take each other's place must "
            "not be further apart than CLOCK_SKEW_SECONDS.",
            ("shard",),
            (
                ((shard["shard"],), shard["clock_offset_seconds"])
                for shard in stores.redis
                if "clock_offset_seconds" in shard
            ),
        ),
        _gauge(
            "leaderboard_postgres_up",
            "1 while the region's database answers.",
            ("region",),
            (((database["region"],), "error" not in database) for database in stores.postgres),
        ),
        _gauge(
            "leaderboard_redis_writable",
            "1 while the Redis takes writes, 0 while it answers and refuses them; /health says why.",
            ("shard",),
            (((shard["shard"],), "refuses_writes" not in shard) for shard in stores.redis if "error" not in shard),
        ),
        _gauge(
            "leaderboard_postgres_writable",
            "1 while the region's database takes writes, 0 while it answers and refuses them; /health says why.",
            ("region",),
            (
                ((database["region"],), "refuses_writes" not in database)
                for database in stores.postgres
                if "error" not in database
            ),
        ),
    ]


def breaker_gauges(shards: Iterable[Shard]) -> list[Metric]:
    """Show which Redis this process has given up for the moment."""
    return [
        _gauge(
            "leaderboard_redis_breaker_open",
            "1 while this process refuses calls to the Redis because the last ones were not answered.",
            ("shard",),
            (((shard.name,), shard.breaker.is_open) for shard in shards),
        )
    ]


def _gauge(name: str, text: str, labels: Sequence[str], values: Values) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, float(value))
    return family
