"""Measure what a call costs as the number of players grows, and what it costs to merge a board of several Redis.

    python -m benchmarks.scaling             # 10^4, 10^5, 10^6 players; 1, 2, 4 Redis servers
    python -m benchmarks.scaling --players 1000 10000 --server-players 1000 --seconds 1

One service, without gateway and NGINX; no worker takes the events. Redis time per call is Redis' own account
(INFO latencystats and commandstats), CPU per request the operating system's.
Exits with 1 when wrk is missing or any request failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_facts
from benchmarks.one_service import one_service
from benchmarks.plots import plot_scaling
from benchmarks.recovery import console
from benchmarks.report import RESULTS, scaling_markdown
from benchmarks.wrk import require_wrk

BY_PLAYERS = ("add", "rank", "around", "top")
BY_SERVERS = ("rank", "around", "top")


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    found = argparse.ArgumentParser("scaling", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    found.add_argument("--players", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    found.add_argument("--servers", type=int, nargs="+", default=[1, 2, 4])
    found.add_argument("--server-players", type=int, default=100_000, help="players in the runs with --servers")
    found.add_argument("--seconds", type=float, default=5, help="of each load; whole seconds")
    found.add_argument("--connections", type=int, default=32)
    found.add_argument("--results", type=Path, default=RESULTS, help="folder for scaling.json and scaling.svg")
    return found


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Run everything; return the content of scaling.json."""

    def measured(players: int, servers: int, names: tuple[str, ...]) -> list[dict[str, Any]]:
        console.print(f"{players:,} players on {servers} Redis …")
        with one_service(players, servers) as service:
            found = []
            for name in names:
                found.append(service.measure(name, connections=options.connections, seconds=options.seconds))
                console.print(
                    f"  {found[-1]['title']}: {found[-1]['rate']:,.0f}/s, "
                    f"{found[-1]['redis_us_median_call']:.1f} µs of Redis time in the median call, "
                    f"errors {found[-1]['errors']}"
                )
            return found

    return {
        "machine": machine_facts(),
        "options": {"seconds": options.seconds, "connections": options.connections},
        "server_players": options.server_players,
        "players": [{"players": count, "scenarios": measured(count, 1, BY_PLAYERS)} for count in options.players],
        "servers": [
            {"servers": count, "scenarios": measured(options.server_players, count, BY_SERVERS)}
            for count in options.servers
        ],
    }


def main() -> int:
    """Measure, print the tables, write JSON and plot; return the exit code."""
    options = parser().parse_args()
    require_wrk()
    options.results.mkdir(parents=True, exist_ok=True)
    found = measure(options)
    print(scaling_markdown(found))  # noqa: T201
    (options.results / "scaling.json").write_text(json.dumps(found, indent=2) + "\n")
    plot_scaling(found["players"], found["servers"], options.results / "scaling.svg")
    console.print(f"written to {options.results}")
    entries = [*found["players"], *found["servers"]]
    return 1 if any(each["errors"] for entry in entries for each in entry["scenarios"]) else 0


if __name__ == "__main__":
    sys.exit(main())
