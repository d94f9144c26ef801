"""Health and metrics of this replica, and the state of the whole system."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi.responses import PlainTextResponse

from leaderboard_core.telemetry import metrics
from leaderboard_service.asgi import Call, Reply, json_reply
from leaderboard_service.openapi import Route
from leaderboard_service.system.schemas import Health, Status


async def health(call: Call) -> Reply:
    """Whether this replica can serve.

    200 while every Redis answers and holds its data, and no stop was asked for; else 503. Postgres is reported and
    does not count: scores and boards go on without it.
    """
    parts = call.parts
    stores = await parts.health.stores()
    ok = not parts.stopping and stores.redis_ok
    body = {
        "ok": ok,
        "instance": parts.process.instance_name,
        "stopping": parts.stopping,
        "redis": stores.redis,
        "postgres": stores.postgres,
    }
    return json_reply(body, 200 if ok else 503)


async def status(call: Call) -> Reply:
    """The state of the whole system, for operators.

    Is everything saved, who is at it, and where do reads come from? Always 200; at most a second old, however many
    ask.
    """
    stores, report = await asyncio.gather(call.parts.health.stores(), call.parts.queues.report())
    return json_reply(
        {
            "ok": stores.ok and not report.missing and report.workers_alive > 0,
            "reads": "redis" if stores.redis_ok else "postgres",
            "queues": [_rounded(queue.as_dict()) for queue in report.queues],
            "workers": [_rounded(worker.as_dict()) for worker in report.workers],
            "redis": [{"regions": shard["regions"], "ok": shard["ok"]} for shard in stores.redis],
            "postgres": [{"region": database["region"], "ok": database["ok"]} for database in stores.postgres],
        }
    )


def _rounded(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: round(value, 3) if isinstance(value, float) else value for name, value in fields.items()}


async def prometheus(call: Call) -> Reply:
    """Prometheus metrics of this replica.

    Its counters, and the state of queues and stores.
    """
    now = await call.parts.gauges.look()
    return Reply(200, metrics.render(now), ((b"content-type", metrics.CONTENT_TYPE.encode()),))


ROUTES = (
    Route("GET", "/health", health, "system", Health, other_responses={503: {"model": Health}}),
    Route("GET", "/status", status, "system", Status),
    Route("GET", "/metrics", prometheus, "system", response_class=PlainTextResponse),
)
