"""The worker's HTTP side: /health and /metrics."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from fastapi import FastAPI, Response

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.queues import QueueProbe
from leaderboard_core.redis.shards import ShardMap
from leaderboard_core.telemetry import metrics
from leaderboard_core.telemetry.gauges import Gauges
from leaderboard_core.telemetry.health import HealthProbe


def create_app(worker: str, shard_map: ShardMap, databases: RegionDatabases, stop: asyncio.Event) -> FastAPI:
    """`/health` is 200 while the worker runs and reaches every Redis and every Postgres."""
    app = FastAPI(title="Leaderboard worker", docs_url=None, redoc_url=None, openapi_url=None)
    probe, queues = HealthProbe(shard_map, databases), QueueProbe(shard_map)
    gauges = Gauges(shard_map, probe, queues)

    @app.get("/health")
    async def health() -> Response:
        stores = await probe.stores()
        ok = stores.ok and not stop.is_set()
        body: dict[str, Any] = {"ok": ok, "worker": worker, "redis": stores.redis, "postgres": stores.postgres}
        body["queues"] = [queue.as_dict() for queue in (await queues.report()).queues]
        return Response(orjson.dumps(body), 200 if ok else 503, media_type="application/json")

    @app.get("/metrics")
    async def prometheus() -> Response:
        return Response(metrics.render(await gauges.look()), media_type=metrics.CONTENT_TYPE)

    return app
