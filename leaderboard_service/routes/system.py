"""Health and metrics of this replica."""

from __future__ import annotations

from fastapi.responses import PlainTextResponse

from leaderboard_core import metrics
from leaderboard_service.asgi import Call, Reply, json_reply
from leaderboard_service.routes.documented import Route
from leaderboard_service.schemas import Health


async def health(call: Call) -> Reply:
    """200 while this replica can serve: every Redis answers and holds its data, and no stop was asked for.

    Postgres is reported and does not count: scores and boards go on without it.
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


async def prometheus(call: Call) -> Reply:
    """Prometheus metrics of this replica."""
    del call
    return Reply(200, metrics.render(), ((b"content-type", metrics.CONTENT_TYPE.encode()),))


ROUTES = (
    Route("GET", "/health", health, "system", Health, other_responses={503: {"model": Health}}),
    Route("GET", "/metrics", prometheus, "system", response_class=PlainTextResponse),
)
