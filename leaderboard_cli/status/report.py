"""Compute a report from two snapshots: rates and quantiles by route and by service, queues, workers, stores."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from leaderboard_cli.status.poller import Snapshot
from leaderboard_cli.status.samples import Distribution, Samples, growth

_PROBES = ("/health", "/metrics")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Requests of one route or to one service, between two snapshots; times in seconds, None if unknown."""

    name: str
    per_second: float
    failed_per_second: float
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Upstream:
    """A service as the gateways see it: how many of them use it, and its state for the others."""

    url: str
    healthy_for: int
    seen_by: int
    state: str
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that the screen shows. `routes`, `services` and `saved` need two snapshots with metrics.

    `redis` has the server of each shard and its replicas, where a service tells them.
    """

    ok: bool
    status: dict[str, Any] | None
    upstreams: list[Upstream]
    redis: list[dict[str, Any]] = field(default_factory=list)
    routes: list[Traffic] | None = None
    services: list[Traffic] | None = None
    reads_per_second: dict[str, float] | None = None
    saved_per_second: float | None = None
    upsert_p99: float | None = None
    rebuilding: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_report(before: Snapshot | None, after: Snapshot) -> Report:
    """Make a report; without `before` it has no rates."""
    upstreams = _upstreams(after)
    well = after.status is not None and after.status.get("ok") is True
    problems = [*after.problems, *_refused(after)]
    ok = well and not problems and all(upstream.state == "healthy" for upstream in upstreams)
    report = Report(ok, after.status, upstreams, after.redis, rebuilding=_rebuilding(after.metrics), problems=problems)
    if before is None or not after.metrics:
        return report
    pairs = [(before.metrics[name], now) for name, now in after.metrics.items() if name in before.metrics]
    upserts = _distributions("leaderboard_worker_upsert_seconds", pairs, lambda _: "all")
    return replace(
        report,
        routes=_traffic(pairs, "gateway_requests_total", "gateway_request_seconds", "route", "status", _PROBES),
        services=_traffic(pairs, "gateway_upstream_requests_total", "gateway_upstream_seconds", "upstream", "outcome"),
        reads_per_second=_rates("leaderboard_reads_total", pairs, lambda labels: labels["source"]),
        saved_per_second=sum(
            _rates("leaderboard_worker_events_total", pairs, lambda labels: labels["outcome"]).values()
        ),
        upsert_p99=upserts["all"].quantile(0.99) if "all" in upserts else None,
    )


def _upstreams(snapshot: Snapshot) -> list[Upstream]:
    views: defaultdict[str, list[dict[str, Any]]] = defaultdict(list)
    for health in snapshot.health.values():
        for upstream in health["upstreams"]:
            views[upstream["url"]].append(upstream)
    return [
        Upstream(
            url,
            sum(bool(view["healthy"]) for view in seen),
            len(seen),
            next((view["state"] for view in seen if not view["healthy"]), "healthy"),
            next((view["last_error"] for view in seen if view["last_error"]), None),
        )
        for url, seen in sorted(views.items())
    ]


def _refused(snapshot: Snapshot) -> list[str]:
    """Say where Postgres has refused scores."""
    queues = (snapshot.status or {}).get("queues", ())
    return [
        f"Postgres refused {queue['dead']} of {queue['region']}: see `leaderboard dead-letters list`"
        for queue in queues
        if queue["dead"]
    ]


def _rebuilding(pages: Mapping[str, Samples]) -> list[str]:
    """Describe each running rebuild in a sentence."""
    found = []
    for name, page in pages.items():
        if any(running for _, running in page.of("leaderboard_rebuild_running")):
            players = sum(value for _, value in page.of("leaderboard_rebuild_players"))
            expected = sum(value for _, value in page.of("leaderboard_rebuild_expected_players"))
            of = f" of about {expected:,.0f}" if expected else ""
            found.append(f"{name} brings Redis up to date: {players:,.0f}{of} players read")
    return found


Pairs = list[tuple[Samples, Samples]]
Key = Callable[[dict[str, str]], str]


def _rates(name: str, pairs: Pairs, key: Key) -> dict[str, float]:
    """Compute the growth per second of a counter, summed over processes, grouped by `key` of the labels."""
    rates: defaultdict[str, float] = defaultdict(float)
    for before, after in pairs:
        seconds = after.at - before.at
        for labels, grown in growth(name, before, after):
            rates[key(labels)] += grown / seconds
    return dict(rates)


def _distributions(name: str, pairs: Pairs, key: Key) -> dict[str, Distribution]:
    found: defaultdict[str, Distribution] = defaultdict(Distribution)
    for before, after in pairs:
        for labels, grown in growth(f"{name}_bucket", before, after):
            found[key(labels)].add(float(labels["le"]), grown)
    return dict(found)


def _traffic(
    pairs: Pairs, counter: str, histogram: str, name: str, outcome: str, hidden: tuple[str, ...] = ()
) -> list[Traffic]:
    """List traffic, the busiest first; an outcome other than a status below 500 counts as failed."""
    whole = _rates(counter, pairs, lambda labels: labels[name])
    failed: defaultdict[str, float] = defaultdict(float)
    for before, after in pairs:
        for labels, grown in growth(counter, before, after):
            if not labels[outcome].isdecimal() or int(labels[outcome]) >= 500:
                failed[labels[name]] += grown / (after.at - before.at)
    times = _distributions(histogram, pairs, lambda labels: labels[name])
    nothing = Distribution()
    return [
        Traffic(
            value,
            rate,
            failed[value],
            times.get(value, nothing).quantile(0.5),
            times.get(value, nothing).quantile(0.99),
        )
        for value, rate in sorted(whole.items(), key=lambda item: (-item[1], item[0]))
        if rate and value not in hidden
    ]
