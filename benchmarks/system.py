"""Run the real cluster under load: start it, fill it with players, wait until it has settled."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from benchmarks.cpu import by_kind, cpu_seconds
from benchmarks.material import write_material
from benchmarks.recovery import console, load_postgres
from leaderboard_cli.commands.stores import open_stores
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.queues import queue_states
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import AuthSettings, load
from tests.acceptance.cluster import LocalCluster, command, local_cluster

SETTLE_SECONDS = 120
TIDY_SECONDS = 3600
ENVIRONMENT = {
    # Every write checks the buckets, which are never empty.
    "USER_RATE_LIMIT_COUNT": "1000000",
    "USER_RATE_LIMIT_WINDOW": "1",
    "REGION_RATE_LIMIT_PER_SEC": "1000000",
}

Result = TypeVar("Result")


@dataclass
class System:
    """A running cluster with players on its boards."""

    cluster: LocalCluster
    folder: Path
    players: int
    load_facts: dict[str, float]

    @property
    def url(self) -> str:
        return self.cluster.url

    def cpu(self) -> dict[str, float]:
        """Return the seconds of CPU used so far by each kind of process."""
        return cpu_seconds(by_kind(self.cluster.state["pids"]))

    def waiting(self) -> int:
        """Count the events that are not in Postgres yet."""

        async def uncommitted(shard_map: ShardMap, _: RegionDatabases) -> int:
            return sum(queue.uncommitted for queue in await queue_states(shard_map))

        return with_stores(environment_of(self.cluster), uncommitted)

    def settle(self) -> float:
        """Wait until all is saved and no fork of Redis runs; return the seconds that the queue took."""

        async def drained(shard_map: ShardMap, _: RegionDatabases) -> float:
            started = time.monotonic()
            while any(queue.uncommitted for queue in await queue_states(shard_map)):
                _check_time(started)
                await asyncio.sleep(0.02)
            seconds = time.monotonic() - started
            for shard in shard_map.shards:
                while (await shard.command("INFO", "persistence"))["aof_rewrite_in_progress"]:
                    _check_time(started)
                    await asyncio.sleep(0.1)
            return seconds

        return with_stores(environment_of(self.cluster), drained)


def _check_time(started: float) -> None:
    if time.monotonic() - started > SETTLE_SECONDS:
        raise TimeoutError(f"the cluster has not settled within {SETTLE_SECONDS} s")


def with_stores(environ: dict[str, str], work: Callable[[ShardMap, RegionDatabases], Awaitable[Result]]) -> Result:
    """Run `work` on the Redis servers and databases that `environ` names."""

    async def call() -> Result:
        async with open_stores(environ) as (shard_map, databases):
            return await work(shard_map, databases)

    return asyncio.run(call())


def environment_of(cluster: LocalCluster) -> dict[str, str]:
    """Return the variables that name the cluster's Redis and databases."""
    state = cluster.state
    urls = {f"DATABASE_URL_{region}": url for region, url in state["databases"].items()}
    return {"REDIS_URL": state["redis_url"], **urls}


@contextmanager
def loaded_system(folder: Path, players: int, *options: str) -> Iterator[System]:
    """Run `leaderboard up` with `options` and `players` on the boards, evenly over the regions."""
    data_dir = folder / "cluster"
    console.print("starting the cluster …")
    with local_cluster(data_dir, "--quiet", *options, environ=ENVIRONMENT) as cluster:
        environ = environment_of(cluster)
        before = with_stores(environ, _used_memory)
        with_stores(environ, lambda _, databases: load_postgres(databases, players))
        with_stores(environ, tidy)
        console.print("filling Redis from Postgres (leaderboard rebuild --whole) …")
        started = time.monotonic()
        subprocess.run(command("rebuild", "--whole"), env=cluster.environment(), check=True, capture_output=True)
        seconds = time.monotonic() - started
        regions = tuple(cluster.state["databases"])
        on_board = players // len(regions) * len(regions)
        found = httpx.get(f"{cluster.url}/top", params={"limit": 1}).json()["total"]
        if found != on_board:
            raise RuntimeError(f"{found} players are on the board, not {on_board}")
        used = with_stores(environ, _used_memory) - before
        auth = load(AuthSettings, {"JWT_SECRET_FILE": cluster.state["jwt_secret_file"]})
        write_material(folder, auth, regions, players)
        facts = {"rebuild_seconds": seconds, "redis_bytes_per_player": used / on_board}
        system = System(cluster, folder, on_board, facts)
        system.settle()
        yield system


async def _used_memory(shard_map: ShardMap, _: RegionDatabases) -> int:
    return sum([int((await shard.command("INFO", "memory"))["used_memory"]) for shard in shard_map.shards])


async def tidy(_: ShardMap, databases: RegionDatabases) -> None:
    """Vacuum and checkpoint Postgres now rather than during the measurements."""
    for region in databases.regions:
        await databases[region].execute("VACUUM ANALYZE leaderboard", timeout=TIDY_SECONDS)
        await databases[region].execute("CHECKPOINT", timeout=TIDY_SECONDS)
