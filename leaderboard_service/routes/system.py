"""Health and metrics of this replica."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from leaderboard_core import metrics
from leaderboard_service.http import json_response
from leaderboard_service.schemas import Health
from leaderboard_service.state import services

router = APIRouter(tags=["system"])


@router.get(
    "/health",
    response_model=Health,
    responses={503: {"model": Health, "description": "This replica cannot serve; the answer says which store is why."}},
)
async def health(request: Request) -> Response:
    """200 while this replica can serve: every Redis answers and holds its data, and no stop was asked for.

    Postgres is reported and does not count: scores and boards go on without it.
    """
    parts = services(request)
    stores = await parts.health.stores()
    ok = not parts.stopping and stores.redis_ok
    body = {
        "ok": ok,
        "instance": parts.process.instance_name,
        "stopping": parts.stopping,
        "redis": stores.redis,
        "postgres": stores.postgres,
    }
    return json_response(body, 200 if ok else 503)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def prometheus(_: Request) -> Response:
    """Prometheus metrics of this replica."""
    return Response(metrics.render(), media_type=metrics.CONTENT_TYPE)
