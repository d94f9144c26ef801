"""The parts of the running gateway that its path operations ask for."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from api_gateway.metrics import Metrics
from api_gateway.proxy.forwarding import Proxy
from api_gateway.proxy.operators import IsOperator
from api_gateway.upstream.health import HealthMonitor
from api_gateway.upstream.pool import Pool
from leaderboard_core.http.dependencies import FromState

instance = FromState("instance")
Instance = Annotated[str, Depends(instance)]

metrics = FromState("metrics")
GatewayMetrics = Annotated[Metrics, Depends(metrics)]

upstreams = FromState("upstreams")
Upstreams = Annotated[Pool, Depends(upstreams)]

proxy = FromState("proxy")
GatewayProxy = Annotated[Proxy, Depends(proxy)]

ByOperator = Annotated[bool, Depends(IsOperator())]

health = FromState("health")
Health = Annotated[HealthMonitor, Depends(health)]
