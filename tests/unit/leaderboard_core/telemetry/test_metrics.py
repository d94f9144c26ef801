"""The names of the metrics follow Prometheus' conventions, and a page shows what was counted and read for it."""

from __future__ import annotations

import re

import pytest
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from leaderboard_core.redis.queues import QueueState
from leaderboard_core.telemetry import metrics
from leaderboard_core.telemetry.exposition import expose
from leaderboard_core.telemetry.gauges import queue_gauges
from leaderboard_core.telemetry.labelled_counts import LabelledCounts
from leaderboard_core.telemetry.queues import QueueReport
from tests.support.catalogue import Described, catalogue


def test_every_declared_metric_has_an_owner() -> None:
    declared = {metric for metric in vars(metrics).values() if isinstance(metric, MetricWrapperBase | LabelledCounts)}
    assert declared == {*metrics.OF_SERVICE, *metrics.OF_WORKER}


@pytest.mark.parametrize("metric", catalogue(), ids=lambda metric: metric.name)
def test_a_name_follows_the_conventions(metric: Described) -> None:
    assert re.fullmatch(r"(gateway|leaderboard)_[a-z0-9_]+", metric.name)
    assert metric.name.endswith("_total") is (metric.kind == "counter")
    assert not re.search(r"(milli|micro|_ms|minutes|hours|kilo|mega)", metric.name), "base units"
    assert metric.meaning.endswith(".")
    assert "|" not in metric.meaning


def test_a_page_has_the_counters_and_the_gauges_of_this_scrape() -> None:
    report = QueueReport([QueueState("EU", 3, 2, 1, 4.5)], [], ["NA"])
    page = expose(REGISTRY, "", queue_gauges(report))[0].decode()
    samples = {
        (sample.name, sample.labels.get("region", "")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name.startswith(("leaderboard_queue", "leaderboard_worker_lag", "leaderboard_workers"))
    }
    assert samples == {
        ("leaderboard_queue_length", "EU"): 3,
        ("leaderboard_queue_processing_length", "EU"): 2,
        ("leaderboard_queue_dead_letters", "EU"): 1,
        ("leaderboard_worker_lag_seconds", "EU"): 4.5,
        ("leaderboard_workers_alive", ""): 0,
    }
    assert b"leaderboard_queue_length" not in expose(REGISTRY, "")[0], "nothing stays from one scrape to the next"


@pytest.mark.parametrize(
    ("accepted", "content_type"),
    [
        ("", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html, */*", "text/plain; version=0.0.4; charset=utf-8"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text; version=1.0.0"),
    ],
)
def test_a_page_is_in_the_format_that_is_asked_for(accepted: str, content_type: str) -> None:
    gauges = queue_gauges(QueueReport([QueueState("EU", 3, 2, 1, 4.5)], [], []))
    content, shown_as = expose(REGISTRY, accepted, gauges)
    assert shown_as.startswith(content_type)
    text = content.decode()
    assert text.endswith("# EOF\n") is ("openmetrics" in content_type)
    parse = openmetrics if "openmetrics" in content_type else text_string_to_metric_families
    assert {"leaderboard_queue_length", "process_open_fds"} <= {family.name for family in parse(text)}
