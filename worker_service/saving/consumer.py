"""Consume one region's queue: take into the processing list, upsert, acknowledge after the commit."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import asyncpg
from redis.exceptions import OutOfMemoryError

from leaderboard_core.backoff import Backoff, Pauses, wait_for_stop
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool
from leaderboard_core.postgres.fencing import Fence, Fenced
from leaderboard_core.postgres.restores import read_restores
from leaderboard_core.redis.admission import Admission
from leaderboard_core.redis.layout import LayoutChanged, different_count
from leaderboard_core.redis.shard import Shard
from leaderboard_core.settings import WorkerSettings
from leaderboard_core.telemetry import tracing
from leaderboard_core.telemetry.metrics import (
    BATCH_SIZE,
    BATCHES_FENCED,
    EVENTS_SAVED,
    UPSERT_FAILURES,
    UPSERT_SECONDS,
)
from worker_service.recovery.by_id import ReadBoards
from worker_service.recovery.layout import check_same_layout
from worker_service.recovery.restore import RebuildInterrupted
from worker_service.saving import batch as batches
from worker_service.saving import upsert as store
from worker_service.saving.dead_boards import DeadBoards
from worker_service.saving.heartbeat import Peers
from worker_service.saving.returning import Returning

log = logging.getLogger(__name__)

BACKOFF = Backoff(first=0.1, most=5.0, jitter=0.5)
COLD_SECONDS = 0.1
"""How often a consumer asks whether its shard is admitted; nothing can be taken before."""
RETURNED_PER_CALL = 200


class Taken(NamedTuple):
    """A batch, oldest event first: the whole processing list, and the admission under which it stood.

    `digest` is that of the newest event as Redis has it: an event need not be a text.
    """

    admission: str
    digest: str
    raw_events: list[str]

    @property
    def nonce(self) -> str:
        return self.admission.partition(" ")[0]


@dataclass(slots=True)
class Consumer:
    """One queue's consumer. At most one batch is in flight; that batch is its processing list.

    `places` are how many of a worker's consumers wait in Redis at once; `read_boards` reads which boards there are.
    """

    shard: Shard
    region: str
    pool: Pool
    worker: str
    settings: WorkerSettings
    stop: asyncio.Event
    block_seconds: float
    peers: Peers
    places: asyncio.Semaphore
    dead_boards: DeadBoards
    read_boards: ReadBoards
    _waits: bool = field(default=True, init=False)
    _returning: list[str] = field(default_factory=list, init=False)
    _redis_pauses: Pauses = field(init=False)
    _postgres_pauses: Pauses = field(init=False)
    _fence_pauses: Pauses = field(init=False)

    def __post_init__(self) -> None:
        self._redis_pauses = Pauses(BACKOFF, self.stop)
        self._postgres_pauses = Pauses(BACKOFF, self.stop)
        self._fence_pauses = Pauses(BACKOFF, self.stop)

    async def run(self) -> None:
        """Consume until the stop; the batch in flight is finished unless a store is unavailable."""
        while not self.stop.is_set():
            try:
                if self._returning:
                    await self._return_events()
                taken = await self._take()
                if taken.raw_events:
                    await self._save(taken)
            except RebuildInterrupted as error:  # of Postgres, from which players are restored
                log.warning("postgres is away: %s", error, extra={"region": self.region})
                await self._postgres_pauses.pause()
            except Unavailable as error:
                # An answer may have been lost, and with it an event that is in the list unseen: look before waiting.
                self._waits = False
                log.warning("redis is away: %s", error.__cause__, extra={"region": self.region})
                await self._redis_pauses.pause()
            else:
                self._redis_pauses.reset()
        if self._returning:
            await self._return_at_the_end()

    async def _take(self) -> Taken:
        """Take the next batch; empty when nothing came in time, or the shard is not admitted. Raises Unavailable."""
        if self._waits:
            await self._wait_for_event()
        self._waits = True
        most, linger = self.settings.batch_size, self.settings.batch_linger_ms / 1000
        taken = await self._take_more()
        if not taken.admission:
            self._waits = False
            await wait_for_stop(self.stop, COLD_SECONDS)
        elif 0 < len(taken.raw_events) < most and linger:
            await wait_for_stop(self.stop, linger)
            taken = await self._take_more()
        return taken

    async def _wait_for_event(self) -> None:
        """Wait until an event has come into the processing list, or for a while. Raises Unavailable."""
        keys = self.shard.keys
        lists = (keys.queue(self.region), keys.processing(self.region, self.worker))
        try:
            async with self.places:
                if not self.stop.is_set():
                    await self.shard.command("BLMOVE", *lists, "RIGHT", "LEFT", self.block_seconds)
        except Unavailable as error:
            if not isinstance(error.__cause__, OutOfMemoryError):
                raise
            # Draining the queue is what frees the memory; the script may, where the command may not.
            if not await self.shard.command("LLEN", lists[0]):
                await wait_for_stop(self.stop, self.block_seconds)

    async def _take_more(self) -> Taken:
        keys = self.shard.keys
        lists = (keys.queue(self.region), keys.processing(self.region, self.worker), keys.workers, keys.admission)
        admission, digest, newest_first = await self.shard.run(
            "take_batch", lists, (self.settings.batch_size, self.worker)
        )
        found = Admission.parse(admission)
        if found is not None and found.partition != self.shard.partition:
            # Its events stay in the list for a worker of that layout.
            raise LayoutChanged(different_count(self.shard, found.partition.count))
        return Taken(admission, digest, newest_first[::-1])

    async def _save(self, taken: Taken) -> None:
        """Commit a batch and acknowledge it. Raises Unavailable when Redis fails before the end."""
        batch = await self.dead_boards.without(batches.build(taken.raw_events, self.region), self.shard, self.region)
        dead, fence = list(batch.dead), Fence(self.shard.partition.name(self.region), taken.nonce)
        while True:
            started, started_at = time.perf_counter(), time.time_ns()
            try:
                refused = await store.save(self.pool, batch, fence, old_workers=self.peers.old_workers)
            except Fenced:
                await self._refused(taken, batch)
                return
            except store.PostgresUnavailable as error:
                UPSERT_FAILURES.labels(self.region).inc()
                log.warning("postgres is away: %s", error, extra={"region": self.region, "held": len(taken.raw_events)})
                await self._postgres_pauses.pause()
                if self.stop.is_set():
                    return  # the processing list keeps the batch for the next worker
            else:
                UPSERT_SECONDS.labels(self.region).observe(time.perf_counter() - started)
                break
        self._postgres_pauses.reset()
        self._fence_pauses.reset()
        if batch.traceparents and (tracer := tracing.active()) is not None:
            tracer.saved(batch.traceparents, self.region, len(taken.raw_events), started_at)
        dead += [batches.DeadLetter(raw, reason) for event, reason in refused for raw in batch.raws_of(event)]
        for dead_letter in dead:
            log.error("event refused", extra={"region": self.region, "reason": dead_letter.reason})
        BATCH_SIZE.labels(self.region).observe(len(taken.raw_events))
        if batch.deletions:
            await self._expire_tombstones(batch)
        await self._acknowledge(taken, dead)
        saved = len(batch.events) + len(batch.deletions) - len(refused)
        EVENTS_SAVED.labels(self.region, "saved").inc(saved)
        EVENTS_SAVED.labels(self.region, "superseded").inc(len(taken.raw_events) - saved - len(dead))
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

    async def _acknowledge(self, taken: Taken, dead: list[batches.DeadLetter]) -> None:
        """Forget a batch that is committed. Whatever comes of it, an admission to come finds it in Postgres."""
        keys = self.shard.keys
        outcome: str = await self.shard.run(
            "acknowledge_batch",
            (keys.processing(self.region, self.worker), keys.dead(self.region), keys.admission),
            (len(taken.raw_events), taken.digest, taken.admission, *(letter.encode() for letter in dead)),
        )
        if outcome == "changed":
            self._waits = False
        elif outcome == "gone":
            log.warning("the batch was taken over, or Redis lost it", extra={"region": self.region})

    async def _refused(self, taken: Taken, batch: batches.Batch) -> None:
        """Keep what is to go back to Redis: the shard was admitted anew since the batch was taken, or is just now."""
        BATCHES_FENCED.labels(self.region).inc()
        log.warning(
            "a batch of an earlier admission was refused",
            extra={"region": self.region, "events": len(taken.raw_events)},
        )
        self._returning = batch.raws
        self._waits = False
        # Where nobody admits it, Postgres and Redis do not agree on who was last, and a worker has to find out.
        keys = self.shard.keys
        await self.shard.run("close_admission", (keys.admission, keys.ready, keys.rebuild_lock), (taken.admission,))
        await self._fence_pauses.pause()

    async def _return_events(self) -> None:
        """Give back what the processing list no longer holds, before anything else is taken.

        Raises Unavailable, and LayoutChanged when these players are spread anew: then all of it was saved.
        """
        region = self.region
        await check_same_layout(self.shard, self.pool, region)
        self._returning = batches.without_undone(self._returning, region, await self._undone_until())
        returning = Returning(self.shard, region, self.pool, self.worker, self.read_boards)
        while self._returning:
            returned = await returning.give_back(self._returning[:RETURNED_PER_CALL])
            del self._returning[:RETURNED_PER_CALL]
            if returned:
                log.warning("events that redis had lost were given back", extra={"region": region, "events": returned})

    async def _undone_until(self) -> int:
        """Read up to which time (µs) a restore has undone writes; wait while one is under way, until the stop."""
        while True:
            try:
                found = await read_restores(self.pool)
            except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
                log.warning("postgres is away: %s", describe(error), extra={"region": self.region})
                if self.stop.is_set():
                    return 0
                await self._postgres_pauses.pause()
            else:
                if not found.under_way or self.stop.is_set():
                    return found.undone_until
                await wait_for_stop(self.stop, COLD_SECONDS)

    async def _return_at_the_end(self) -> None:
        try:
            await self._return_events()
        except (Unavailable, RebuildInterrupted) as error:
            log.warning(
                "redis has lost events that postgres does not have: %s",
                error.__cause__,
                extra={"region": self.region, "events": len(self._returning)},
            )
