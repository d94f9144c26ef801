"""Measure what a call costs as the number of players grows, and what it costs to merge a board of several Redis.

    python -m benchmarks.scaling             # 10^4, 10^5, 10^6 players; 1, 2, 4 Redis servers; 1 to 8 partitions
    python -m benchmarks.scaling --players 1000 10000 --server-players 1000 --seconds 1
    python -m benchmarks.scaling --only partitions --rounds 3

One service, without gateway and NGINX; no worker takes the events. Redis time per call is Redis' own account
(INFO latencystats and commandstats), CPU per request the operating system's.
Exits with 1 when wrk is missing or any request failed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_facts
from benchmarks.one_service import CLUSTER_MASTERS, RunRedis, one_service, redis_partitions, redis_servers
from benchmarks.plots import plot_partitions, plot_scaling
from benchmarks.recovery import console
from benchmarks.report import RESULTS, partitions_markdown, scaling_markdown
from benchmarks.wrk import require_wrk

BY_PLAYERS = ("add", "rank", "around", "top")
BY_SERVERS = ("rank", "around", "top")
BY_PARTITIONS = ("add", "rank", "around", "top")
PARTS = ("scaling", "partitions")


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    found = argparse.ArgumentParser("scaling", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    found.add_argument("--players", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    found.add_argument("--servers", type=int, nargs="+", default=[1, 2, 4])
    found.add_argument("--server-players", type=int, default=100_000, help="players in the runs with --servers")
    found.add_argument("--seconds", type=float, default=5, help="of each load; whole seconds")
    found.add_argument("--partitions", type=int, nargs="+", default=[1, 2, 4, 8])
    found.add_argument("--rounds", type=int, default=3, help="turns through --partitions, of which medians are taken")
    found.add_argument("--connections", type=int, default=32)
    found.add_argument("--only", choices=PARTS, help="one of the two parts")
    found.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON and the pictures")
    return found


class Measurement:
    """Runs one service after the other, each on its Redis, and measures its calls."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def scaling(self) -> dict[str, Any]:
        """Measure cost against players, and boards merged from several Redis; return the content of scaling.json."""
        options = self._options
        sizes = [
            {"players": count, "scenarios": self._measured(count, redis_servers(1), BY_PLAYERS)}
            for count in options.players
        ]
        servers = [
            {"servers": count, "scenarios": self._measured(options.server_players, redis_servers(count), BY_SERVERS)}
            for count in options.servers
        ]
        return {**self._facts(), "players": sizes, "servers": servers}

    def partitions(self) -> dict[str, Any]:
        """Measure cost against partitions of one cluster; return the content of partitions.json."""
        options = self._options
        rounds: list[dict[int, list[dict[str, Any]]]] = [
            {
                count: self._measured(options.server_players, redis_partitions(count), BY_PARTITIONS)
                for count in options.partitions
            }
            for _ in range(options.rounds)
        ]
        lines = [
            {
                "partitions": count,
                "scenarios": [_median([turn[count][place] for turn in rounds]) for place in range(len(BY_PARTITIONS))],
            }
            for count in options.partitions
        ]
        return {**self._facts(), "masters": CLUSTER_MASTERS, "rounds": options.rounds, "partitions": lines}

    def _facts(self) -> dict[str, Any]:
        options = self._options
        return {
            "machine": machine_facts(),
            "options": {"seconds": options.seconds, "connections": options.connections},
            "server_players": options.server_players,
        }

    def _measured(self, players: int, run_redis: RunRedis, names: tuple[str, ...]) -> list[dict[str, Any]]:
        options = self._options
        console.print(f"{players:,} players on {run_redis.where} …")
        with one_service(players, run_redis) as service:
            found = []
            for name in names:
                found.append(service.measure(name, connections=options.connections, seconds=options.seconds))
                console.print(
                    f"  {found[-1]['title']}: {found[-1]['rate']:,.0f}/s, "
                    f"{found[-1]['redis_us_median_call']:.1f} µs of Redis time in the median call, "
                    f"errors {found[-1]['errors']}"
                )
            return found


def _median(turns: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The turn with the median CPU of the service; of all, that CPU and the errors."""
    by_cpu = sorted(turns, key=lambda turn: float(turn["cpu_us"].get("service", 0)))
    return {
        **by_cpu[len(by_cpu) // 2],
        "errors": sum(turn["errors"] for turn in turns),
        "service_us_of_all": [round(turn["cpu_us"].get("service", 0), 1) for turn in turns],
    }


def main() -> int:
    """Measure, print the tables, write JSON and plots; return the exit code."""
    options = parser().parse_args()
    require_wrk()
    options.results.mkdir(parents=True, exist_ok=True)
    measurement = Measurement(options)
    entries: list[dict[str, Any]] = []
    if options.only in (None, "scaling"):
        found = measurement.scaling()
        print(scaling_markdown(found))  # noqa: T201
        (options.results / "scaling.json").write_text(json.dumps(found, indent=2) + "\n")
        plot_scaling(found["players"], found["servers"], options.results / "scaling.svg")
        entries += [*found["players"], *found["servers"]]
    if options.only in (None, "partitions"):
        found = measurement.partitions()
        print(partitions_markdown(found))  # noqa: T201
        (options.results / "partitions.json").write_text(json.dumps(found, indent=2) + "\n")
        plot_partitions(found["partitions"], options.results / "partitions.svg")
        entries += found["partitions"]
    console.print(f"written to {options.results}")
    return 1 if any(each["errors"] for entry in entries for each in entry["scenarios"]) else 0


if __name__ == "__main__":
    sys.exit(main())
