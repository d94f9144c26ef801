"""Make the tables of docs/performance.md from the JSON of a run.

python -m benchmarks.report
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
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
    servers = found["servers"]
    head = ["Redis servers"]
    for each in servers[0]["scenarios"]:
        head += [f"{each['title']}, /s", "service µs", "Redis µs"]
    by_servers = []
    for entry in servers:
        line = [str(entry["servers"])]
        for each in entry["scenarios"]:
            cpu = each["cpu_us"]
            line += [f"{each['rate']:,.0f}", f"{cpu.get('service', 0):.0f}", f"{cpu.get('redis', 0):.0f}"]
        by_servers.append(line)
    return "\n\n".join(
        [
            "µs of Redis time in the median script call (INFO latencystats):",
            markdown_table(["players", *names], by_size),
            "CPU µs per request, service + Redis:",
            markdown_table(["players", *names], cpu_by_size),
            f"GLOBAL board of {found['server_players']:,} players, one service without NGINX:",
            markdown_table(head, by_servers),
        ]
    )


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


def _median(timed: dict[str, float] | None) -> str:
    return "refused" if timed is None else f"{timed['median_ms']:,.1f}"


def _service_and_redis(cpu: dict[str, float]) -> str:
    return f"{cpu['service']:.0f} + {cpu['redis']:.0f}" if cpu else ""


def main() -> None:
    """Print the tables of all available results."""
    console = Console(soft_wrap=True, highlight=False, markup=False)
    for name, render in (("load", load_markdown), ("scaling", scaling_markdown), ("fallback", fallback_markdown)):
        path = RESULTS / f"{name}.json"
        if path.exists():
            console.print(render(json.loads(path.read_text("utf-8"))) + "\n")
        else:
            console.print(f"There is no {path.name} yet.\n")


if __name__ == "__main__":
    main()
