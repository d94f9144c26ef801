"""Define the scenarios, and run a turn: the floor, the system at full load, the system at half load."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.cpu import microseconds_each
from benchmarks.material import BATCH_ITEMS
from benchmarks.system import System
from benchmarks.wrk import Load, run_wrk

FLOOR_SCRIPT = "rank"
WARM_UP_SECONDS = 6.0
"""Long enough for nearly every token to be cached by every process, as in a running game."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A script of benchmarks/wrk. `events` is the number of scores that a request writes."""

    name: str
    title: str
    aim: float | None = None
    events: float = 0
    connection_share: int = 1

    def connections(self, wanted: int) -> int:
        return max(1, wanted // self.connection_share)


SCENARIOS = (
    Scenario("add", "POST /score/add", aim=0.30, events=1),
    Scenario("rank", "GET /rank/{id}", aim=0.33),
    Scenario("around", "GET /around/{id}?range=10", aim=0.30),
    Scenario("top", "GET /top?limit=100", aim=0.33),
    Scenario("mix", "9 reads, 1 write", events=0.1),
    # 500 scores a request: an eighth of the connections has enough events in flight.
    Scenario("batch", f"POST /scores × {BATCH_ITEMS}", events=BATCH_ITEMS, connection_share=8),
)


@dataclass(frozen=True, slots=True)
class Turn:
    """The results of one turn. `queue` is its length when wrk ended, `drain_seconds` the time until it was empty.

    `floors` are the floor just before and just after the full load.
    """

    scenario: str
    floors: tuple[Load, Load]
    full: Load
    half: Load
    cpu_us: dict[str, float]
    queue: int
    drain_seconds: float

    @property
    def floor_rate(self) -> float:
        """Return F of this turn, over both of its floors, so that drift affects both sides of the share."""
        return sum(floor.requests for floor in self.floors) / sum(floor.seconds for floor in self.floors)

    @property
    def floor_spread(self) -> float:
        """Return the difference of the two floors as a share of F: 0 on a quiet machine."""
        before, after = self.floors
        return abs(before.rate - after.rate) / self.floor_rate

    @property
    def share(self) -> float:
        return self.full.rate / self.floor_rate

    @property
    def errors(self) -> int:
        return sum(load.errors for load in (*self.floors, self.full, self.half))

    def as_dict(self) -> dict[str, Any]:
        def entry(load: Load) -> dict[str, Any]:
            return asdict(load) | {"rate": load.rate}

        return {
            "scenario": self.scenario,
            "share": self.share,
            "floor_rate": self.floor_rate,
            "floor_spread": self.floor_spread,
            "queue": self.queue,
            "drain_seconds": self.drain_seconds,
            "cpu_us": self.cpu_us,
            "floors": [entry(floor) for floor in self.floors],
            "full": entry(self.full),
            "half": entry(self.half),
        }


def take_turn(scenario: Scenario, system: System, floor_url: str, *, connections: int, seconds: float) -> Turn:
    """Run floor, full load, floor, half load, each after the one before has settled."""
    folder, width = system.folder, scenario.connections(connections)

    def run(url: str, script: str, connections: int, seconds: float, rate: float | None = None) -> Load:
        return run_wrk(script, url, folder, connections=connections, seconds=seconds, rate=rate)

    def run_floor() -> Load:
        return run(floor_url, FLOOR_SCRIPT, connections, seconds / 2)

    run(system.url, scenario.name, width, min(WARM_UP_SECONDS, seconds))
    system.settle()
    run(floor_url, FLOOR_SCRIPT, connections, min(1.0, seconds))
    floor_before = run_floor()
    before = system.cpu()
    full = run(system.url, scenario.name, width, seconds)
    queue = system.waiting()
    drain_seconds = system.settle()
    cpu_us = microseconds_each(before, system.cpu(), full.requests)
    cpu_us["wrk"] = full.wrk_cpu_seconds * 1e6 / max(full.requests, 1)
    floor_after = run_floor()
    half = run(system.url, scenario.name, width, seconds, rate=full.rate / 2)
    system.settle()
    return Turn(scenario.name, (floor_before, floor_after), full, half, cpu_us, queue, drain_seconds)


def material_folder(base: Path) -> Path:
    """Create the folder of wrk's files and the servers' data, readable for the user of Postgres."""
    base.chmod(0o755)
    return base
