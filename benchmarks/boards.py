"""Measure what scores and reads of other boards cost beside those of `main`, and how much memory an entry takes.

    python -m benchmarks.boards                         # one Redis, then 8 partitions of a cluster
    python -m benchmarks.boards --players 4000 --requests 500 --rounds 2

One service, without gateway and NGINX; no worker takes the events. In each round every kind of call comes once, in an
order of its own, so that a ratio compares calls of the same minutes: CPU of the service per call as the operating
system counts it, and Redis' own time of the median script call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx

from benchmarks.cpu import cpu_seconds, microseconds_each
from benchmarks.machine import machine_facts
from benchmarks.material import player_id
from benchmarks.one_service import (
    REGIONS,
    OneService,
    one_service,
    redis_partitions,
    redis_servers,
    reset,
    script_calls,
)
from benchmarks.recovery import console
from benchmarks.report import RESULTS
from benchmarks.system import with_stores
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens

METADATA = {"car": "red", "wheels": 4}
BOARDS: dict[str, dict[str, Any]] = {
    "latest": {},
    "best": {"operator": "best"},
    "sum": {"operator": "sum"},
    "earliest": {"ties": "earliest"},
    "metadata": {"metadata_bytes": 256},
    "whole": {"regions": False},
}
CONNECTIONS = 8
BATCH = 500


class Kind(NamedTuple):
    """A kind of call; `request` builds one for a player, whose number counts up in each board."""

    name: str
    than: str
    request: Callable[[str, str, int], tuple[str, str, Any]]


def kinds() -> Iterator[Kind]:
    """Yield the kinds, each with the one that it is compared with."""

    def submit(board: str, **more: Any) -> Callable[[str, str, int], tuple[str, str, Any]]:
        where = {} if board == "main" else {"board": board}
        return lambda user_id, region, number: (
            "POST",
            "/score",
            {"user_id": user_id, "region": region, "score": number, **where, **more},
        )

    def read(path: str, board: str) -> Callable[[str, str, int], tuple[str, str, Any]]:
        of_board = "" if board == "main" else f"&board={board}"
        return lambda user_id, _region, _number: ("GET", path.format(user_id) + of_board, None)

    yield Kind("submit main", "submit main", submit("main"))
    for board in BOARDS:
        more = {"metadata": METADATA} if board == "metadata" else {}
        yield Kind(f"submit {board}", "submit main", submit(board, **more))
    for name, path in (
        ("rank", "/rank/{}?region=GLOBAL"),
        ("top", "/top?limit=100"),
        ("around", "/around/{}?range=10"),
    ):
        for board in ("main", "latest", "earliest"):
            yield Kind(f"{name} {board}", f"{name} main", read(path, board))


class Loads:
    """Sends calls to one service, and measures what they cost it."""

    def __init__(self, service: OneService, requests: int) -> None:
        self._service, self._requests = service, requests
        self._tokens = Tokens(load(AuthSettings, dict(service.environ)))
        self._server = self._tokens.issue("bench", "bench", "GLOBAL", role="server")
        self._number = 0

    def prepare_main(self) -> None:
        """Put every player on `main`."""
        asyncio.run(self.fill("main"))

    def prepare(self) -> None:
        """Make the boards, and put every player on each, with the scores that it gets on `main` too."""
        self.prepare_main()
        asyncio.run(self.define())
        for board in BOARDS:
            asyncio.run(self.fill(board))

    async def define(self) -> None:
        """Make the boards."""
        admin = self._tokens.issue("bench", "bench", "GLOBAL", role="admin")
        async with httpx.AsyncClient(base_url=self._service.url, timeout=600) as http:
            for name, rules in BOARDS.items():
                answer = await http.put(f"/boards/{name}", json=rules, headers={"Authorization": f"Bearer {admin}"})
                answer.raise_for_status()

    async def fill(self, board: str) -> None:
        """Put every player on a board."""
        players = self._service.players
        more: dict[str, Any] = {} if board == "main" else {"board": board}
        if board == "metadata":
            more["metadata"] = METADATA
        headers = {"Authorization": f"Bearer {self._server}"}
        async with httpx.AsyncClient(base_url=self._service.url, timeout=600) as http:
            for first in range(0, players, BATCH):
                items = [
                    {
                        "user_id": player_id(REGIONS, players, place),
                        "region": REGIONS[place % len(REGIONS)],
                        "score": place * 7919 % 1000003,
                        **more,
                    }
                    for place in range(first, min(first + BATCH, players))
                ]
                answer = await http.post("/scores", json={"scores": items}, headers=headers)
                if not answer.json()["ok"]:
                    raise RuntimeError(answer.text[:500])

    def measure(self, kind: Kind) -> dict[str, float]:
        """Send so many calls of a kind; return CPU µs per call, and Redis' µs of the median script call."""
        environ = dict(self._service.environ)
        with_stores(environ, reset)
        before = cpu_seconds(self._service.pids)
        asyncio.run(self._send(kind))
        cost = microseconds_each(before, cpu_seconds(self._service.pids), self._requests)
        return {**cost, "script": with_stores(environ, script_calls)[2]}

    def next_call(self, kind: Kind) -> tuple[str, str, Any, dict[str, str]]:
        """Build another call of a kind: method, path, body and headers."""
        self._number += 1
        players = self._service.players
        place = random.Random(self._number).randrange(players)
        user_id, region = player_id(REGIONS, players, place), REGIONS[place % len(REGIONS)]
        headers = {"Authorization": f"Bearer {self._server}"}
        return (*kind.request(user_id, region, 1_000_003 + self._number), headers)

    async def _send(self, kind: Kind) -> None:
        left = iter(range(self._requests))

        async def client(http: httpx.AsyncClient) -> None:
            for _ in left:
                method, path, body, headers = self.next_call(kind)
                answer = await http.request(method, path, json=body, headers=headers)
                answer.raise_for_status()

        async with httpx.AsyncClient(base_url=self._service.url, timeout=60) as http:
            await asyncio.gather(*(client(http) for _ in range(CONNECTIONS)))


async def _memory(shard_map: ShardMap, _: RegionDatabases) -> int:
    used = 0
    for shard in shard_map.shards:
        await shard.command("DEL", *(shard.keys.queue(region) for region in shard.regions))
        used += int((await shard.command("INFO", "memory"))["used_memory"])
    return used


def measured(service: OneService, options: argparse.Namespace, where: str) -> dict[str, Any]:
    """Fill the boards of a service and measure every kind of call on it."""
    loads, environ = Loads(service, options.requests), dict(service.environ)
    asyncio.run(loads.define())
    asyncio.run(loads.fill("main"))
    entry_bytes = {}
    for board in BOARDS:
        before = with_stores(environ, _memory)
        asyncio.run(loads.fill(board))
        entry_bytes[board] = round((with_stores(environ, _memory) - before) / service.players)
        console.print(f"  {board}: {entry_bytes[board]} bytes an entry")
    every = list(kinds())
    found: dict[str, list[dict[str, float]]] = {kind.name: [] for kind in every}
    for number in range(options.rounds):
        for kind in random.Random(number).sample(every, len(every)):
            found[kind.name].append(loads.measure(kind))
        console.print(f"  round {number + 1} of {options.rounds}")

    def median(name: str, part: str) -> float:
        return statistics.median(one[part] for one in found[name])

    calls = {
        kind.name: {
            "service_us": round(median(kind.name, "service"), 1),
            "script_us": round(median(kind.name, "script"), 1),
            "ratio": round(
                statistics.median(
                    one["service"] / other["service"]
                    for one, other in zip(found[kind.name], found[kind.than], strict=True)
                ),
                3,
            ),
        }
        for kind in every
    }
    return {"where": where, "players": service.players, "entry_bytes": entry_bytes, "calls": calls}


def markdown(found: dict[str, Any]) -> str:
    """Write one layout's results as a table."""
    lines = [f"{found['where']}, {found['players']:,} players on each board", ""]
    lines += ["| call | service CPU µs | Redis µs | against `main` |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {one['service_us']:.0f} | {one['script_us']:.0f} | {one['ratio']:.2f} |"
        for name, one in found["calls"].items()
    ]
    return "\n".join(lines)


def main() -> int:
    """Measure, print the tables, write JSON; return the exit code."""
    parser = argparse.ArgumentParser(
        "boards", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--players", type=int, default=20_000)
    parser.add_argument("--requests", type=int, default=1_500, help="of each kind in a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args()
    parts = []
    for run_redis in (redis_servers(1), redis_partitions(8)):
        console.print(f"{options.players:,} players on {run_redis.where} …")
        with one_service(options.players, run_redis) as service:
            parts.append(measured(service, options, run_redis.where))
        print(markdown(parts[-1]))  # noqa: T201
    options.results.mkdir(parents=True, exist_ok=True)
    content = {"machine": machine_facts(), "rounds": options.rounds, "requests": options.requests, "parts": parts}
    (options.results / "boards.json").write_text(json.dumps(content, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
