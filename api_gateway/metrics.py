"""What the gateway tells about its work: a log line and a few counters a request, cheap enough to stay on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from api_gateway.upstream.pool import State, Upstream
from leaderboard_core.telemetry.histogram import Latency, histogram

METRICS_CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8"
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_REQUEST_LABELS: Final = ("method", "route", "status")
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_ROUTES: Final = frozenset(
    {
        "/auth/register",
        "/auth/login",
        "/score",
        "/score/create",
        "/score/update",
        "/score/add",
        "/scores",
        "/top",
        "/ranks",
        "/range",
        "/stream/top",
        "/status",
        "/health",
        "/metrics",
        "/",
    }
)
_ROUTES_BY_PREFIX: Final = (
    ("/rank/", "/rank/{user_id}"),
    ("/around/", "/around/{user_id}"),
    ("/users/", "/users/{user_id}"),
    ("/stream/rank/", "/stream/rank/{user_id}"),
    ("/assets/", "/assets/{file}"),
)


@dataclass(slots=True)
class Exchange:
    """One request on its way through; `status` 499 says that the client left without an answer.

    `seconds` is the whole time in the gateway, once `end` was called.
    """

    method: str
    path: str
    request_id: str
    started_at: float = field(default_factory=perf_counter)
    status: int = 499
    upstream: Upstream | None = None
    retries: int = 0
    response_started: bool = False
    note: str | None = None
    seconds: float = 0.0

    def end(self) -> None:
        self.seconds = perf_counter() - self.started_at


def route_of(path: str) -> str:
    """The route class of a path: one of a dozen names, whatever clients ask for."""
    if path in _ROUTES:
        return path
    for prefix, route in _ROUTES_BY_PREFIX:
        if path.startswith(prefix):
            return route
    return "other"


def _latency() -> Latency:
    return Latency(BUCKETS)


class Tally(Collector):
    """What is counted for every request: plain numbers that become metrics only when somebody asks.

    One look into a table counts a request and its time: `requests` by verb, route class and status, `attempts` by
    service and outcome.
    """

    def __init__(self) -> None:
        self.requests: defaultdict[tuple[str, str, int], Latency] = defaultdict(_latency)
        self.attempts: defaultdict[tuple[str, int], Latency] = defaultdict(_latency)
        self.failures: defaultdict[tuple[str, str], int] = defaultdict(int)

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily(
            "gateway_requests", "Requests answered, by verb, route class and status.", labels=_REQUEST_LABELS
        )
        for (method, route, status), latency in self.requests.items():
            requests.add_metric((method, route, str(status)), sum(latency.counts))
        yield requests
        yield histogram(
            "gateway_request_seconds",
            "Time from a request's head to the end of its answer, by route class.",
            "route",
            BUCKETS,
            ((route, latency) for (_, route, _), latency in self.requests.items()),
        )
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
        yield histogram(
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
        self._tally = Tally()
        self.registry.register(self._tally)
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

    def answered(self, exchange: Exchange) -> None:
        method = exchange.method if exchange.method in _METHODS else "other"
        self._tally.requests[(method, route_of(exchange.path), exchange.status)].add(exchange.seconds)

    def upstream_answered(self, upstream: Upstream, status: int, seconds: float) -> None:
        self._tally.attempts[(upstream.address, status)].add(seconds)

    def upstream_failed(self, upstream: Upstream, reason: str) -> None:
        self._tally.failures[(upstream.address, reason)] += 1

    def retried(self, upstream: Upstream, reason: str) -> None:
        self._retries.labels(upstream.address, reason).inc()

    def upstream_state(self, upstream: Upstream, state: State) -> None:
        self._healthy.labels(upstream.address).set(1 if state is State.HEALTHY else 0)

    def left_rotation(self, upstream: Upstream, state: State) -> None:
        self._ejections.labels(upstream.address, state.value).inc()

    def render(self) -> bytes:
        return generate_latest(self.registry)


def log_fields(exchange: Exchange) -> dict[str, object]:
    """What the access log says of an exchange."""
    fields: dict[str, object] = {
        "request_id": exchange.request_id,
        "method": exchange.method,
        "path": exchange.path,
        "status": exchange.status,
        "upstream": exchange.upstream.address if exchange.upstream else None,
        "ms": round(exchange.seconds * 1000, 2),
        "retries": exchange.retries,
    }
    if exchange.note is not None:
        fields["note"] = exchange.note
    return fields
