"""Inject faults into workers, at each step between taking a batch and acknowledging it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.faults.harness import Harness
from tests.faults.ledger import Violation
from tests.faults.system import REGIONS
from tests.support.waiting import eventually

_LOCK_SECONDS = 10.0


async def every_worker_killed(harness: Harness) -> None:
    """Kill all workers at once; the events wait."""
    for name in harness.chaos.names("worker"):
        await harness.chaos.kill(name)
    await harness.more_writes(40)


async def worker_killed_in_a_backlog(harness: Harness) -> None:
    """Pause the workers until many events wait, then kill one in the middle of the backlog."""
    chaos = harness.chaos
    names = chaos.names("worker")
    victim = chaos.rng.choice(names)
    for name in names:
        await chaos.running(name)
        chaos.freeze(name)
    await harness.more_writes(100)
    before = sum((await harness.system.waiting()).values())
    for name in names:
        chaos.thaw(name)

    async def begun() -> bool:
        return sum((await harness.system.waiting()).values()) < max(before, 1)

    await harness.until(begun, "work on the backlog")
    await chaos.kill(victim)


@dataclass(frozen=True)
class HeldBatch:
    """A worker in the middle of a batch, whose statement waits for a lock that `connection` holds."""

    region: str
    worker: str
    processing: str
    connection: Any
    transaction: Any

    async def waiting_statements(self) -> list[int]:
        """List the server processes whose statements wait for the lock."""
        await self.connection.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction keeps its first snapshot
        rows = await self.connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND application_name = 'leaderboard'"
        )
        return [row["pid"] for row in rows]

    async def break_statements(self) -> None:
        """Roll the waiting statements back: they are never committed."""
        for pid in await self.waiting_statements():
            await self.connection.execute("SELECT pg_terminate_backend($1)", pid)

    async def let_commit(self) -> None:
        """Release the lock and wait until the waiting statements are committed."""
        await self.transaction.rollback()
        await eventually(self._committed, "the commit of the waiting statements", seconds=90)

    async def _committed(self) -> bool:
        return not await self.waiting_statements()


@asynccontextmanager
async def held_batch(harness: Harness) -> AsyncIterator[HeldBatch | None]:
    """Hold a worker between taking a batch and its commit; None when no batch came."""
    system, chaos = harness.system, harness.chaos
    region = chaos.rng.choice(REGIONS)
    for name in chaos.names("worker"):
        await chaos.running(name)
    async with system.postgres(region) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE leaderboard IN EXCLUSIVE MODE")
        prefix = f"queue:scores:{region}:processing:"

        async def holder() -> HeldBatch | None:
            async with system.redis() as client:
                lists = [name async for name in client.scan_iter(match=f"{prefix}*", count=1000)]
            for processing in lists:
                pid = int(processing.removeprefix(prefix).split("-")[-2])
                for worker in chaos.names("worker"):
                    if chaos.pid(worker) == pid:
                        held = HeldBatch(region, worker, processing, connection, transaction)
                        return held if await held.waiting_statements() else None
            return None

        try:
            found: HeldBatch | None = await harness.until(holder, "a batch", seconds=_LOCK_SECONDS)
        except Violation:
            found = None
        chaos.log(f"a batch of {region} is held: {found and found.processing}")
        yield found


async def workers_killed_before_commit(harness: Harness) -> None:
    """Kill all workers with a batch that is rolled back: only the processing list has the event.

    It is the only event of a new player, so that no later one can replace it.
    """
    system, chaos = harness.system, harness.chaos
    region, workers = chaos.rng.choice(REGIONS), chaos.names("worker")
    async with harness.everything_saved(), system.postgres(region) as connection:
        for name in workers:
            await chaos.running(name)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE leaderboard IN EXCLUSIVE MODE")
        await harness.load.make_player(region)
        held = HeldBatch(region, "", "", connection, transaction)
        await harness.until(held.waiting_statements, "a batch with the new player")
        for name in workers:
            await chaos.kill(name)
        await held.break_statements()


async def worker_killed_and_committed_late(harness: Harness) -> None:
    """Kill a worker whose statement, already sent, is committed afterwards."""
    async with held_batch(harness) as held:
        if held is not None:
            await harness.chaos.kill(held.worker)
            await harness.more_writes(20)


async def worker_killed_before_acknowledging(harness: Harness) -> None:
    """Pause a worker while its statement is committed, and kill it before it acknowledges the batch."""
    chaos = harness.chaos
    async with held_batch(harness) as held:
        if held is not None:
            chaos.freeze(held.worker)
            await held.let_commit()
            await chaos.kill(held.worker)


async def worker_wakes_up_with_an_old_batch(harness: Harness) -> None:
    """Pause a worker until another reclaims its batch; then let it go on and write that batch."""
    chaos = harness.chaos
    async with held_batch(harness) as held:
        if held is None:
            return
        chaos.freeze(held.worker)
        try:
            await held.break_statements()
            await held.transaction.rollback()

            async def is_reclaimed() -> bool:
                async with harness.system.redis() as client:
                    return not await client.exists(held.processing)

            await harness.until(is_reclaimed, f"the reclaim of {held.processing}")
            await harness.more_writes(60)
            async with harness.load.writes_paused():  # a newer write would hide the old batch
                await harness.drained()
                chaos.thaw(held.worker)
                await harness.more_writes(1, seconds=1)
        finally:
            chaos.thaw(held.worker)
