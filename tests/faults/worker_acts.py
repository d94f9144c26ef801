"""Faults of workers: each step between the take of a batch and its acknowledgement is hit on purpose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.faults.ledger import Violation
from tests.faults.stage import Stage
from tests.faults.world import REGIONS

_LOCK_SECONDS = 10.0


async def every_worker_killed(stage: Stage) -> None:
    """Nobody is there for a while; the events wait."""
    for name in stage.chaos.names("worker"):
        await stage.chaos.kill(name)
    await stage.more_writes(40)


async def worker_killed_in_a_backlog(stage: Stage) -> None:
    """Both workers stand still until many events wait; then one of them dies in the middle of the work."""
    chaos = stage.chaos
    names = chaos.names("worker")
    victim = chaos.rng.choice(names)
    for name in names:
        await chaos.running(name)
        chaos.freeze(name)
    await stage.more_writes(100)
    before = sum((await stage.world.waiting()).values())
    for name in names:
        chaos.thaw(name)

    async def begun() -> bool:
        return sum((await stage.world.waiting()).values()) < max(before, 1)

    await stage.until(begun, "work on the backlog")
    await chaos.kill(victim)


@dataclass(frozen=True)
class HeldBatch:
    """A worker in the middle of a batch: its statement waits for a lock that `connection` holds."""

    region: str
    worker: str
    processing: str
    connection: Any
    transaction: Any

    async def waiting_statements(self) -> list[int]:
        """The server processes whose statements wait for the lock."""
        await self.connection.execute("SELECT pg_stat_clear_snapshot()")  # a transaction looks only once otherwise
        rows = await self.connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND application_name = 'leaderboard'"
        )
        return [row["pid"] for row in rows]

    async def break_statements(self) -> None:
        """The statements that wait are rolled back: they are never committed."""
        for pid in await self.waiting_statements():
            await self.connection.execute("SELECT pg_terminate_backend($1)", pid)

    async def let_commit(self) -> None:
        """The statements that wait go on, and are committed."""
        await self.transaction.rollback()
        while await self.waiting_statements():
            await asyncio.sleep(0.02)


@asynccontextmanager
async def held_batch(stage: Stage) -> AsyncIterator[HeldBatch | None]:
    """Hold a worker between the take and the commit; None when no batch came."""
    world, chaos = stage.world, stage.chaos
    region = chaos.rng.choice(REGIONS)
    for name in chaos.names("worker"):
        await chaos.running(name)
    async with world.postgres(region) as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE leaderboard IN EXCLUSIVE MODE")
        prefix = f"queue:scores:{region}:processing:"

        async def holder() -> HeldBatch | None:
            async with world.redis() as client:
                lists = [name async for name in client.scan_iter(match=f"{prefix}*", count=1000)]
            for processing in lists:
                pid = int(processing.removeprefix(prefix).split("-")[-2])
                for worker in chaos.names("worker"):
                    if chaos.pid(worker) == pid:
                        held = HeldBatch(region, worker, processing, connection, transaction)
                        return held if await held.waiting_statements() else None
            return None

        try:
            found: HeldBatch | None = await stage.until(holder, "a batch", seconds=_LOCK_SECONDS)
        except Violation:
            found = None
        chaos.note(f"a batch of {region} is held: {found and found.processing}")
        yield found


async def workers_killed_before_commit(stage: Stage) -> None:
    """The workers die with a batch whose statement is rolled back: only the processing list has the event.

    It is the only event of a new player, so that no later one can make up for it.
    """
    world, chaos = stage.world, stage.chaos
    region, workers = chaos.rng.choice(REGIONS), chaos.names("worker")
    async with stage.everything_saved(), world.postgres(region) as connection:
        for name in workers:
            await chaos.running(name)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute("LOCK TABLE leaderboard IN EXCLUSIVE MODE")
        await stage.swarm.make_player(region)
        held = HeldBatch(region, "", "", connection, transaction)
        await stage.until(held.waiting_statements, "a batch with the new player")
        for name in workers:
            await chaos.kill(name)
        await held.break_statements()


async def worker_killed_and_committed_late(stage: Stage) -> None:
    """A worker dies, and its statement, already sent, is committed after that."""
    async with held_batch(stage) as held:
        if held is not None:
            await stage.chaos.kill(held.worker)
            await stage.more_writes(20)


async def worker_killed_before_acknowledging(stage: Stage) -> None:
    """A worker stands still while its statement is committed, and dies before it can acknowledge the batch."""
    chaos = stage.chaos
    async with held_batch(stage) as held:
        if held is not None:
            chaos.freeze(held.worker)
            await held.let_commit()
            await chaos.kill(held.worker)


async def worker_wakes_up_with_an_old_batch(stage: Stage) -> None:
    """A worker stands still for so long that another takes over; then it wakes up and writes its old batch."""
    chaos = stage.chaos
    async with held_batch(stage) as held:
        if held is None:
            return
        chaos.freeze(held.worker)
        try:
            await held.break_statements()
            await held.transaction.rollback()

            async def taken_over() -> bool:
                async with stage.world.redis() as client:
                    return not await client.exists(held.processing)

            await stage.until(taken_over, f"the take-over of {held.processing}")
            await stage.more_writes(60)
            async with stage.swarm.quiet():  # nothing newer may come after the old batch and hide it
                await stage.drained()
                chaos.thaw(held.worker)
                await stage.more_writes(1, seconds=1)
        finally:
            chaos.thaw(held.worker)
