"""Simulate ranks on a GLOBAL board of more partitions than a machine can run, with the costs of calls measured here.

    python -m benchmarks.simulation                       # costs at 1,000,000 players, then 1 to 64 partitions
    python -m benchmarks.simulation --players 100000 --seconds 5

A discrete-event simulation. Each master is one queue, first come first served; a call holds it for an exponential time
with the mean that was measured. Writes arrive at each master so that they alone keep it busy for `--writes` of the
time. Ranks arrive at the services, which gather those of one turn of the event loop: each asks its player's partition,
then the turn's scores are counted in all partitions by one call each, as `boards/count_sharing.py` does. Both arrivals
are Poisson, and each round trip adds a constant.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import machine_facts
from benchmarks.one_service import REGIONS, one_service, redis_servers
from benchmarks.recovery import console
from benchmarks.report import RESULTS, markdown_table
from benchmarks.system import with_stores
from leaderboard_core.boards import Place
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_service.boards import redis_queries
from leaderboard_service.boards.ranges import Point

LAYOUTS = ((1, 1), (3, 6), (4, 16), (16, 16), (16, 64), (32, 64))
"""Masters and partitions."""
RANKS_PER_SECOND = (2_000, 10_000, 40_000)
CALLS, AT_ONCE, MANY_POINTS = 4_000, 16, 16
TURN_SECONDS, ROUND_TRIP_SECONDS = 0.001, 0.0003
SERVICE_RANKS_PER_SECOND = 2_000
"""How many ranks one service is sent; more of them are more services, each with turns of its own."""
TOO_LONG_SECONDS = 1.0


@dataclass(frozen=True)
class Costs:
    """Seconds of Redis time: a write, a rank in its own partition, a count of one score, and of each further one."""

    write: float
    own_rank: float
    count: float
    next_score: float


def measure_costs(players: int) -> Costs:
    """Measure the calls on a real Redis with that many players."""
    with one_service(players, redis_servers(1)) as service:
        write = service.measure("add", connections=AT_ONCE, seconds=3)["redis_us_median_call"]
        chance = random.Random(7)
        some = [f"{chance.choice(REGIONS[:3]).lower()}-{chance.randrange(players // 4):08d}" for _ in range(CALLS)]

        async def in_redis(shard_map: ShardMap, _: RegionDatabases) -> tuple[float, float, float]:
            (shard,) = shard_map.shards
            place = Place.on_main(GLOBAL)
            points = [Point(chance.randrange(1_000_000), user) for user in some]
            many = [points[at : at + MANY_POINTS] for at in range(CALLS - MANY_POINTS)]
            return (
                await _median(shard, some, lambda user: redis_queries.read_rank(shard, place, user)),
                await _median(shard, points, lambda one: redis_queries.count_before(shard, place, [one])),
                await _median(shard, many, lambda few: redis_queries.count_before(shard, place, few)),
            )

        own_rank, count, counts = with_stores(dict(service.environ), in_redis)
    further = (counts - count) / (MANY_POINTS - 1)
    return Costs(write / 1e6, own_rank / 1e6, count / 1e6, max(0.0, further) / 1e6)


async def _median(shard: Shard, asked: Sequence[Any], ask: Callable[[Any], Awaitable[Any]]) -> float:
    """The µs of Redis time of the median call."""
    await shard.command("CONFIG", "RESETSTAT")
    for at in range(0, len(asked), AT_ONCE):
        await asyncio.gather(*map(ask, asked[at : at + AT_ONCE]))
    return float((await shard.command("INFO", "latencystats"))["latency_percentiles_usec_evalsha"]["p50"])


class Masters:
    """The queues of all masters. Calls are given in the order of their times."""

    def __init__(self, count: int, chance: random.Random) -> None:
        self._free_at = [0.0] * count
        self._chance = chance
        self.busy = 0.0

    def call(self, master: int, at: float, mean: float) -> float:
        """Return when a call ends that arrives at `at`."""
        held = self._chance.expovariate(1 / mean)
        self.busy += held
        self._free_at[master] = max(self._free_at[master], at) + held
        return self._free_at[master]


def simulate(
    costs: Costs, masters: int, partitions: int, ranks_per_second: float, *, writes: float, seconds: float
) -> dict[str, Any]:
    """Simulate ranks on one layout; return the percentiles of their seconds, and how busy the masters are.

    `writes` is the share of the time in which writes alone keep each master busy.
    """
    chance = random.Random(f"{masters} {partitions} {ranks_per_second}")
    queues = Masters(masters, chance)
    services = max(1, round(ranks_per_second / SERVICE_RANKS_PER_SECOND))
    # (when, order, what, of which): ties are taken in the order in which they were made.
    events: list[tuple[float, int, str, Any]] = []
    made = 0

    def at(when: float, what: str, of: Any) -> None:
        nonlocal made
        made += 1
        heapq.heappush(events, (when, made, what, of))

    for master in range(masters):
        at(chance.expovariate(writes / costs.write), "write", master)
    at(chance.expovariate(ranks_per_second), "rank", None)
    gathered: list[list[float]] = [[] for _ in range(services)]
    taken: list[float] = []
    while events and events[0][0] < seconds:
        now, _, what, of = heapq.heappop(events)
        match what:
            case "write":
                queues.call(of, now, costs.write)
                at(now + chance.expovariate(writes / costs.write), "write", of)
            case "rank":
                at(now + chance.expovariate(ranks_per_second), "rank", None)
                at(now + ROUND_TRIP_SECONDS / 2, "own", now)
            case "own":
                end = queues.call(chance.randrange(partitions) % masters, now, costs.own_rank)
                at(end + ROUND_TRIP_SECONDS / 2, "known", of)
            case "known" if partitions == 1:  # its own partition is all there is to count
                taken.append(now - of)
            case "known":
                turn = gathered[chance.randrange(services)]
                if not turn:
                    at(now + TURN_SECONDS, "turn", turn)
                turn.append(of)
            case "turn":
                at(now + ROUND_TRIP_SECONDS / 2, "count", list(of))
                of.clear()
            case "count":
                each = costs.count + costs.next_score * (len(of) - 1)
                ends = max(queues.call(partition % masters, now, each) for partition in range(partitions))
                taken += [ends + ROUND_TRIP_SECONDS / 2 - began for began in of]
    taken.sort()
    busy = queues.busy / masters / seconds
    full = not taken or busy > 1 or taken[len(taken) // 2] > TOO_LONG_SECONDS
    return {
        "masters": masters,
        "partitions": partitions,
        "ranks_per_second": ranks_per_second,
        "busy": busy,
        "p50_ms": None if full else taken[len(taken) // 2] * 1e3,
        "p99_ms": None if full else taken[len(taken) * 99 // 100] * 1e3,
    }


def simulation_markdown(found: dict[str, Any]) -> str:
    """Format what a rank on GLOBAL takes in each simulated layout, by ranks a second."""
    rates = list(dict.fromkeys(line["ranks_per_second"] for line in found["layouts"]))
    layouts: dict[tuple[int, int], list[str]] = {}
    for line in found["layouts"]:
        cell = "full" if line["p50_ms"] is None else f"{line['p50_ms']:.1f} / {line['p99_ms']:.1f} ({line['busy']:.0%})"
        layouts.setdefault((line["masters"], line["partitions"]), []).append(cell)
    lines = [[str(masters), str(partitions), *cells_] for (masters, partitions), cells_ in layouts.items()]
    head = ["masters", "partitions", *(f"{rate:,} ranks/s: p50 / p99 ms (masters busy)" for rate in rates)]
    return markdown_table(head, lines)


def parser() -> argparse.ArgumentParser:
    """Build the command line."""
    found = argparse.ArgumentParser("simulation", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    found.add_argument("--players", type=int, default=1_000_000, help="on the Redis on which the costs are measured")
    found.add_argument("--writes", type=float, default=0.3, help="share of the time that writes keep a master busy")
    found.add_argument("--seconds", type=float, default=5, help="of simulated time")
    found.add_argument("--results", type=Path, default=RESULTS, help="folder for simulation.json")
    return found


def main() -> int:
    """Measure the costs, simulate, print the table and write simulation.json; return the exit code."""
    options = parser().parse_args()
    costs = measure_costs(options.players)
    console.print(", ".join(f"{name} {seconds * 1e6:.1f} µs" for name, seconds in asdict(costs).items()))
    lines = []
    for masters, partitions in LAYOUTS:
        for rate in RANKS_PER_SECOND:
            lines.append(simulate(costs, masters, partitions, rate, writes=options.writes, seconds=options.seconds))
        console.print(f"simulated {partitions} partitions on {masters} masters")
    found = {
        "machine": machine_facts(),
        "options": {"players": options.players, "writes": options.writes, "seconds": options.seconds},
        "costs_us": {name: seconds * 1e6 for name, seconds in asdict(costs).items()},
        "layouts": lines,
    }
    print(simulation_markdown(found))  # noqa: T201
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "simulation.json").write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
