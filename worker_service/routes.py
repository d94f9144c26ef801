"""The worker's pages for machines: its health and its metrics."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import REGISTRY

from leaderboard_core import calls
from leaderboard_core.http.dependencies import FromState
from leaderboard_core.http.metrics_page import Accept, metrics_page
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute
from worker_service.health import WorkerHealth

router = APIRouter(tags=["system"], route_class=CompiledRoute)

worker_health = FromState("worker_health")
Health = Annotated[WorkerHealth, Depends(worker_health)]


_UNHEALTHY = "A store does not answer or refuses writes, or a stop was asked for."


@router.get(calls.HEALTH.path, responses={503: {"description": _UNHEALTHY}})
async def health(worker: Health) -> JSONReply:
    """Whether this worker runs, and reaches every Redis and every Postgres, and may write there."""
    found = await worker.report()
    return JSONReply(found, 200 if found["ok"] else 503)


@router.get(calls.METRICS.path, response_class=PlainTextResponse)
async def prometheus(worker: Health, accepted: Accept) -> Response:
    """Prometheus metrics of this worker, and the state of queues and stores."""
    return metrics_page(REGISTRY, accepted, await worker.gauges())
