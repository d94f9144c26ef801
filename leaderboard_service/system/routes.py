"""Serves health and metrics of this replica, and the status of the whole system."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import REGISTRY

from leaderboard_core import calls
from leaderboard_core.errors import Forbidden
from leaderboard_core.http.metrics_page import Accept, metrics_page
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute
from leaderboard_service.openapi import refused_with
from leaderboard_service.system import schemas
from leaderboard_service.system.dependencies import System

router = APIRouter(tags=["system"], route_class=CompiledRoute)


@router.get(
    calls.HEALTH.path,
    response_description="It can serve.",
    response_model=schemas.Health,
    responses={503: {"model": schemas.Health, "description": "It cannot serve."}},
)
async def get_health(system: System) -> JSONReply:
    """Whether this replica can serve.

    200 while every Redis answers, holds its data and takes writes, and no stop was asked for; else 503. Postgres is
    reported and does not count: scores and boards go on without it.
    """
    found = await system.health()
    return JSONReply(found, 200 if found["ok"] else 503)


@router.get(
    calls.STATUS.path,
    response_description="The state of all parts.",
    response_model=schemas.Status,
    responses=refused_with(Forbidden),
)
async def get_status(system: System) -> JSONReply:
    """The state of the whole system, for operators.

    Is everything saved, who is at it, and where do reads come from? 200 whatever it says; at most a second old, however
    many ask. A gateway shows it to addresses in STATUS_ALLOW only.
    """
    return JSONReply(await system.status())


@router.get(
    calls.METRICS.path,
    response_description="Prometheus' text format.",
    response_class=PlainTextResponse,
    responses=refused_with(Forbidden),
)
async def get_metrics(system: System, accepted: Accept) -> Response:
    """Prometheus metrics of this replica.

    Its counters, and the state of queues and stores. A gateway has its own, for addresses in STATUS_ALLOW only.
    """
    return metrics_page(REGISTRY, accepted, await system.gauges())
