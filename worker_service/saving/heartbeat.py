"""Send this worker's heartbeats, reclaim what stale workers hold, and have a Redis admitted that is not."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field

import asyncpg

from leaderboard_core.backoff import wait_for_stop
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.telemetry.metrics import EVENTS_RECLAIMED
from worker_service.recovery.incomplete import repair_incomplete
from worker_service.recovery.rebuilder import Rebuilder
from worker_service.recovery.restore import RebuildInterrupted

log = logging.getLogger(__name__)

FENCING, PARTITIONS = 1, 2
VERSION = PARTITIONS
"""What this worker knows of: the admission's nonce and its lock in Postgres, partitions. Who says nothing is older."""
INTERVAL_SECONDS = 0.5
"""How soon a worker sees that a Redis has become another, where no connection broke."""


@dataclass(slots=True)
class Peers:
    """What is known of the other workers of a shard; until the first heartbeat the worst is taken for granted."""

    least_version: int = 0

    @property
    def old_workers(self) -> bool:
        """Whether one knows nothing of the lock that an upsert takes in Postgres."""
        return self.least_version < FENCING

    @property
    def know_partitions(self) -> bool:
        """Whether all know that a Redis may hold a part of the players only."""
        return self.least_version >= PARTITIONS


@dataclass(slots=True)
class Heartbeat:
    """Keeps this worker in one shard's registry of workers, and removes what stale workers left there."""

    shard: Shard
    worker: str
    timeout_seconds: int
    databases: RegionDatabases
    rebuilder: Rebuilder
    stop: asyncio.Event
    peers: Peers = field(default_factory=Peers)

    async def run(self) -> None:
        """Beat until the stop, several times within the timeout."""
        while not self.stop.is_set():
            try:
                await self.beat()
            except Unavailable as error:
                log.warning("no heartbeat could be sent: %s", error.__cause__)
            await wait_for_stop(self.stop, min(INTERVAL_SECONDS, self.timeout_seconds / 4))

    async def beat(self) -> None:
        """Send one heartbeat; reclaim the batches of stale workers, and start to rebuild a Redis that is not admitted.

        Raises Unavailable.
        """
        await self.reclaim()
        shard = self.shard
        state = await shard.look()
        self.rebuilder.lives.saw(shard, state)
        if not state.is_open:
            self.rebuilder.start(shard)
            return
        try:
            await repair_incomplete(shard, self.databases)
        except (*CONNECTION_ERRORS, asyncpg.PostgresError, RebuildInterrupted) as error:
            log.warning("players wait for their repair: %s", describe(error), extra={"shard": shard.name})

    async def reclaim(self) -> None:
        """Send one heartbeat, and reclaim the batches of stale workers. Raises Unavailable."""
        shard, stale_after = self.shard, self.timeout_seconds * 1_000_000
        registry = (shard.keys.workers, shard.keys.worker_versions)
        least_version, *stale = await shard.run("heartbeat", registry, (self.worker, stale_after, VERSION))
        self.peers.least_version = int(least_version)
        for other in stale:
            await self._reclaim(other, stale_after)
            await shard.run("forget_worker", registry, (other,))

    async def _reclaim(self, other: str, stale_after: int) -> None:
        shard, keys = self.shard, self.shard.keys
        for region in shard.regions:
            reclaimed = await shard.run(
                "reclaim_batch",
                (keys.queue(region), keys.processing(region, other), keys.workers),
                (other, stale_after),
            )
            if reclaimed > 0:
                EVENTS_RECLAIMED.labels(region).inc(reclaimed)
                log.warning(
                    "took over from a silent worker", extra={"worker": other, "region": region, "events": reclaimed}
                )
