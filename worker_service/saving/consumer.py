"""Consume one region's queue: take into the processing list, upsert, acknowledge after the commit."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field

from redis.exceptions import OutOfMemoryError

from leaderboard_core.backoff import Backoff, Pauses, wait_for_stop
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool
from leaderboard_core.redis.shard import Shard
from leaderboard_core.settings import WorkerSettings
from leaderboard_core.telemetry import tracing
from leaderboard_core.telemetry.metrics import BATCH_SIZE, EVENTS_SAVED, UPSERT_FAILURES, UPSERT_SECONDS
from worker_service.recovery.rebuild import restore_by_id
from worker_service.saving import batch as batches
from worker_service.saving import upsert as store

log = logging.getLogger(__name__)

BACKOFF = Backoff(first=0.1, most=5.0, jitter=0.5)


@dataclass(slots=True)
class Consumer:
    """One queue's consumer. At most one batch is in flight; that batch is its processing list.

    `batch_lock` is held from the take to the acknowledgement: a rebuild waits for it before it reads Postgres.
    """

    shard: Shard
    region: str
    pool: Pool
    worker: str
    settings: WorkerSettings
    stop: asyncio.Event
    block_seconds: float
    batch_lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _list_is_known: bool = field(default=True, init=False)
    _redis_pauses: Pauses = field(init=False)
    _postgres_pauses: Pauses = field(init=False)

    def __post_init__(self) -> None:
        self._redis_pauses = Pauses(BACKOFF, self.stop)
        self._postgres_pauses = Pauses(BACKOFF, self.stop)

    async def run(self) -> None:
        """Consume until the stop; the batch in flight is finished unless Postgres is unavailable."""
        while not self.stop.is_set():
            try:
                async with self.batch_lock:
                    raw_events = await self._take()
                    if raw_events:
                        await self._save(raw_events)
            except Unavailable as error:
                # An answer may have been lost, and with it an event that is in the list unseen.
                self._list_is_known = False
                log.warning("redis is away: %s", error.__cause__, extra={"region": self.region})
                await self._redis_pauses.pause()
            else:
                self._redis_pauses.reset()

    async def _take(self) -> list[str]:
        """Take the next batch, oldest first; empty when nothing came for a while. Raises Unavailable."""
        keys = self.shard.keys
        queue, processing = keys.queue(self.region), keys.processing(self.region, self.worker)
        if not self._list_is_known:
            # Taking nothing makes this worker known again to a Redis that has lost its data.
            await self._take_more(0)
            in_flight: list[str] = await self.shard.command("LRANGE", processing, 0, -1)
            self._list_is_known = True
            if in_flight:
                return in_flight[::-1]
        try:
            first = await self.shard.command("BLMOVE", queue, processing, "RIGHT", "LEFT", self.block_seconds)
        except Unavailable as error:
            if not isinstance(error.__cause__, OutOfMemoryError):
                raise
            # Draining the queue is what frees the memory; the script may, where the command may not.
            taken = await self._take_more(self.settings.batch_size)
            if not taken:
                await wait_for_stop(self.stop, self.block_seconds)
            return taken
        if first is None:
            # Redis may have given an event to a connection that had broken unnoticed: read the list once in a while.
            self._list_is_known = False
            return []
        events: list[str] = [first]
        for lingers in (True, False):
            room = self.settings.batch_size - len(events)
            if room == 0:
                break
            events += await self._take_more(room)
            if lingers and len(events) < self.settings.batch_size and self.settings.batch_linger_ms:
                await wait_for_stop(self.stop, self.settings.batch_linger_ms / 1000)
            else:
                break
        return events

    async def _take_more(self, most: int) -> list[str]:
        keys = self.shard.keys
        lists = (keys.queue(self.region), keys.processing(self.region, self.worker), keys.workers)
        taken: list[str] = await self.shard.run("take_batch", lists, (most, self.worker))
        return taken

    async def _save(self, raw_events: list[str]) -> None:
        """Commit a batch and acknowledge it. Raises Unavailable when Redis fails before the end."""
        batch = batches.build(raw_events, self.region)
        dead = list(batch.dead)
        while True:
            started, started_at = time.perf_counter(), time.time_ns()
            try:
                refused = await store.save(self.pool, batch)
            except store.PostgresUnavailable as error:
                UPSERT_FAILURES.labels(self.region).inc()
                log.warning("postgres is away: %s", error, extra={"region": self.region, "held": len(raw_events)})
                await self._postgres_pauses.pause()
                if self.stop.is_set():
                    return  # the processing list keeps the batch for the next worker
            else:
                UPSERT_SECONDS.labels(self.region).observe(time.perf_counter() - started)
                break
        self._postgres_pauses.reset()
        if batch.traceparents and (tracer := tracing.active()) is not None:
            tracer.saved(batch.traceparents, self.region, len(raw_events), started_at)
        dead += [batches.DeadLetter(batch.raw(event), reason) for event, reason in refused]
        for dead_letter in dead:
            log.error("event refused", extra={"region": self.region, "reason": dead_letter.reason})
        BATCH_SIZE.labels(self.region).observe(len(raw_events))
        if batch.deletions:
            await self._expire_tombstones(batch)
        if await self._acknowledge(len(raw_events), dead) == "gone":
            await self._restore_to_redis(batch.user_ids)
        EVENTS_SAVED.labels(self.region, "saved").inc(len(batch.events) + len(batch.deletions) - len(refused))
        EVENTS_SAVED.labels(self.region, "superseded").inc(batch.superseded)
        EVENTS_SAVED.labels(self.region, "dead").inc(len(dead))

    async def _expire_tombstones(self, batch: batches.Batch) -> None:
        """Let the tombstones expire when older tokens have: Postgres has these deletions now."""
        keys = self.shard.keys
        await asyncio.gather(
            *(
                self.shard.run(
                    "expire_tombstone", (keys.tombstone(one.user_id),), (one.timestamp, one.tombstone_seconds)
                )
                for one in batch.deletions
            )
        )

    async def _acknowledge(self, count: int, dead: list[batches.DeadLetter]) -> str:
        keys = self.shard.keys
        outcome: str = await self.shard.run(
            "acknowledge_batch",
            (keys.processing(self.region, self.worker), keys.dead(self.region)),
            (count, *(dead_letter.encode() for dead_letter in dead)),
        )
        if outcome == "changed":
            self._list_is_known = False
        elif outcome == "gone":
            log.warning("the batch was taken over, or Redis lost it", extra={"region": self.region})
        return outcome

    async def _restore_to_redis(self, user_ids: list[str]) -> None:
        """Restore a batch whose list has vanished to Redis: if Redis lost its data, a rebuild may have read Postgres
        before this batch was committed. Raises Unavailable."""
        while not self.stop.is_set():
            try:
                await restore_by_id(self.shard, self.region, self.pool, user_ids)
            except CONNECTION_ERRORS as error:
                log.warning("postgres is away: %s", describe(error), extra={"region": self.region})
                await self._postgres_pauses.pause()
            else:
                return
