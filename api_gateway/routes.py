"""The gateway's own pages for machines: its health and its metrics."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse, Response

from api_gateway.dependencies import ByOperator, GatewayMetrics, GatewayProxy, Health, Instance, Upstreams
from api_gateway.proxy.operators import FOR_OPERATORS
from api_gateway.upstream.pool import State
from leaderboard_core import calls
from leaderboard_core.errors import Forbidden
from leaderboard_core.http.metrics_page import Accept, metrics_page
from leaderboard_core.http.responses import JSONReply
from leaderboard_core.http.routing import CompiledRoute

router = APIRouter(tags=["system"], route_class=CompiledRoute)


@router.get(calls.HEALTH.path, responses={503: {"description": "No service is healthy, or a stop was asked for."}})
async def health(
    instance: Instance, upstreams: Upstreams, proxy: GatewayProxy, task: Health, by_operator: ByOperator
) -> JSONReply:
    """Whether this gateway can serve: 200 while a service is healthy and no stop was asked for."""
    stopping = proxy.stopping.is_set()
    ok = not stopping and any(upstream.state is State.HEALTHY for upstream in upstreams.upstreams)
    page: dict[str, object] = {"ok": ok, "instance": instance, "stopping": stopping, "health_task": task.running}
    if by_operator:
        page["upstreams"] = upstreams.report()
    return JSONReply(page, 200 if ok else 503)


@router.get(calls.METRICS.path, response_class=PlainTextResponse)
async def prometheus(metrics: GatewayMetrics, by_operator: ByOperator, accepted: Accept) -> Response:
    """Prometheus metrics of this gateway."""
    if not by_operator:
        raise Forbidden(FOR_OPERATORS)
    return metrics_page(metrics.registry, accepted)
