"""Put a worker's parts together, the same way for production and for tests."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, WorkerSettings
from worker_service.recovery.rebuilder import Rebuilder
from worker_service.saving.consumer import Consumer
from worker_service.saving.heartbeat import Heartbeat, Peers

LONGEST_BLOCK_SECONDS = 1.0
"""How long a consumer waits in Redis for an event, and so the longest that a stop waits for it."""


@dataclass(frozen=True, slots=True)
class Worker:
    """One consumer per queue, one heartbeat per shard, and what rebuilds a shard."""

    name: str
    consumers: list[Consumer]
    heartbeats: list[Heartbeat]
    rebuilder: Rebuilder


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
    rebuilder = Rebuilder(databases, settings, stop)
    peers = {shard: Peers() for shard in shard_map.shards}
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
        )
        for shard, region in shard_map.queues()
    ]
    heartbeats = [
        Heartbeat(shard, name, settings.worker_timeout_seconds, databases, rebuilder, stop, peers[shard])
        for shard in shard_map.shards
    ]
    return Worker(name, consumers, heartbeats, rebuilder)
