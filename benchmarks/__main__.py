"""Measure the whole system under load, next to a bare floor in the same run.

    make bench                     # 1,000,000 players; about ten minutes
    python -m benchmarks --players 10000 --seconds 2 --rounds 1 --only add rank

The real cluster of `leaderboard up` (NGINX, three gateways, three services, Redis, Postgres, a worker) and wrk share
this machine. Every turn is floor, full load, floor, half load; a round is a turn of every scenario.
Exits with 1 when wrk is missing or any request failed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.floor import floor
from benchmarks.machine import machine_facts
from benchmarks.plots import plot_load
from benchmarks.recovery import console
from benchmarks.report import CPU_HEAD, HEAD, RESULTS, cells, cpu_cells, rich_table, write_lines
from benchmarks.scenarios import SCENARIOS, Turn, material_folder, take_turn
from benchmarks.summary import rows_of
from benchmarks.system import loaded_system
from benchmarks.wrk import require_wrk


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    found = argparse.ArgumentParser("benchmarks", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    found.add_argument("--players", type=int, default=1_000_000)
    found.add_argument("--seconds", type=float, default=8, help="of each load; whole seconds")
    found.add_argument("--rounds", type=int, default=2)
    found.add_argument("--connections", type=int, default=64)
    names = [scenario.name for scenario in SCENARIOS]
    found.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    found.add_argument("--results", type=Path, default=RESULTS, help="folder for load.json and load.svg")
    return found


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Run everything; return the content of load.json."""
    turns: list[Turn] = []
    chosen = [scenario for scenario in SCENARIOS if scenario.name in options.only]
    with loaded_system(folder, options.players) as system, floor(folder / "floor") as floor_url:
        for number in range(1, options.rounds + 1):
            for scenario in chosen:
                turn = take_turn(scenario, system, floor_url, connections=options.connections, seconds=options.seconds)
                turns.append(turn)
                console.print(
                    f"round {number}: F {turn.floor_rate:,.0f}/s ± {turn.floor_spread / 2:.0%}, "
                    f"{scenario.title} {turn.full.rate:,.0f}/s "
                    f"= {turn.share:.2f} F, p99 {turn.full.p99_ms:.1f} ms, {turn.half.p99_ms:.1f} ms at "
                    f"{turn.half.rate:,.0f}/s, errors {turn.errors}"
                )
        return {
            "machine": machine_facts(),
            "options": {
                "players": system.players,
                "seconds": options.seconds,
                "rounds": options.rounds,
                "connections": options.connections,
            },
            "load": system.load_facts,
            "scenarios": rows_of(turns),
            "turns": [turn.as_dict() for turn in turns],
        }


def main() -> int:
    """Measure, print the table, write JSON and plot; return the exit code."""
    options = parser().parse_args()
    require_wrk()
    options.results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        found = measure(options, material_folder(Path(name)))
    rows = found["scenarios"]
    output = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    output.print(rich_table(HEAD, [cells(row) for row in rows]))
    output.print(rich_table(CPU_HEAD, [cpu_cells(row) for row in rows]))
    for line in write_lines(rows):
        output.print(line)
    (options.results / "load.json").write_text(json.dumps(found, indent=2) + "\n")
    plot_load(rows, options.results / "load.svg")
    console.print(f"written to {options.results}")
    errors = sum(row["errors"] for row in rows)
    if errors:
        console.print(f"{errors} requests failed: these numbers are worth nothing")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
