"""The metrics of a gateway: its requests, and those that it gave to services."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from api_gateway.upstream.pool import State, Upstream
from leaderboard_core.telemetry.exposition import count_from_zero
from leaderboard_core.telemetry.histogram import LatencyHistogram, histogram_metric
from leaderboard_core.telemetry.request_metrics import RequestMetrics

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


def _latency() -> LatencyHistogram:
    return LatencyHistogram(BUCKETS)


class UpstreamMetrics(Collector):
    """What is counted for every request to a service: plain numbers that become metrics only when somebody asks.

    `attempts` are by service and status, `failures` by service and reason.
    """

    def __init__(self) -> None:
        self.attempts: defaultdict[tuple[str, int], LatencyHistogram] = defaultdict(_latency)
        self.failures: defaultdict[tuple[str, str], int] = defaultdict(int)

    def collect(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "gateway_upstream_requests",
            "Requests given to a service, by its status or why there was none: connect, not_sent, broken or timeout.",
            labels=("upstream", "outcome"),
        )
        for (address, status), latency in self.attempts.items():
            attempts.add_metric((address, str(status)), sum(latency.counts))
        for (address, reason), count in self.failures.items():
            attempts.add_metric((address, reason), count)
        yield attempts
        yield histogram_metric(
            "gateway_upstream_seconds",
            "Time from asking a service to the head of its answer.",
            "upstream",
            BUCKETS,
            ((address, latency) for (address, _), latency in self.attempts.items()),
        )


class Metrics:
    """The gateway's counters, in a registry of their own so that several gateways can live in one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = RequestMetrics("gateway_requests", "gateway_request_seconds", BUCKETS, self.registry)
        self._upstreams = UpstreamMetrics()
        self.registry.register(self._upstreams)
        self._healthy = Gauge(
            "gateway_upstream_healthy",
            "1 while a service is in the rotation.",
            ("upstream",),
            registry=self.registry,
        )
        self._retries = Counter(
            "gateway_retries",
            "Attempts repeated, by the service that failed.",
            ("upstream", "reason"),
            registry=self.registry,
        )
        self._ejections = Counter(
            "gateway_ejections",
            "Times a service left the rotation.",
            ("upstream", "reason"),
            registry=self.registry,
        )
        self.health_task_failures = Counter(
            "gateway_health_task_failures",
            "Times the health task died and was restarted.",
            registry=self.registry,
        )
        self.sweep_failures = Counter(
            "gateway_sweep_failures",
            "Connections to services that were past a time limit and could not be closed.",
            registry=self.registry,
        )

    def upstream_answered(self, upstream: Upstream, status: int, seconds: float) -> None:
        self._upstreams.attempts[(upstream.address, status)].add(seconds)

    def upstream_failed(self, upstream: Upstream, reason: str) -> None:
        self._upstreams.failures[(upstream.address, reason)] += 1

    def retried(self, upstream: Upstream, reason: str) -> None:
        self._retries.labels(upstream.address, reason).inc()

    def upstream_known(self, upstream: Upstream, state: State) -> None:
        """Count what may happen to a service from 0 on."""
        count_from_zero(self._retries, (upstream.address,), ("connect", "not_sent", "broken"))
        count_from_zero(self._ejections, (upstream.address,), (State.EJECTED.value, State.STOPPING.value))
        for reason in ("connect", "not_sent", "broken", "timeout"):
            self._upstreams.failures[(upstream.address, reason)] += 0
        self.upstream_state(upstream, state)

    def upstream_state(self, upstream: Upstream, state: State) -> None:
        self._healthy.labels(upstream.address).set(1 if state is State.HEALTHY else 0)

    def left_rotation(self, upstream: Upstream, state: State) -> None:
        self._ejections.labels(upstream.address, state.value).inc()
