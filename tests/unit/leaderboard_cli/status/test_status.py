"""`leaderboard status`: the arithmetic between two snapshots, the addresses it polls, and what it draws."""

from __future__ import annotations

import io
import json
import math
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from rich.console import Console

from leaderboard_cli.status.poller import Snapshot
from leaderboard_cli.status.report import Report, make_report
from leaderboard_cli.status.samples import Distribution, Samples, growth
from leaderboard_cli.status.screen import draw
from leaderboard_cli.status.sources import DEFAULT_URL, Sources, find_sources

WELL: dict[str, Any] = {
    "ok": True,
    "reads": "redis",
    "queues": [{"region": "EU", "waiting": 1234, "processing": 7, "dead": 0, "lag_seconds": 0.25}],
    "workers": [{"name": "w-1", "last_seen_seconds": 0.4}],
    "redis": [{"regions": ["EU", "NA"], "ok": True}],
    "postgres": [{"region": "EU", "ok": True}, {"region": "NA", "ok": False}],
}


def upstream(url: str, *, healthy: bool = True, error: str | None = None) -> dict[str, Any]:
    return {"url": url, "healthy": healthy, "state": "healthy" if healthy else "ejected", "last_error": error}


class Process:
    """A process's counters, and its page at a moment."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        labels = ["route", "method", "status"]
        self.requests = Counter("gateway_requests", "n", labels, registry=registry)
        self.seconds = Histogram("gateway_request_seconds", "n", ["route"], registry=registry, buckets=(0.1, 0.2, 0.4))
        self.reads = Counter("leaderboard_reads", "n", ["source"], registry=registry)
        self.running = Gauge("leaderboard_rebuild_running", "n", ["shard"], registry=registry)
        self.players = Gauge("leaderboard_rebuild_players", "n", ["region"], registry=registry)
        self.expected = Gauge("leaderboard_rebuild_expected_players", "n", ["region"], registry=registry)

    def answer(self, route: str, status: int, seconds: float) -> None:
        self.requests.labels(route, "GET", str(status)).inc()
        self.seconds.labels(route).observe(seconds)

    def page(self, at: float) -> Samples:
        return Samples.parse(generate_latest(self.registry).decode(), at)


def test_what_has_grown_and_what_was_restarted() -> None:
    before = Samples(0, {"n": {(("a", "1"),): 10.0, (("a", "2"),): 10.0}})
    after = Samples(1, {"n": {(("a", "1"),): 15.0, (("a", "2"),): 4.0, (("a", "3"),): 2.0}})
    assert {labels["a"]: grown for labels, grown in growth("n", before, after)} == {"1": 5, "2": 4, "3": 2}
    assert list(growth("other", before, after)) == []


def test_quantiles_lie_on_straight_lines_between_the_bounds() -> None:
    waits = Distribution()
    assert waits.quantile(0.5) is None
    for upper, count in ((0.1, 50.0), (0.2, 90.0), (0.4, 90.0), (math.inf, 100.0)):
        waits.add(upper, count)
    assert waits.count == 100
    assert waits.quantile(0.25) == pytest.approx(0.05)
    assert waits.quantile(0.5) == pytest.approx(0.1)
    assert waits.quantile(0.7) == pytest.approx(0.15)
    assert waits.quantile(0.99) == 0.4, "beyond the last bound nothing more is known"


@given(st.lists(st.floats(0, 1), min_size=1, max_size=50), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_of_the_exact_one(times: list[float], share: float) -> None:
    bounds = (0.1, 0.25, 0.5, 1.0, math.inf)
    waits = Distribution()
    for bound in bounds:
        waits.add(bound, sum(time <= bound for time in times))
    exact = sorted(times)[math.ceil(share * len(times)) - 1]
    upper = min(bound for bound in bounds if exact <= bound)
    lower = max((bound for bound in bounds if bound < upper), default=0.0)
    found = waits.quantile(share)
    assert found is not None
    assert lower <= found <= upper


def test_rates_and_times_are_summed_over_the_gateways() -> None:
    one, two = Process(), Process()
    one.answer("/top", 200, 9)  # before the first poll
    before = Snapshot(status=WELL, metrics={"gateway-1": one.page(10), "gateway-2": two.page(11)})
    for _ in range(6):
        one.answer("/top", 200, 0.05)
    for _ in range(2):
        two.answer("/top", 503, 0.15)
    two.answer("/rank/{user_id}", 404, 0.3)
    two.answer("/health", 200, 0.01)
    two.reads.labels("postgres").inc(8)
    after = Snapshot(
        status=WELL, metrics={"gateway-1": one.page(12), "gateway-2": two.page(13), "gateway-3": one.page(13)}
    )
    report = make_report(before, after)
    assert report.routes is not None
    top, rank = report.routes
    assert (top.name, top.per_second, top.failed_per_second) == ("/top", 4, 1)
    assert top.p50 == pytest.approx(0.1 * 4 / 6)
    assert top.p99 == pytest.approx(0.1 + 0.1 * (7.92 - 6) / 2)
    assert (rank.name, rank.per_second, rank.failed_per_second) == ("/rank/{user_id}", 0.5, 0), "404 is an answer"
    assert report.reads_per_second == {"postgres": 4}


def test_without_two_pages_there_are_no_rates() -> None:
    page = Process().page(1)
    assert make_report(None, Snapshot(status=WELL, metrics={"g": page})).routes is None
    assert make_report(Snapshot(status=WELL), Snapshot(status=WELL)).routes is None
    assert make_report(Snapshot(status=WELL), Snapshot(status=WELL, metrics={"g": page})).routes == []


def test_an_upstream_is_what_all_gateways_say_of_it() -> None:
    views = {
        "gateway-1": {"upstreams": [upstream("http://a:1"), upstream("http://b:1")]},
        "gateway-2": {"upstreams": [upstream("http://a:1"), upstream("http://b:1", healthy=False, error="refused")]},
    }
    report = make_report(None, Snapshot(status=WELL, health=views))
    a, b = report.upstreams
    assert (a.url, a.state, a.healthy_for, a.seen_by, a.last_error) == ("http://a:1", "healthy", 2, 2, None)
    assert (b.url, b.state, b.healthy_for, b.seen_by, b.last_error) == ("http://b:1", "ejected", 1, 2, "refused")
    assert not report.ok
    assert make_report(None, Snapshot(status=WELL, health={"g": views["gateway-1"]})).ok
    assert not make_report(None, Snapshot(status=WELL, problems=["x"])).ok
    assert not make_report(None, Snapshot(status={**WELL, "ok": False})).ok
    refused = {**WELL, "queues": [{**WELL["queues"][0], "dead": 2}]}
    report = make_report(None, Snapshot(status=refused, health={"g": views["gateway-1"]}))
    assert (report.ok, report.problems) == (False, ["Postgres refused 2 of EU: see `leaderboard dead-letters list`"])
    assert not make_report(None, Snapshot(health={"g": views["gateway-1"]})).ok


def drawn(report: Report, sources: Sources | None = None, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(draw(report, sources or Sources("http://x:1", {}), datetime(2026, 1, 2, 3, 4, 5)))
    output = console.file
    assert isinstance(output, io.StringIO)
    return output.getvalue()


def test_the_screen_shows_what_the_report_has() -> None:
    one = Process()
    before = Snapshot(status=WELL, metrics={"worker-1": one.page(0)})
    one.answer("/top", 500, 0.15)
    one.running.labels("redis://r").set(1)
    one.players.labels("EU").set(5000)
    one.expected.labels("EU").set(20000)
    health = {"g": {"upstreams": [upstream("http://127.0.0.1:5001", healthy=False, error="refused")]}}
    problems = ["http://127.0.0.1:5002/metrics: All connection attempts failed"]
    after = Snapshot(status=WELL, health=health, metrics={"worker-1": one.page(2)}, problems=problems)
    text = drawn(make_report(before, after), Sources("http://x:1", {"worker-1": "http://w"}))
    assert "http://x:1  NOT WELL  03:04:05" in text
    assert "w-1 seen 0.4 s ago" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["EU", "1,234", "7", "0", "0.2", "s", "ok", "ok"] in lines
    assert ["NA", "?", "?", "?", "?", "ok", "away"] in lines
    assert ["127.0.0.1:5001", "ejected", "0", "of", "1", "-", "-", "-", "-"] in lines
    assert ["/top", "0.5", "0.5", "150", "ms", "199", "ms"] in lines
    assert "worker-1 brings Redis up to date: 5,000 of about 20,000 players read" in text
    assert problems[0] in text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_screen_says_what_it_cannot_know() -> None:
    assert "known for the cluster of" in drawn(make_report(None, Snapshot(status=WELL)))
    nobody = {**WELL, "workers": [], "reads": "postgres"}
    text = drawn(make_report(None, Snapshot(status=nobody)))
    assert "none: nothing is being saved" in text
    assert "from postgres" in text


def test_the_screen_tells_a_store_that_refuses_writes_from_one_that_is_away() -> None:
    full = {"ok": False, "refuses_writes": "its maxmemory is used up"}
    stores = {"redis": [{"regions": ["EU", "NA"], **full}], "postgres": [{"region": "EU", **full}]}
    text = drawn(make_report(None, Snapshot(status={**WELL, **stores})))
    lines = [line.split() for line in text.splitlines()]
    assert ["EU", "1,234", "7", "0", "0.2", "s", "refuses", "writes", "refuses", "writes"] in lines
    assert all(len(line) <= 80 for line in text.splitlines())


def test_the_screen_names_the_partitions_of_a_region_that_are_not_well() -> None:
    parts = [{"regions": ["EU"], "partition": f"{index}/3", "ok": True} for index in range(3)]
    assert "3 ok" in drawn(make_report(None, Snapshot(status={**WELL, "redis": parts})))
    parts[1] = {**parts[1], "ok": False}
    parts[2] = {**parts[2], "ok": False, "refuses_writes": "its maxmemory is used up"}
    text = drawn(make_report(None, Snapshot(status={**WELL, "redis": parts})))
    assert "1/3 away, 2/3 refuses writes" in text


def test_the_screen_shows_who_has_each_partition() -> None:
    regions = ["ASIA", "EU", "NA", "GLOBAL"]
    well = {"regions": regions, "ok": True, "server": "127.0.0.1:7001", "replicas": ["127.0.0.1:7004"]}
    parts = [
        {**well, "partition": "0/2", "clock_offset_seconds": 0.01},
        {"regions": regions, "partition": "1/2", "ok": False, "error": "ConnectionError"},
    ]
    report = make_report(None, Snapshot(status=WELL, redis=parts))
    lines = [line.split() for line in drawn(report, width=100).splitlines()]
    assert ["ASIA,EU,NA,GLOBAL", "0/2", "127.0.0.1:7001", "127.0.0.1:7004", "+0.0", "s", "ok"] in lines
    assert ["ASIA,EU,NA,GLOBAL", "1/2", "?", "?", "?", "away"] in lines
    assert all(len(line) <= 80 for line in drawn(report).splitlines())
    told = {**parts[0], "replicas": 1, "clock_offset_seconds": -2.5}
    del told["server"]
    text = drawn(make_report(None, Snapshot(status={**WELL, "redis": [told]})))
    assert ["ASIA,EU,NA,GLOBAL", "0/2", "1", "-2.5", "s", "ok"] in [line.split() for line in text.splitlines()]
    alone = {**told, "replicas": 0}
    assert "replicas" not in drawn(make_report(None, Snapshot(status={**WELL, "redis": [alone]})))


def test_names_are_text_and_never_markup() -> None:
    odd = {**WELL, "workers": [{"name": "[red]w[/nonsense]", "last_seen_seconds": 1}]}
    assert "[red]w[/nonsense]" in drawn(make_report(None, Snapshot(status=odd, problems=["[bold]"])))


def test_where_the_processes_are(tmp_path: Path) -> None:
    environ = {"LEADERBOARD_DATA_DIR": str(tmp_path)}
    assert find_sources("", environ) == Sources(DEFAULT_URL, {})
    assert find_sources("http://a:1/", environ).url == "http://a:1"
    assert find_sources("", {**environ, "LEADERBOARD_URL": "http://b:1"}).url == "http://b:1"
    urls = {"nginx": "http://n", "gateway-1": "http://g", "service-1": "http://s", "worker-1": "http://w"}
    (tmp_path / "cluster.json").write_text(json.dumps({"url": "http://n", "urls": urls}))
    local = find_sources("", environ)
    assert (local.url, dict(local.processes)) == ("http://n", {name: urls[name] for name in urls if name != "nginx"})
    assert local.gateways == {"gateway-1": "http://g"}
    assert local.services == {"service-1": "http://s"}
    assert find_sources("http://n/", environ) == local
    other = find_sources("http://other", environ)
    assert (other.url, dict(other.processes), other.gateways) == (
        "http://other",
        {},
        {"client address": "http://other"},
    )
