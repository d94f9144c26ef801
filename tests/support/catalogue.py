"""List every metric of the code by process, as the documentation does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.metrics import MetricWrapperBase

from api_gateway.metrics import Metrics
from api_gateway.upstream.pool import State, Upstream
from leaderboard_core.http.context import RequestContext
from leaderboard_core.redis.queues import QueueState
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from leaderboard_core.telemetry import metrics
from leaderboard_core.telemetry.gauges import breaker_gauges, queue_gauges, store_gauges
from leaderboard_core.telemetry.health import StoreHealth
from leaderboard_core.telemetry.labelled_counts import LabelledCounts
from leaderboard_core.telemetry.queues import QueueReport
from leaderboard_core.telemetry.request_metrics import RequestMetrics


class Described(NamedTuple):
    """A metric as written in a query, without the suffixes of a histogram."""

    name: str
    kind: str
    labels: tuple[str, ...]
    shown_by: str
    meaning: str


def catalogue() -> list[Described]:
    """List the metrics of the gateway, the service and the worker, in that order."""
    return [
        *_sampled(_gateway(), "gateway"),
        *_sampled(_http(), "service"),
        *_declared(metrics.OF_SERVICE, "service"),
        *_declared(metrics.OF_WORKER, "worker"),
        *_sampled(_gauges(), "service, worker"),
    ]


def _gateway() -> list[Metric]:
    """Return the gateway's registry after one event of each kind."""
    own, upstream = Metrics(), Upstream("http://u:1")
    own.requests.answered(_request())
    own.upstream_answered(upstream, 200, 0.1)
    own.upstream_state(upstream, State.HEALTHY)
    own.left_rotation(upstream, State.EJECTED)
    own.retried(upstream, "connect")
    return [family for family in own.registry.collect() if family.name.startswith("gateway_")]


def _http() -> Iterable[Metric]:
    requests = RequestMetrics(
        "leaderboard_http_requests", "leaderboard_http_request_seconds", (1,), CollectorRegistry()
    )
    requests.answered(_request())
    return requests.collect()


def _request() -> RequestContext:
    answered = RequestContext("GET", "/top", "i", 0)
    answered.end()
    return answered


def _gauges() -> list[Metric]:
    report = QueueReport([QueueState("EU", 1, 1, 1, 1.0)], [], [])
    stores = StoreHealth([{"shard": "r", "ready": True, "clock_offset_seconds": 0.0}], [{"region": "EU", "ok": True}])
    return [
        *queue_gauges(report),
        *store_gauges(stores),
        *breaker_gauges(ShardMap.open(load(TopologySettings, {})).shards),
    ]


def _sampled(families: Iterable[Metric], shown_by: str) -> list[Described]:
    return [
        Described(
            _query_name(family.name, family.type),
            family.type,
            tuple(name for name in family.samples[0].labels if name != "le"),
            shown_by,
            family.documentation,
        )
        for family in families
    ]


def _declared(found: Iterable[MetricWrapperBase | LabelledCounts], shown_by: str) -> list[Described]:
    described = []
    for metric in found:
        (family,) = metric.describe()
        # The library exposes labels nowhere else before the first sample.
        labels = metric.labels if isinstance(metric, LabelledCounts) else tuple(metric._labelnames)
        described.append(
            Described(_query_name(family.name, family.type), family.type, labels, shown_by, family.documentation)
        )
    return described


def _query_name(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name
