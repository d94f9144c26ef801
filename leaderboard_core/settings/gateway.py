"""Settings of the gateway."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated

from pydantic import BeforeValidator, Field

from leaderboard_core.settings.addresses import HttpUrl, Networks
from leaderboard_core.settings.loading import Group


def _split_urls(value: object) -> object:
    return [part.strip().rstrip("/") for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class GatewaySettings(Group):
    """Upstreams of the gateway and its limits."""

    leaderboard_service_urls: Annotated[tuple[HttpUrl, ...], BeforeValidator(_split_urls)] = Field(
        ("http://127.0.0.1:5001", "http://127.0.0.1:5002", "http://127.0.0.1:5003"),
        min_length=1,
        description="Service replicas, separated by commas.",
    )
    upstream_connect_timeout_seconds: float = Field(1, gt=0, description="Longest wait for a connection.")
    upstream_timeout_seconds: float = Field(15, gt=0, description="Longest wait for a service's next bytes.")
    status_allow: Networks = Field(
        (ip_network("127.0.0.0/8"), ip_network("::1/128")),
        description="Client addresses and networks, separated by commas, that see /metrics, /status and addresses.",
    )
    streams_per_address: int = Field(
        1000, ge=1, description="Live streams that one client address may have through one gateway; more get 429."
    )
    health_check_interval_seconds: float = Field(1, gt=0, description="Pause between two health checks.")
