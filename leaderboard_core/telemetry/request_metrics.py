"""Requests counted by route, verb and status, and the time that each took: plain numbers until somebody asks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from leaderboard_core.telemetry.histogram import LatencyHistogram, histogram_metric

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Answered(Protocol):
    """A request that was answered; `seconds` is the time from its head to the end of the answer."""

    @property
    def route(self) -> str: ...
    @property
    def method(self) -> str: ...
    @property
    def status(self) -> int: ...
    @property
    def seconds(self) -> float: ...


class RequestMetrics(Collector):
    """A counter and a histogram with names of their own, in a registry."""

    def __init__(self, requests: str, seconds: str, buckets: Sequence[float], registry: CollectorRegistry) -> None:
        self._names = (requests, seconds)
        self._buckets = buckets
        self._latencies: dict[tuple[str, str, int], LatencyHistogram] = {}
        registry.register(self)

    def answered(self, request: Answered) -> None:
        """Count one request."""
        latency = self._latencies.get((request.route, request.method, request.status))
        if latency is None:
            latency = self._latency(request.route, request.method, request.status)
        latency.add(request.seconds)

    def _latency(self, route: str, method: str, status: int) -> LatencyHistogram:
        """The histogram of a route, which verbs that nobody has heard of share."""
        key = (route, method if method in _METHODS else "other", status)
        return self._latencies.setdefault(key, LatencyHistogram(self._buckets))

    def collect(self) -> Iterator[Metric]:
        requests, seconds = self._names
        answers = CounterMetricFamily(
            requests, "Requests answered, by route, verb and status.", labels=("route", "method", "status")
        )
        for (route, method, status), latency in self._latencies.items():
            answers.add_metric((route, method, str(status)), sum(latency.counts))
        yield answers
        yield histogram_metric(
            seconds,
            "Time from a request's head to the end of its answer, by route.",
            "route",
            self._buckets,
            ((route, latency) for (route, _, _), latency in self._latencies.items()),
        )
