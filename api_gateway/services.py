"""What a running gateway holds: made once in the lifespan, found by dependencies."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, Final, Self

from api_gateway.metrics import Metrics
from api_gateway.proxy.forwarding import Proxy
from api_gateway.proxy.operators import Operators
from api_gateway.proxy.streams import StreamPlaces
from api_gateway.upstream.client import UpstreamClient
from api_gateway.upstream.health import HealthMonitor
from api_gateway.upstream.pool import Pool, State, Upstream
from api_gateway.upstream.traced_client import TracedUpstreamClient
from leaderboard_core.calls import CallTable
from leaderboard_core.http.client_address import ClientAddresses
from leaderboard_core.http.origins import Origins
from leaderboard_core.settings import AuthSettings, GatewaySettings, ProcessSettings, StreamSettings, load
from leaderboard_core.telemetry import tracing
from leaderboard_core.tokens import Tokens

log = logging.getLogger(__name__)

_HEARTBEATS_MISSED: Final = 3
"""So many heartbeats that did not come end an event stream: its service hangs, and the client can have another."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Every settings group that the gateway reads."""

    process: ProcessSettings
    auth: AuthSettings
    gateway: GatewaySettings
    stream: StreamSettings = field(default_factory=lambda: load(StreamSettings, {}))

    @classmethod
    def from_environment(cls, process: ProcessSettings) -> Self:
        """Raises SettingsError."""
        return cls(process, load(AuthSettings), load(GatewaySettings), load(StreamSettings))


@dataclass(frozen=True, slots=True)
class Services:
    """What path operations and the proxy ask for; dependencies find each by the name that it has here."""

    instance: str
    metrics: Metrics
    upstreams: Pool
    client: UpstreamClient
    proxy: Proxy
    operators: Operators
    health: HealthMonitor

    @classmethod
    async def start(cls, settings: Settings, name: str, metrics: Metrics, calls: CallTable) -> Self:
        """Make the parts, and check every upstream once."""
        gateway, process = settings.gateway, settings.process

        def changed(upstream: Upstream, old: State, new: State, reason: str) -> None:
            metrics.upstream_state(upstream, new)
            if old is State.HEALTHY:
                metrics.left_rotation(upstream, new)
            level = logging.INFO if new is State.HEALTHY else logging.WARNING
            details = {"upstream": upstream.address, "was": old.value, "reason": reason}
            log.log(level, "upstream is %s", new.value, extra=details)

        pool = Pool(gateway.leaderboard_service_urls, listener=changed)
        for upstream in pool.upstreams:
            metrics.upstream_known(upstream, upstream.state)
        tracer = tracing.active()
        make = UpstreamClient if tracer is None else partial(TracedUpstreamClient, tracer)
        client = make(
            connect_timeout=gateway.upstream_connect_timeout_seconds,
            read_timeout=gateway.upstream_timeout_seconds,
            socket_dir=process.socket_dir,
            on_failure=metrics.sweep_failures.inc,
        )
        addresses = ClientAddresses(process.trusted_proxies)
        operators = Operators(addresses, gateway.status_allow)
        proxy = Proxy(
            pool,
            client,
            metrics,
            calls,
            Tokens(settings.auth),
            addresses,
            operators,
            Origins(addresses, cors_origins=process.cors_origins, allowed_hosts=process.allowed_hosts),
            StreamPlaces(gateway.streams_per_address),
            max_body_bytes=process.max_body_bytes,
            client_timeout=process.client_timeout_seconds,
            longest_silence=settings.stream.stream_heartbeat_seconds * _HEARTBEATS_MISSED,
        )
        health = HealthMonitor(
            pool,
            interval=gateway.health_check_interval_seconds,
            connect_timeout=gateway.upstream_connect_timeout_seconds,
            on_failure=metrics.health_task_failures.inc,
        )
        started = cls(
            process.instance_name or f"{name}-{process.port}", metrics, pool, client, proxy, operators, health
        )
        client.start()
        try:
            await health.start()
        except BaseException:
            await started.close()
            raise
        return started

    def state(self) -> dict[str, Any]:
        """The state of the lifespan."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def announce_stop(self) -> None:
        """Say that the process is ending: `/health` turns 503, and event streams end."""
        self.proxy.stopping.set()

    async def close(self) -> None:
        """End the streams, and close what leads to the services."""
        self.announce_stop()
        await self.health.close()
        await self.client.close()
