"""Put a worker's parts together, the same way for production and for tests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import TopologySettings, WorkerSettings
from leaderboard_core.telemetry import metrics
from leaderboard_core.telemetry.exposition import count_from_zero
from worker_service.recovery.definitions import Converger, known_boards
from worker_service.recovery.rebuilder import Rebuilder
from worker_service.recovery.sweep import Sweeper
from worker_service.saving.consumer import Consumer
from worker_service.saving.dead_boards import DeadBoards
from worker_service.saving.heartbeat import Heartbeat, Peers

LONGEST_BLOCK_SECONDS = 1.0
"""How long a consumer waits in Redis for an event, and so the longest that a stop waits for it."""
MOST_BLOCKED = 128
"""How many consumers wait in Redis at once, each on a connection: the others take turns with them."""

HEARTBEAT, CONSUMER, INDEXES, DEFINITIONS, SWEEP = TASKS = ("heartbeat", "consumer", "indexes", "definitions", "sweep")
"""What runs beside each other in a worker, and is started again after an error."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One consumer per queue, one heartbeat per shard, what rebuilds shards, tells them of boards, and sweeps them."""

    name: str
    consumers: list[Consumer]
    heartbeats: list[Heartbeat]
    rebuilder: Rebuilder
    converger: Converger
    sweeper: Sweeper


def build(
    name: str,
    topology: TopologySettings,
    settings: WorkerSettings,
    shard_map: ShardMap,
    databases: RegionDatabases,
    stop: asyncio.Event,
    *,
    block_seconds: float = LONGEST_BLOCK_SECONDS,
) -> Worker:
    """Make the parts; nothing runs yet."""
    _count_from_zero(shard_map)
    rebuilder = Rebuilder(shard_map.shards, databases, settings, stop)
    peers = {shard: Peers() for shard in shard_map.shards}
    places = asyncio.Semaphore(MOST_BLOCKED)
    dead_boards = DeadBoards(databases[GLOBAL])
    consumers = [
        Consumer(
            shard=shard,
            region=region,
            pool=databases[region],
            worker=name,
            settings=settings,
            stop=stop,
            block_seconds=min(block_seconds, topology.redis_timeout_seconds / 2),
            peers=peers[shard],
            places=places,
            dead_boards=dead_boards,
            read_boards=partial(known_boards, shard, databases[GLOBAL], shard_map.shards),
        )
        for shard, region in shard_map.queues()
    ]
    heartbeats = [
        Heartbeat(shard, name, settings.worker_timeout_seconds, databases, rebuilder, stop, peers[shard])
        for shard in shard_map.shards
    ]
    converger = Converger(shard_map.shards, databases[GLOBAL], stop)
    sweeper = Sweeper(shard_map, databases, stop)
    return Worker(name, consumers, heartbeats, rebuilder, converger, sweeper)


def _count_from_zero(shard_map: ShardMap) -> None:
    shards = tuple(shard.name for shard in shard_map.shards)
    count_from_zero(metrics.EVENTS_SAVED, shard_map.regions, ("saved", "superseded", "dead"))
    for counter in (metrics.EVENTS_RECLAIMED, metrics.UPSERT_FAILURES, metrics.BATCHES_FENCED, metrics.ENTRIES_UNKNOWN):
        count_from_zero(counter, shard_map.regions)
    count_from_zero(metrics.PLAYERS_REPAIRED, shards)
    count_from_zero(metrics.REBUILDS, shards, ("complete", "interrupted", "failed"))
    count_from_zero(metrics.TASK_FAILURES, TASKS)
