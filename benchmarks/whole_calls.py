"""Measure the CPU that whole calls take, from NGINX to Postgres: on main and other boards, or in two checkouts.

    python -m benchmarks.whole_calls                        # other boards beside main
    python -m benchmarks.whole_calls --against ../before    # main beside another checkout's, with this environment

The real cluster of `leaderboard up`, of each checkout. In each round every kind of call comes once, in an order of its
own, and in one checkout right after the other, so that a ratio compares the same few seconds. It is CPU of all
processes as the operating system counts it, with what the worker and Postgres do after the answers, less what they
use when nobody calls.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.boards import BOARDS, Kind, Loads, kinds
from benchmarks.floor import REPOSITORY
from benchmarks.machine import machine_facts
from benchmarks.material import write_material
from benchmarks.one_service import REGIONS, OneService
from benchmarks.recovery import console
from benchmarks.report import RESULTS
from benchmarks.scenarios import material_folder
from benchmarks.system import ENVIRONMENT, System
from benchmarks.wrk import require_wrk, run_wrk
from leaderboard_core.settings import AuthSettings, load
from tests.acceptance.cluster import local_cluster

CONNECTIONS = 16
CALLS = 12_000
"""Different calls of a kind in a round; more are the same ones again."""
IDLE_SECONDS = 10.0


def _batch(_user_id: str, region: str, number: int) -> tuple[str, str, Any]:
    items = [
        {"user_id": f"{region.lower()}-batch-{(10 * number + place) % 1000}", "region": region, "score": number + place}
        for place in range(10)
    ]
    return "POST", "/scores", {"scores": items}


BATCH = Kind("batch of ten main", "batch of ten main", _batch)


@dataclass(frozen=True)
class Running:
    """A cluster of one checkout; `idle` is the CPU that it uses by itself (seconds a second)."""

    where: str
    system: System
    loads: Loads
    idle: float

    def cost(self, kind: Kind, seconds: float) -> float:
        """Return the CPU µs of a call of a kind, called for so long. Raises RuntimeError when one failed."""
        calls = (self.loads.next_call(kind) for _ in range(CALLS))
        lines = (f"{method}\t{path}\t{'' if body is None else json.dumps(body)}\n" for method, path, body, _ in calls)
        (self.system.folder / "calls.txt").write_text("".join(lines), "utf-8")
        before, started = sum(self.system.cpu().values()), time.monotonic()
        found = run_wrk("calls", self.system.url, self.system.folder, connections=CONNECTIONS, seconds=seconds)
        self.system.settle()
        used = sum(self.system.cpu().values()) - before - self.idle * (time.monotonic() - started)
        if found.errors:
            raise RuntimeError(f"{kind.name} in {self.where}: {found.errors} of {found.requests} calls failed")
        return used * 1e6 / found.requests


@contextmanager
def running(checkout: Path, folder: Path, players: int, *, boards: bool) -> Iterator[Running]:
    """Run the cluster of a checkout with players on main, and on other boards."""
    folder.mkdir()
    console.print(f"starting the cluster of {checkout} …")
    environ = {**ENVIRONMENT, "PYTHONPATH": str(checkout)}
    with local_cluster(folder / "cluster", "--quiet", environ=environ, cwd=checkout) as cluster:
        ours = {"JWT_SECRET_FILE": cluster.state["jwt_secret_file"]}
        write_material(folder, load(AuthSettings, ours), REGIONS, players)
        loads = Loads(OneService(cluster.url, folder, ours, players, {}), CALLS)
        if boards:
            loads.prepare()
        else:
            loads.prepare_main()
        system = System(cluster, folder, players, {})
        system.settle()
        before = sum(system.cpu().values())
        time.sleep(IDLE_SECONDS)  # a measurement of what nothing costs
        yield Running(str(checkout), system, loads, (sum(system.cpu().values()) - before) / IDLE_SECONDS)


def measured(systems: Sequence[Running], every: Sequence[Kind], rounds: int, seconds: float) -> dict[str, Any]:
    """Measure every kind in each system, and compare: two systems, or in one each kind with what it is against."""
    found: dict[tuple[str, str], list[float]] = {(one.where, kind.name): [] for one in systems for kind in every}
    for kind in every:
        for one in systems:
            one.cost(kind, 1)
    for number in range(rounds):
        for kind in random.Random(number).sample(every, len(every)):
            for one in systems if number % 2 else reversed(systems):
                found[one.where, kind.name].append(one.cost(kind, seconds))
        console.print(f"  round {number + 1} of {rounds}")
    here, base = systems[0].where, systems[-1].where
    return {
        kind.name: compared(found[here, kind.name], found[base, kind.name if len(systems) > 1 else kind.than])
        for kind in every
    }


def compared(ours: Sequence[float], base: Sequence[float]) -> Mapping[str, float]:
    """Compare costs of the same rounds: the medians of both, and of their ratios with the quartiles."""
    ratios = [one / other for one, other in zip(ours, base, strict=True)]
    quartiles = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else [ratios[0]] * 3
    return {
        "cpu_us": round(statistics.median(ours), 1),
        "base_us": round(statistics.median(base), 1),
        "ratio": round(quartiles[1], 3),
        "ratio_of_medians": round(statistics.median(ours) / statistics.median(base), 3),
        "lower_quartile": round(quartiles[0], 3),
        "upper_quartile": round(quartiles[2], 3),
    }


def markdown(calls: Mapping[str, Mapping[str, float]]) -> str:
    """Write the costs as a table."""
    lines = ["| call | CPU µs | against µs | ratio, quartiles | of the medians |", "|---|--:|--:|--:|--:|"]
    for name, one in calls.items():
        spread = f"{one['ratio']:.2f} ({one['lower_quartile']:.2f}-{one['upper_quartile']:.2f})"
        costs = f"{one['cpu_us']:.0f} | {one['base_us']:.0f}"
        lines.append(f"| {name} | {costs} | {spread} | {one['ratio_of_medians']:.2f} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print the table, write JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        "whole_calls", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="another checkout")
    parser.add_argument("--players", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=2, help="of each kind in a round; whole seconds")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args()
    require_wrk()
    on_main = [*(kind for kind in kinds() if kind.than == kind.name), BATCH]
    every = on_main if options.against else list(kinds())
    checkouts = [REPOSITORY, *([options.against.resolve()] if options.against else [])]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        base = material_folder(Path(name))
        systems = [
            stack.enter_context(running(one, base / str(number), options.players, boards=not options.against))
            for number, one in enumerate(checkouts)
        ]
        calls = measured(systems, every, options.rounds, options.seconds)
    print(markdown(calls))  # noqa: T201
    options.results.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": machine_facts(),
        "players": options.players,
        "boards": list(BOARDS),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "calls": calls,
    }
    target = "against.json" if options.against else "whole_calls.json"
    (options.results / target).write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
