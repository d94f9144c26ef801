"""Make the tables of docs/performance.md from the JSON of a run.

python -m benchmarks.report
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.cpu import KINDS
from benchmarks.machine import describe

RESULTS = Path(__file__).with_name("results")
HEAD = ("scenario", "requests/s", "share of F", "aim", "p50 ms", "p99 ms", "p99 ms at half", "errors")
CPU_HEAD = ("CPU µs per request", *KINDS, "wrk")


def cells(row: dict[str, Any]) -> list[str]:
    """Format a scenario's line, in the order of HEAD."""
    return [
        row["title"],
        f"{row['rate']:,.0f}",
        f"{row['share']:.2f}" if row["scenario"] != "batch" else "",  # 500 scores a request: nothing to compare with
        f"{row['aim']:.2f}" if row["aim"] else "",
        f"{row['p50_ms']:.1f}",
        f"{row['p99_ms']:.1f}",
        f"{row['half_p99_ms']:.1f}",
        str(row["errors"]),
    ]


def cpu_cells(row: dict[str, Any]) -> list[str]:
    """Format the cost of a scenario in each kind of process, in the order of CPU_HEAD."""
    cpu = row["cpu_us"]
    return [row["title"], *(f"{cpu[kind]:,.0f}" if kind in cpu else "" for kind in CPU_HEAD[1:])]


def rich_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    """Make the same table for a terminal."""
    table = Table()
    table.add_column(head[0], no_wrap=True)
    for name in head[1:]:
        table.add_column(name, justify="right")
    for line in lines:
        table.add_row(*line)
    return table


def write_lines(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Write a sentence for each scenario that writes: its events, and whether the worker kept up."""
    return [
        f"{row['title']}: {row['events_rate']:,.0f} events/s taken; {row['queue']:,} waited at the end, "
        f"and were saved {row['drain_seconds']:.1f} s later: {row['saved_rate']:,.0f} events/s into Postgres."
        for row in rows
        if "events_rate" in row
    ]


def markdown_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Format a markdown table; every column but the first is aligned to the right."""
    rule = ["---", *["--:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *lines))


def load_markdown(found: dict[str, Any]) -> str:
    """Format the load benchmark's table, with the machine."""
    rows = found["scenarios"]
    floors = ", ".join(f"{turn['floor_rate']:,.0f}" for turn in found["turns"])
    spread = max(turn["floor_spread"] for turn in found["turns"])
    options = found["options"]
    return "\n\n".join(
        [
            f"{options['players']:,} players, {options['connections']} connections, {options['rounds']} rounds of "
            f"{options['seconds']:g} s. {describe(found['machine'])}.",
            markdown_table(HEAD, [cells(row) for row in rows]),
            markdown_table(CPU_HEAD, [cpu_cells(row) for row in rows]),
            f"F, requests/s, in the order of the turns: {floors}. The two floors of a turn lay apart by up to "
            f"{spread:.0%} of F: that is how steady the machine was.",
            "\n".join(f"- {line}" for line in write_lines(rows)),
        ]
    )


def scaling_markdown(found: dict[str, Any]) -> str:
    """Format the cost of a call to Redis by number of players, and the cost of more Redis servers."""
    sizes = found["players"]
    names = [each["title"] for each in sizes[0]["scenarios"]]
    by_size = [
        [f"{size['players']:,}", *(f"{each['redis_us_median_call']:.1f}" for each in size["scenarios"])]
        for size in sizes
    ]
    cpu_by_size = [
        [f"{size['players']:,}", *(_service_and_redis(each["cpu_us"]) for each in size["scenarios"])] for size in sizes
    ]
    return "\n\n".join(
        [
            "µs of Redis time in the median script call (INFO latencystats):",
            markdown_table(["players", *names], by_size),
            "CPU µs per request, service + Redis:",
            markdown_table(["players", *names], cpu_by_size),
            f"GLOBAL board of {found['server_players']:,} players, one service without NGINX:",
            _rates_and_costs("Redis servers", found["servers"], "servers"),
        ]
    )


def partitions_markdown(found: dict[str, Any]) -> str:
    """Format the cost of partitions of a cluster: medians of the rounds."""
    return "\n\n".join(
        [
            f"GLOBAL board of {found['server_players']:,} players, one service without NGINX, a cluster of "
            f"{found['masters']} masters; the turn of {found['rounds']} with the median CPU:",
            _rates_and_costs("partitions", found["partitions"], "partitions"),
        ]
    )


def _rates_and_costs(title: str, entries: Sequence[dict[str, Any]], key: str) -> str:
    head = [title]
    for each in entries[0]["scenarios"]:
        head += [f"{each['title']}, /s", "service µs", "Redis µs"]
    lines = []
    for entry in entries:
        line = [str(entry[key])]
        for each in entry["scenarios"]:
            cpu = each["cpu_us"]
            line += [f"{each['rate']:,.0f}", f"{cpu.get('service', 0):.0f}", f"{cpu.get('redis', 0):.0f}"]
        lines.append(line)
    return markdown_table(head, lines)


def fallback_tables(found: dict[str, Any]) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    """Return the tables of reads from Postgres, each as its head and lines: single reads, and many readers."""
    states = [(size, state) for size in found["sizes"] for state in ("quiet", "written")]
    names = [f"{size['players']:,} {state}" for size, state in states]
    loads = [size[f"{state}_load"] for size, state in states]
    singles = [[read, *(_median(size[state][read]) for size, state in states)] for read in states[0][0]["quiet"]]
    rows = {
        "answers/s": [f"{load['answers_per_second']:,.0f}" for load in loads],
        "p50 ms": [f"{load['p50_ms']:,.0f}" for load in loads],
        "p99 ms": [f"{load['p99_ms']:,.0f}" for load in loads],
        "refused": [f"{load['refused_share']:.1%}" for load in loads],
        "longest refusal, ms": [f"{load['longest_refusal_ms']:,.0f}" for load in loads],
    }
    return [
        (("one reader, median ms", *names), singles),
        (("64 readers", *names), [[what, *cells_] for what, cells_ in rows.items()]),
    ]


def fallback_markdown(found: dict[str, Any]) -> str:
    """Format reads from Postgres, with the machine."""
    firsts = ", ".join(f"{size['first_read_ms']:,.0f} ms at {size['players']:,}" for size in found["sizes"])
    return "\n\n".join(
        [
            f"{describe(found['machine'])}; {describe(found['sizes'][0]['postgres'])}.",
            *(markdown_table(head, lines) for head, lines in fallback_tables(found)),
            f"The first read of a replica, which waits for the index: {firsts}.",
        ]
    )


def durability_tables(found: dict[str, Any]) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    """Return the tables of `appendfsync`, each as its head and lines: what it costs, and what it loses."""
    rates = []
    for each in found["rates"]:
        line = [f"{each['title']}, {each['connections']} connections, +{each['delay_ms']:g} ms"]
        everysec, always = each["everysec"], each["always"]
        rate, other = (median(turn["rate"] for turn in turns) for turns in (everysec, always))
        ratios = [b["rate"] / a["rate"] for a, b in zip(everysec, always, strict=True)]
        line += [f"{rate:,.0f}", f"{other:,.0f}", f"{median(ratios):.2f}"]
        for key in ("p50_ms", "p99_ms"):
            line += [f"{median(turn[key] for turn in turns):,.1f}" for turns in (everysec, always)]
        rates.append(line)
    losses = []
    for each in found["losses"]:
        trials = each["trials"]
        lossy = sum(1 for trial in trials if trial["system"])
        cells_ = [f"{each['setting']}, {each['way']}, +{each['delay_ms']:g} ms", f"{lossy} of {len(trials)}"]
        cells_.append(f"{median(trial['rate'] for trial in trials):,.0f}")
        for key in ("redis", "system"):
            lost = [trial[key] for trial in trials]
            cells_.append(f"{median(lost):,.0f} ({max(lost):,})")
        losses.append([*cells_, f"{max(trial['oldest_ms'] for trial in trials):,.0f}"])
    rate_head = ("call, load, fsync", "everysec /s", "always /s", "ratio")
    return [
        ((*rate_head, "everysec p50 ms", "always p50 ms", "everysec p99 ms", "always p99 ms"), rates),
        (("setting, end of Redis, fsync", "lost any", "writes/s", "lost by Redis", "by the system", "age, ms"), losses),
    ]


def rebuilding_tables(found: dict[str, Any]) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    """Return the tables of rebuilds, each as its head and lines: what they take, and what others feel."""
    sizes = found["sizes"]
    head = tuple(f"{size['players']:,}" for size in sizes)
    rates = [size["whole"]["rate"] for size in sizes]
    rows = {
        "whole rebuild, s": [f"{size['whole']['seconds']:,.0f}" for size in sizes],
        "players/s": [f"{rate:,.0f}" for rate in rates],
        f"share of the rate at {head[0]}": [f"{rate / rates[0]:.2f}" for rate in rates],
        "rewrites of the append-only file meanwhile": [str(size["whole"]["rewrites"]) for size in sizes],
        "bytes of Redis a player": [f"{size['bytes_per_player']:,.0f}" for size in sizes],
        "most memory of Redis, GiB": [f"{size['whole']['peak_bytes'] / 2**30:.1f}" for size in sizes],
        "whole rebuild beside an open Redis, s": [f"{size['whole_of_open']['seconds']:,.0f}" for size in sizes],
        "Redis' own restart, s": [f"{size['load_seconds']:,.1f}" for size in sizes],
        "rebuild after it, s": [f"{size['incremental']['seconds']:,.1f}" for size in sizes],
        "players that it read": [f"{size['incremental']['players']:,}" for size in sizes],
    }
    loads = {
        "reads from Postgres beside a whole rebuild": "closed",
        "9 reads, 1 write, no rebuild": "calm",
        "the same beside a whole rebuild": "beside",
    }
    felt = []
    for size in sizes:
        for title, key in loads.items():
            load = size[key]
            times = [f"{load[name]:,.1f}" for name in ("p50_ms", "p99_ms", "max_ms")]
            felt.append([f"{size['players']:,}: {title}", f"{load['rate']:,.0f}", *times, str(load["errors"])])
    return [
        (("players", *head), [[what, *cells_] for what, cells_ in rows.items()]),
        (("calls", "/s", "p50 ms", "p99 ms", "longest ms", "errors"), felt),
    ]


def rebuilding_markdown(found: dict[str, Any]) -> str:
    """Format rebuilds by number of players, with the machine."""
    tables = (markdown_table(head, lines) for head, lines in rebuilding_tables(found))
    return "\n\n".join([f"{describe(found['machine'])}.", *tables])


def durability_markdown(found: dict[str, Any]) -> str:
    """Format the price and the losses of `appendfsync`, with the machine."""
    tables = (markdown_table(head, lines) for head, lines in durability_tables(found))
    return "\n\n".join([f"{describe(found['machine'])}.", *tables])


def _median(timed: dict[str, float] | None) -> str:
    return "refused" if timed is None else f"{timed['median_ms']:,.1f}"


def _service_and_redis(cpu: dict[str, float]) -> str:
    return f"{cpu['service']:.0f} + {cpu['redis']:.0f}" if cpu else ""


RENDERERS = (
    ("load", load_markdown),
    ("scaling", scaling_markdown),
    ("fallback", fallback_markdown),
    ("durability", durability_markdown),
    ("rebuilding", rebuilding_markdown),
)


def main() -> None:
    """Print the tables of all available results."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for name, render in RENDERERS:
        path = RESULTS / f"{name}.json"
        if path.exists():
            console.print(render(json.loads(path.read_text("utf-8"))) + "\n")
        else:
            console.print(f"There is no {path.name} yet.\n")


if __name__ == "__main__":
    main()
