"""What a gateway counts: its requests, and those that it gave to services."""

from __future__ import annotations

import pytest

from api_gateway.metrics import Metrics
from api_gateway.upstream.pool import State, Upstream
from leaderboard_core.http.context import RequestContext
from leaderboard_core.telemetry.exposition import expose


def answered(method: str, route: str, status: int, seconds: float) -> RequestContext:
    context = RequestContext(method, "/", "i", 0)
    context.route, context.status, context.seconds = route, status, seconds
    return context


def test_a_strange_verb_makes_no_label_of_its_own() -> None:
    metrics = Metrics()
    metrics.requests.answered(answered("XYZ", "other", 404, 0.1))
    labels = {"method": "other", "route": "other", "status": "404"}
    assert metrics.registry.get_sample_value("gateway_requests_total", labels) == 1


def test_the_latency_is_a_histogram() -> None:
    metrics, upstream = Metrics(), Upstream("http://u:1")
    for seconds in (0.0005, 0.003, 0.005, 0.2, 60):
        metrics.upstream_answered(upstream, 200 if seconds < 1 else 503, seconds)

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"gateway_upstream_seconds_{name}", {"upstream": "u:1", **labels})

    edges = {"0.001": 1, "0.0025": 1, "0.005": 3, "0.1": 3, "0.25": 4, "10.0": 4, "+Inf": 5}
    assert {edge: value("bucket", le=edge) for edge in edges} == edges
    assert value("count") == 5
    assert value("sum") == pytest.approx(60.2085)
    assert b'gateway_upstream_seconds_bucket{le="0.005",upstream="u:1"} 3.0' in expose(metrics.registry, "")[0]
    by_outcome = {
        outcome: metrics.registry.get_sample_value(
            "gateway_upstream_requests_total", {"upstream": "u:1", "outcome": outcome}
        )
        for outcome in ("200", "503")
    }
    assert by_outcome == {"200": 4, "503": 1}


def test_a_request_is_counted_and_timed_by_its_route() -> None:
    metrics = Metrics()
    for status, seconds in ((200, 0.002), (404, 0.3), (200, 0.002)):
        metrics.requests.answered(answered("GET", "/rank/{user_id}", status, seconds))
    metrics.requests.answered(answered("POST", "/score/add", 200, 7))

    def value(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(name, labels)

    rank = {"route": "/rank/{user_id}"}
    assert value("gateway_requests_total", method="GET", status="200", **rank) == 2
    assert value("gateway_requests_total", method="GET", status="404", **rank) == 1
    assert value("gateway_request_seconds_count", **rank) == 3
    assert value("gateway_request_seconds_sum", **rank) == pytest.approx(0.304)
    assert value("gateway_request_seconds_bucket", le="0.0025", **rank) == 2
    assert value("gateway_request_seconds_bucket", le="5.0", route="/score/add") == 0


def test_what_may_happen_to_a_service_is_counted_from_zero() -> None:
    metrics, upstream = Metrics(), Upstream("http://u:1")
    metrics.upstream_known(upstream, State.HEALTHY)
    for name, label, values in (
        ("gateway_retries_total", "reason", ("connect", "not_sent", "broken")),
        ("gateway_ejections_total", "reason", ("ejected", "stopping")),
        ("gateway_upstream_requests_total", "outcome", ("connect", "not_sent", "broken", "timeout")),
    ):
        for value in values:
            assert metrics.registry.get_sample_value(name, {"upstream": "u:1", label: value}) == 0
