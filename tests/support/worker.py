"""Run workers inside a test: consumers of some queues, optionally with heartbeats."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, WorkerSettings, load
from tests.support.waiting import eventually
from worker_service.recovery.lock import LockHeld
from worker_service.recovery.rebuild import rebuild
from worker_service.saving.heartbeat import Heartbeat
from worker_service.services import build

EAGER = load(WorkerSettings, {"CLOCK_SKEW_SECONDS": "0"})
"""A test's servers have one clock."""


@dataclass
class Worker:
    """A running worker."""

    name: str
    shard_map: ShardMap
    stop: asyncio.Event
    heartbeats: list[Heartbeat]
    tasks: list[asyncio.Task[None]]

    async def finish(self, seconds: float = 8.0) -> None:
        """Request a stop and wait until the consumers end."""
        self.stop.set()
        async with asyncio.timeout(seconds):
            await asyncio.gather(*self.tasks)

    async def kill(self) -> None:
        """Cancel at once, as kill -9 does."""
        left = set(self.tasks)
        while left:
            for task in left:
                task.cancel()
            # asyncio.wait_for of Python 3.11 forgets a cancellation that comes as what it waits for ends.
            _, left = await asyncio.wait(left, timeout=0.1)


async def _admit(shard: Shard, databases: RegionDatabases) -> None:
    """Rebuild a shard, unless it is open or another worker is about it: then wait for that."""

    async def is_open() -> bool:
        if not await shard.is_ready():
            with contextlib.suppress(LockHeld):
                await rebuild(shard, databases, EAGER)
        return await shard.is_ready()

    await eventually(is_open, "the admission of a shard")


@asynccontextmanager
async def working(
    environ: Mapping[str, str],
    name: str = "worker-1",
    *,
    heartbeats: bool = False,
    block_seconds: float = 0.2,
    only: str | None = None,
) -> AsyncIterator[Worker]:
    """Run a worker with this environment; with `heartbeats` it sends them, reclaims, rebuilds and tells of boards.

    `only` names the one region whose queue it consumes. Without heartbeats the Redis servers are admitted before.
    """
    topology, settings = load(TopologySettings, environ), load(WorkerSettings, environ)
    shard_map, databases = ShardMap.open(topology), await RegionDatabases.open(topology)
    if not heartbeats:
        for shard in shard_map.shards:
            await _admit(shard, databases)
    stop = asyncio.Event()
    parts = build(name, topology, settings, shard_map, databases, stop, block_seconds=block_seconds)
    consumers = [consumer for consumer in parts.consumers if only in (None, consumer.region)]
    tasks = [asyncio.create_task(consumer.run()) for consumer in consumers]
    if heartbeats:
        tasks += [asyncio.create_task(one.run()) for one in parts.heartbeats]
        tasks += [asyncio.create_task(run()) for run in (parts.converger.run, parts.sweeper.run)]
    worker = Worker(name, shard_map, stop, parts.heartbeats, tasks)
    try:
        yield worker
    finally:
        stop.set()
        _, late = await asyncio.wait(tasks, timeout=8)
        for task in late:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await parts.rebuilder.close()
        await shard_map.close()
        await databases.close()
        for result in results:
            if isinstance(result, Exception):
                raise result


def event(user_id: str = "alice", score: int = 5, timestamp: int = 1_700_000_000_000_001, **changed: Any) -> str:
    """Make a raw event of EU."""
    fields = {"user_id": user_id, "name": user_id, "region": "EU", "score": score, "timestamp": timestamp}
    return json.dumps({**fields, "request_id": "r", **changed})


def deletion(user_id: str = "alice", timestamp: int = 1_700_000_000_000_001, **changed: Any) -> str:
    """Make a raw event of EU that deletes a player."""
    fields = {"user_id": user_id, "region": "EU", "request_id": "r", "deleted": True, "keep": 1000}
    return json.dumps({**fields, "timestamp": timestamp, **changed})


async def push(client: redis.Redis, *events: str | bytes, region: str = "EU") -> None:
    """Put events into a queue, in their order, as the service does."""
    await client.lpush(f"queue:scores:{region}", *events)


async def held(client: redis.Redis) -> dict[str, int]:
    """Return the lengths of the queues and processing lists that are not empty; dead letters do not count."""
    lengths = {}
    async for key in client.scan_iter("queue:scores:*"):
        if not key.endswith(":dead"):
            lengths[key] = await client.llen(key)
    return lengths


async def drained(*clients: redis.Redis, seconds: float = 10.0) -> None:
    """Wait until every queue and processing list is empty."""

    async def empty() -> bool:
        return not any([await held(client) for client in clients])

    try:
        await eventually(empty, "the end of the queues", seconds=seconds)
    except AssertionError as error:
        raise AssertionError(f"{error}: {[await held(client) for client in clients]}") from None


async def dead_letters(client: redis.Redis, region: str = "EU") -> list[dict[str, Any]]:
    """Return the dead letters, oldest first."""
    return [json.loads(raw) for raw in reversed(await client.lrange(f"queue:scores:{region}:dead", 0, -1))]


async def rows(databases: RegionDatabases, region: str = "EU") -> dict[str, tuple[str, int, int]]:
    """Return the players of one database: user_id → (name, score, µs since the epoch)."""
    found = await databases[region].fetch(
        "SELECT user_id, name, region, score, (EXTRACT(EPOCH FROM updated_at) * 1000000)::bigint AS micros "
        "FROM leaderboard"
    )
    assert {row["region"] for row in found} <= {region}
    return {row["user_id"]: (row["name"], row["score"], row["micros"]) for row in found}
