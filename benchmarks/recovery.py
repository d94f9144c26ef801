"""Measure recovery: rebuild of Redis from Postgres, the worker's drain rate, and memory per player.

    make bench-recovery            # 1,000,000 players, 200,000 events; a few minutes

Real servers with their usual durability, everything on this machine. Each rate is given next to what a bare loop
reaches in the same run: machines differ, the share does not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import redis.asyncio as redis
from rich.console import Console
from rich.table import Table

from leaderboard_cli.cluster.binaries import Servers, find_postgres, find_redis
from leaderboard_cli.cluster.ports import find_free_ports
from leaderboard_cli.cluster.postgres_server import PostgresServer
from leaderboard_cli.cluster.redis_server import RedisServer
from leaderboard_cli.cluster.server import running
from leaderboard_cli.commands.stores import open_stores
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.migrations import migrate_all
from leaderboard_core.redis.queues import queue_states
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, WorkerSettings, load
from worker_service.recovery.rebuild import rebuild

console = Console(stderr=True, highlight=False)
BARE_BATCH = 500
COLUMNS = ("user_id", "name", "region", "score", "updated_at")


@dataclass(frozen=True, slots=True)
class Measured:
    """Our rate and that of the bare loop, per second."""

    what: str
    count: int
    ours: float
    bare: float

    @property
    def share(self) -> float:
        return self.ours / self.bare


@contextmanager
def servers() -> Iterator[dict[str, str]]:
    """Run Redis and Postgres; yield the environment that names them."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        redis_port, postgres_port = find_free_ports(2)
        with (
            running(RedisServer(find_redis(Servers.WHEELS), folder, redis_port)) as cache,
            running(PostgresServer(find_postgres(Servers.WHEELS), folder, postgres_port)),
        ):
            yield {"REDIS_URL": cache.url, "POSTGRES_PORT": str(postgres_port)}


def players_of(region: str, count: int) -> Iterator[tuple[str, str, str, int, datetime]]:
    now = datetime.now(UTC).replace(tzinfo=None)
    for number in range(count):
        yield f"{region.lower()}-{number:08d}", f"Player {number}", region, (number * 7919) % 1_000_003, now


async def load_postgres(databases: RegionDatabases, players: int) -> None:
    share = players // len(databases.regions)
    for region in databases.regions:
        console.print(f"loading {share:,} players of {region} into Postgres …")
        await databases[region].copy_records_to_table(
            "leaderboard", records=players_of(region, share), columns=COLUMNS, timeout=600
        )


async def measure_rebuild(environ: dict[str, str], players: int) -> tuple[Measured, float]:
    """Measure players per second of our rebuild and of pipelined ZADD + HSET; return also bytes per player in Redis."""
    async with open_stores(environ) as (shard_map, databases):
        await load_postgres(databases, players)
        shard = shard_map.shards[0]
        console.print("bare: pipelined ZADD, ZADD, HSET …")
        bare = await _bare_restore(environ["REDIS_URL"], databases.regions, players)
        await shard.command("FLUSHALL", "SYNC")
        before = (await shard.command("INFO", "memory"))["used_memory"]
        console.print("ours: rebuild from Postgres …")
        started = time.perf_counter()
        restored = await rebuild(shard, databases, load(WorkerSettings, environ))
        ours = restored / (time.perf_counter() - started)
        after = (await shard.command("INFO", "memory"))["used_memory"]
    return Measured("rebuild, players/s", restored, ours, bare), (after - before) / restored


async def _bare_restore(url: str, regions: Sequence[str], players: int) -> float:
    client = redis.Redis.from_url(url)
    records = [list(players_of(region, players // len(regions))) for region in regions]
    started = time.perf_counter()
    for batch in records:
        for first in range(0, len(batch), BARE_BATCH):
            async with client.pipeline(transaction=False) as pipe:
                for user_id, name, region, score, _ in batch[first : first + BARE_BATCH]:
                    pipe.zadd(f"leaderboard:{region}", {user_id: score})
                    pipe.zadd("leaderboard:GLOBAL", {user_id: score})
                    pipe.hset(
                        f"user:{user_id}",
                        mapping={"name": name, "region": region, "score": score, "updated_at": 1_700_000_000_000_000},
                    )
                await pipe.execute()
    seconds = time.perf_counter() - started
    await client.aclose()
    return sum(map(len, records)) / seconds


async def measure_drain(environ: dict[str, str], events: int) -> Measured:
    """Measure events per second of a worker process and of a bare loop of unnest upserts on the same databases."""
    async with open_stores(environ) as (shard_map, databases):
        console.print("bare: a loop of unnest upserts …")
        bare = await _bare_upserts(databases, events)
        shard = shard_map.shards[0]
        console.print(f"queueing {events:,} events …")
        await _queue_events(shard_map, events)
        console.print("ours: a worker drains the queues …")
        (port,) = find_free_ports(1)
        worker = subprocess.Popen(
            [sys.executable, "-m", "worker_service"],
            env={**os.environ, **environ, "PORT": str(port), "LOG_LEVEL": "WARNING"},
            stdout=subprocess.DEVNULL,
        )
        try:
            while await _waiting(shard_map) == events:
                await asyncio.sleep(0.005)
            started = time.perf_counter()
            remaining = await _waiting(shard_map)
            while await _waiting(shard_map):
                await asyncio.sleep(0.02)
            ours = remaining / (time.perf_counter() - started)
        finally:
            worker.terminate()
            worker.wait(20)
        await shard.command("PING")
    return Measured("drain, events/s", events, ours, bare)


async def _waiting(shard_map: ShardMap) -> int:
    return sum(queue.uncommitted for queue in await queue_states(shard_map))


async def _bare_upserts(databases: RegionDatabases, events: int) -> float:
    share = events // len(databases.regions)
    now = time.time_ns() // 1000

    async def upsert(region: str) -> None:
        statement = sql.load("upsert_scores")
        for first in range(0, share, BARE_BATCH):
            numbers = range(first, min(first + BARE_BATCH, share))
            ids = [f"{region.lower()}-{number:08d}" for number in numbers]
            names = ["Bare"] * len(ids)
            scores, times, protected, keys = list(numbers), [now] * len(ids), [False] * len(ids), [""] * len(ids)
            said = (["self"] * len(ids), [0] * len(ids), [""] * len(ids))
            columns = (ids, names, [region] * len(ids), scores, times, protected, keys, *said)
            await databases[region].execute(statement, *columns)

    started = time.perf_counter()
    await asyncio.gather(*(upsert(region) for region in databases.regions))
    return share * len(databases.regions) / (time.perf_counter() - started)


async def _queue_events(shard_map: ShardMap, events: int) -> None:
    share = events // len(shard_map.regions)
    for shard, region in shard_map.queues():
        for first in range(0, share, 1000):
            now = time.time_ns() // 1000
            batch = [
                json.dumps(
                    {
                        "user_id": f"{region.lower()}-{number:08d}",
                        "name": "Ours",
                        "region": region,
                        "score": number,
                        "timestamp": now,
                        "request_id": "bench",
                    }
                )
                for number in range(first, min(first + 1000, share))
            ]
            await shard.command("LPUSH", shard.keys.queue(region), *batch)


async def measure(environ: dict[str, str], players: int, events: int) -> dict[str, object]:
    await migrate_all(load(TopologySettings, environ))
    rebuilt, memory = await measure_rebuild(environ, players)
    drained = await measure_drain(environ, events)
    table = Table("what", "count", "ours", "bare loop", "share")
    for row in (rebuilt, drained):
        table.add_row(row.what, f"{row.count:,}", f"{row.ours:,.0f}", f"{row.bare:,.0f}", f"{row.share:.2f}")
    Console().print(table)
    seconds = rebuilt.count / rebuilt.ours
    Console().print(f"first correct read after {seconds:.1f} s; {memory:.0f} bytes of Redis memory per player")
    return {
        "cores": os.cpu_count(),
        "batch_size": load(WorkerSettings).batch_size,
        "rebuild": asdict(rebuilt) | {"share": rebuilt.share, "seconds": seconds},
        "drain": asdict(drained) | {"share": drained.share},
        "redis_bytes_per_player": memory,
    }


def main() -> None:
    """Run everything, print a table and write the numbers to benchmarks/results/."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=1_000_000)
    parser.add_argument("--events", type=int, default=200_000)
    options = parser.parse_args()
    with servers() as environ:
        found = asyncio.run(measure(environ, options.players, options.events))
    target = Path(__file__).parent / "results" / "recovery.json"
    target.write_text(json.dumps(found, indent=2) + "\n")
    console.print(f"written to {target}")


if __name__ == "__main__":
    main()
