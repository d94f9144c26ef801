"""Draw a report as one screen of text."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from leaderboard_cli.status.report import Report, Traffic
from leaderboard_cli.status.sources import Sources

LATE_SECONDS = 10.0
"""A lag above this is shown in red."""
APART_SECONDS = 1.0
"""So is a clock of Redis that is further than this from that of a service."""


def draw(report: Report, sources: Sources, at: datetime) -> RenderableType:
    """Draw the whole screen; 80 columns are enough."""
    parts: list[RenderableType] = [_head(report, sources, at)]
    if report.status is not None:
        parts += [_reads(report, report.status), _workers(report, report.status), _queues(report.status)]
    shards = report.redis or (report.status or {}).get("redis", [])
    if len(shards) > 1 or any(shard.get("replicas") for shard in shards):
        parts.append(_servers(shards))
    if report.upstreams:
        parts.append(_services(report))
    if report.routes is not None:
        parts.append(_routes(report.routes))
    elif not sources.processes:
        hint = "Rates need the processes' own /metrics: they are known for the cluster of `leaderboard up`."
        parts.append(Text(hint, style="dim"))
    parts += [Text(f"! {sentence}", style="yellow") for sentence in report.rebuilding]
    parts += [Text(f"! {problem}", style="red") for problem in report.problems]
    return Padding(Group(*parts), (0, 1))


def _head(report: Report, sources: Sources, at: datetime) -> Text:
    well = ("well", "bold green") if report.ok else ("NOT WELL", "bold red")
    return Text.assemble(("Leaderboard ", "bold"), f"{sources.url}  ", well, (f"  {at:%H:%M:%S}", "dim"))


def _reads(report: Report, status: dict[str, Any]) -> Text:
    source = status["reads"]
    line = Text.assemble(("boards   ", "bold"), "from ", (source, "green" if source == "redis" else "bold red"))
    for name, rate in sorted((report.reads_per_second or {}).items()):
        line.append(f"  {name} {_rate(rate)} reads/s", style="dim")
    return line


def _workers(report: Report, status: dict[str, Any]) -> Text:
    line = Text("workers  ", style="bold")
    if not status["workers"]:
        line.append("none: nothing is being saved  ", style="bold red")
    for worker in status["workers"]:
        age = worker["last_seen_seconds"]
        line.append(f"{worker['name']} ", style="default")
        line.append(f"seen {_duration(age)} ago  ", style="dim" if age < LATE_SECONDS else "bold red")
    if report.saved_per_second is not None:
        line.append(f"{_rate(report.saved_per_second)} events/s, upsert p99 {_time(report.upsert_p99)}", style="dim")
    return line


def _table(*columns: str) -> Table:
    """Make a table whose first column is text and whose other columns are numbers."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number > 0)
    return table


def _queues(status: dict[str, Any]) -> Padding:
    table = _table("region", "waiting", "processing", "dead", "lag", "Redis", "Postgres")
    shards = [(region, shard) for shard in status["redis"] for region in shard["regions"]]
    queues = {queue["region"]: queue for queue in status["queues"]}
    for database in status["postgres"]:
        region = database["region"]
        stores = (_partitions([shard for other, shard in shards if other == region]), _store(database))
        queue = queues.get(region)
        if queue is None:
            table.add_row(region, *["?"] * 4, *stores)
            continue
        lag = queue["lag_seconds"]
        table.add_row(
            region,
            f"{queue['waiting']:,}",
            f"{queue['processing']:,}",
            Text(f"{queue['dead']:,}", style=_bad(queue["dead"] > 0)),
            Text(_duration(lag), style=_bad(lag > LATE_SECONDS)),
            *stores,
        )
    return _below(table)


def _servers(shards: list[dict[str, Any]]) -> Padding:
    """Show who has each shard; /status alone counts the replicas and names no server."""
    named = any("server" in shard for shard in shards)
    table = _table("players of", "partition", *(("server",) if named else ()), "replicas", "clock", "state")
    for shard in shards:
        offset, replicas = shard.get("clock_offset_seconds"), shard.get("replicas")
        table.add_row(
            ",".join(shard["regions"]),
            shard.get("partition", "all"),
            *((shard.get("server") or "?",) if named else ()),
            "\n".join(replicas) or "none" if isinstance(replicas, list) else str("?" if replicas is None else replicas),
            "?" if offset is None else Text(f"{offset:+.1f} s", style=_bad(abs(offset) > APART_SECONDS)),
            _store(shard),
        )
    return _below(table)


def _services(report: Report) -> Padding:
    table = _table("service", "state", "gateways", "req/s", "failed/s", "p50", "p99")
    traffic = {one.name: one for one in report.services or ()}
    for upstream in report.upstreams:
        address = upstream.url.removeprefix("http://")
        table.add_row(
            address,
            Text(upstream.state, style="green" if upstream.state == "healthy" else "bold red"),
            f"{upstream.healthy_for} of {upstream.seen_by}",
            *_numbers(traffic.get(address)),
        )
    return _below(table)


def _routes(rows: list[Traffic]) -> Padding:
    table = _table("route", "req/s", "failed/s", "p50", "p99")
    for row in rows:
        table.add_row(row.name, *_numbers(row))
    if not rows:
        table.add_row(Text("no requests", style="dim"))
    return _below(table)


def _below(table: Table) -> Padding:
    return Padding(table, (1, 0, 0, 0))


def _numbers(traffic: Traffic | None) -> tuple[RenderableType, ...]:
    if traffic is None:
        return ("-",) * 4
    failed = Text(_rate(traffic.failed_per_second), style=_bad(traffic.failed_per_second > 0))
    return _rate(traffic.per_second), failed, _time(traffic.p50), _time(traffic.p99)


def _partitions(shards: list[dict[str, Any]]) -> Text:
    """Say how a region's Redis are; of several, which are not well."""
    if len(shards) <= 1:
        return _store(shards[0] if shards else None)
    ill = [(shard["partition"], _store(shard)) for shard in shards if not shard["ok"]]
    if not ill:
        return Text(f"{len(shards)} ok", style="green")
    return Text(", ".join(f"{place} {said.plain}" for place, said in ill), style="bold red")


def _store(state: dict[str, Any] | None) -> Text:
    if state is not None and state["ok"]:
        return Text("ok", style="green")
    return Text("refuses writes" if state is not None and "refuses_writes" in state else "away", style="bold red")


def _bad(is_bad: bool) -> str:
    return "bold red" if is_bad else ""


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 10 or not per_second else f"{per_second:.1f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds * 1000:.3g} ms" if seconds < 1 else f"{seconds:.2f} s"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
