"""Measure how a rebuild goes with the number of players, and what readers and writers feel of it.

    make bench-rebuild                                     # 1,000,000 and 10,000,000 players; most of an hour
    python -m benchmarks.rebuilding --players 100000

Real servers as `leaderboard up` starts them, the rebuild in this process. At each size: the whole rebuild of an empty
Redis, with readers whom Postgres answers meanwhile; what a rebuild reads after a restart of Redis when 100,000 players
changed since; and a whole rebuild beside the work of a Redis that is open.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.floor import REPOSITORY
from benchmarks.machine import machine_facts
from benchmarks.material import FILL, write_material
from benchmarks.recovery import console
from benchmarks.report import RESULTS, rebuilding_tables, rich_table
from benchmarks.scenarios import material_folder
from benchmarks.system import ENVIRONMENT, tidy, with_stores
from benchmarks.wrk import run_wrk
from leaderboard_cli.cluster.binaries import Servers, find_postgres, find_redis
from leaderboard_cli.cluster.plan import AppServer
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.migrations import migrate_all
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import AuthSettings, TopologySettings, WorkerSettings, load
from worker_service.recovery.rebuild import rebuild

REGIONS = ("ASIA", "EU", "NA", "GLOBAL")
CHANGED = 100_000
READS_PER_SECOND, MIX_PER_SECOND = 50.0, 200.0
LOAD_SECONDS = 15.0

CHANGE = """
UPDATE leaderboard SET score = score + 1, updated_at = now() AT TIME ZONE 'utc'
WHERE user_id IN (SELECT user_id FROM leaderboard ORDER BY md5(user_id) LIMIT $1)
"""


@dataclass(frozen=True)
class Parts:
    """The running servers, the environment that names them, and a service's URL."""

    folder: Path
    cache: RedisServer
    cache_runs: ExitStack
    environ: dict[str, str]
    url: str

    def restart_redis(self) -> None:
        """Stop Redis and start it with its data."""
        self.cache_runs.close()
        self.cache_runs.enter_context(running(self.cache, deadline_seconds=600))

    def load(self, script: str, rate: float) -> dict[str, Any]:
        """Call the service at a steady rate."""
        seen = run_wrk(script, self.url, self.folder, connections=8, seconds=LOAD_SECONDS, rate=rate)
        return {**asdict(seen), "rate": seen.rate}


@dataclass
class Watch:
    """What Redis used while something ran."""

    peak_bytes: int = 0
    rewrites: int = 0


@contextmanager
def servers() -> Iterator[Parts]:
    """Run Redis, Postgres and a service."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = material_folder(Path(name))
        redis_port, postgres_port, port = find_free_ports(3)
        cache = RedisServer(find_redis(Servers.WHEELS), folder, redis_port)
        cache_runs = stack.enter_context(ExitStack())
        cache_runs.enter_context(running(cache))
        stack.enter_context(running(PostgresServer(find_postgres(Servers.WHEELS), folder, postgres_port)))
        environ = {
            "REDIS_URL": cache.url,
            "POSTGRES_PORT": str(postgres_port),
            "JWT_SECRET": secrets.token_hex(32),
            "QUEUE_REJECT_LENGTH": "10000000",
        }
        asyncio.run(migrate_all(load(TopologySettings, environ)))
        ours = {"PATH": os.environ.get("PATH", ""), "PYTHONPATH": str(REPOSITORY), "LOG_LEVEL": "ERROR"}
        service = AppServer("service-1", "leaderboard_service", port, folder, {**ours, **ENVIRONMENT, **environ})
        with_stores(
            environ, lambda shards, databases: rebuild(shards.shards[0], databases, load(WorkerSettings, environ))
        )
        stack.enter_context(running(service))
        yield Parts(folder, cache, cache_runs, environ, service.url)


async def fill_postgres(shard_map: ShardMap, databases: RegionDatabases, players: int) -> None:
    """Bring the tables to `players`, tidy."""
    for region in databases.regions:
        console.print(f"loading {players // len(REGIONS):,} players of {region} into Postgres …")
        await databases[region].execute("TRUNCATE leaderboard")
        await databases[region].execute(FILL, players // len(REGIONS), region, timeout=3600)
    await tidy(shard_map, databases)


async def change_rows(_: ShardMap, databases: RegionDatabases) -> None:
    for region in databases.regions:
        await databases[region].execute(CHANGE, CHANGED // len(REGIONS), timeout=3600)


@asynccontextmanager
async def watched(shard: Shard) -> AsyncIterator[Watch]:
    """Watch memory and forks of Redis once a second."""
    seen = Watch()
    before = int((await shard.command("INFO", "stats"))["total_forks"])

    async def look() -> None:
        while True:
            seen.peak_bytes = max(seen.peak_bytes, int((await shard.command("INFO", "memory"))["used_memory_rss"]))
            seen.rewrites = int((await shard.command("INFO", "stats"))["total_forks"]) - before
            await asyncio.sleep(1)

    task = asyncio.create_task(look())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def timed_rebuild(parts: Parts, shard: Shard, databases: RegionDatabases, *, whole: bool) -> dict[str, Any]:
    """Rebuild; return players, seconds, players per second, and what Redis used."""
    shown = 0

    def on_page(_: str, players: int) -> None:
        nonlocal shown
        shown += players
        if shown % 500_000 < players:
            console.print(f"  {shown:,} players after {time.perf_counter() - started:.0f} s")

    async with watched(shard) as seen:
        started = time.perf_counter()
        players = await rebuild(shard, databases, load(WorkerSettings, parts.environ), on_page, whole=whole)
        seconds = time.perf_counter() - started
    return {"players": players, "seconds": seconds, "rate": players / seconds, **asdict(seen)}


async def whole_rebuild(parts: Parts, shard_map: ShardMap, databases: RegionDatabases) -> dict[str, Any]:
    """Rebuild an emptied Redis: a beginning with readers, then from the start without."""
    (shard,) = shard_map.shards
    await shard.command("FLUSHALL", "SYNC")
    console.print("reads from Postgres beside the rebuild of an empty Redis …")
    rebuilding = asyncio.create_task(timed_rebuild(parts, shard, databases, whole=True))
    closed = await asyncio.to_thread(parts.load, "rank", READS_PER_SECOND)
    rebuilding.cancel()
    await asyncio.gather(rebuilding, return_exceptions=True)
    await shard.command("FLUSHALL", "SYNC")
    console.print("the whole rebuild …")
    found = {"closed": closed, "whole": await timed_rebuild(parts, shard, databases, whole=True)}
    found["bytes_per_player"] = int((await shard.command("INFO", "memory"))["used_memory"]) / found["whole"]["players"]
    while (await shard.command("INFO", "persistence"))["aof_rewrite_in_progress"]:
        await asyncio.sleep(0.2)
    return found


async def rebuild_of_open(parts: Parts, shard_map: ShardMap, databases: RegionDatabases) -> dict[str, Any]:
    """Call an open Redis, alone and beside a whole rebuild."""
    (shard,) = shard_map.shards
    console.print("calls to an open Redis, then the same beside a whole rebuild …")
    calm = await asyncio.to_thread(parts.load, "mix", MIX_PER_SECOND)
    rebuilding = asyncio.create_task(timed_rebuild(parts, shard, databases, whole=True))
    beside = await asyncio.to_thread(parts.load, "mix", MIX_PER_SECOND)
    return {"calm": calm, "beside": beside, "whole_of_open": await rebuilding}


async def incremental(parts: Parts, shard_map: ShardMap, databases: RegionDatabases) -> dict[str, Any]:
    """Rebuild what changed since the last write of a Redis that was restarted."""
    return await timed_rebuild(parts, shard_map.shards[0], databases, whole=False)


def measure(parts: Parts, players: int) -> dict[str, Any]:
    """Measure one size."""
    console.print(f"[bold]{players:,} players")
    environ = parts.environ
    with_stores(environ, partial(fill_postgres, players=players))
    write_material(parts.folder, load(AuthSettings, environ), REGIONS, players)
    found = {"players": players, **with_stores(environ, partial(whole_rebuild, parts))}
    found |= with_stores(environ, partial(rebuild_of_open, parts))
    with_stores(environ, change_rows)
    console.print("a restart of Redis, then the rows that changed …")
    started = time.perf_counter()
    parts.restart_redis()
    found["load_seconds"] = time.perf_counter() - started
    found["incremental"] = with_stores(environ, partial(incremental, parts))
    return found


def main() -> None:
    """Run everything, print tables and write the numbers to benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for rebuilding.json")
    options = parser.parse_args()
    with servers() as parts:
        sizes = [measure(parts, players) for players in options.players]
    found = {"machine": machine_facts(), "sizes": sizes}
    for head, lines in rebuilding_tables(found):
        Console(highlight=False).print(rich_table(head, lines))
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / "rebuilding.json").write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"written to {options.results}")


if __name__ == "__main__":
    main()
