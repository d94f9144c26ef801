"""Inject faults into workers, at each step between taking a batch and acknowledging it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from tests.faults.harness import Harness
from tests.faults.records import Violation
from tests.faults.store_injections import copy_data, replace_data, replace_data_beside_workers
from tests.faults.system import REGIONS
from tests.support.waiting import eventually

_LOCK_SECONDS = 10.0
_LATEST_COMMIT_SECONDS = 4.0
"""Before a worker gives a statement up (POSTGRES_TIMEOUT_SECONDS): it would repeat it, and might be refused then."""
_ADDS_IN_HELD_BATCHES = 3


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
    tables: tuple[str, ...]

    async def waiting_statements(self) -> list[int]:
        """List the server processes whose statements wait for the lock."""
        await self.connection.execute("SELECT pg_stat_clear_snapshot()")  # else a transaction keeps its first snapshot
        rows = await self.connection.fetch(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND application_name = 'leaderboard'"
        )
        return [row["pid"] for row in rows]

    async def waiting_for(self, *tables: str) -> list[int]:
        """List the server processes that wait for a lock of these tables: the upserts, or who sets an admission."""
        rows = await self.connection.fetch(
            "SELECT pid FROM pg_locks WHERE NOT granted AND locktype = 'relation'"
            " AND relation = ANY (SELECT name::regclass FROM unnest($1::text[]) AS name)"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            tables,
        )
        return [row["pid"] for row in rows]

    async def break_statements(self) -> None:
        """Roll the waiting statements back: they are never committed."""
        await self._end(await self.waiting_statements())

    async def break_upserts(self) -> None:
        """Roll the waiting upserts back; whoever waits for the end of them goes on."""
        await self._end(await self.waiting_for(*self.tables))

    async def _end(self, pids: list[int]) -> None:
        for pid in pids:
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
        await connection.execute(f"LOCK TABLE {', '.join(harness.saved_tables)} IN EXCLUSIVE MODE")
        prefix = f"queue:scores:{region}:processing:"

        async def holder() -> HeldBatch | None:
            async with system.redis() as client:
                lists = [name async for name in client.scan_iter(match=f"{prefix}*", count=1000)]
            for processing in lists:
                pid = int(processing.removeprefix(prefix).split("-")[-2])
                for worker in chaos.names("worker"):
                    if chaos.pid(worker) == pid:
                        held = HeldBatch(region, worker, processing, connection, transaction, harness.saved_tables)
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
        await connection.execute(f"LOCK TABLE {', '.join(harness.saved_tables)} IN EXCLUSIVE MODE")
        await harness.load.make_player(region)
        held = HeldBatch(region, "", "", connection, transaction, harness.saved_tables)
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


async def redis_rolled_back_while_an_upsert_is_slow(harness: Harness) -> None:
    """Roll Redis back while statements wait in Postgres, whose events only living workers have.

    Then they are committed or broken, while the workers rebuild Redis, at random with `leaderboard rebuild --whole`
    beside them. What was broken may be refused under the new admission, and is given back; between the two a read may
    miss it, so reads wait. A statement that is committed is on every board that is served.

    A racer's best lap is among what waits. It has a worse one as soon as Redis is served again, which is an improvement
    on what Redis has then, and later than the best. Of what is broken half comes back only after that: its workers are
    paused, and `leaderboard rebuild` does their work.
    """
    system, chaos, loop = harness.system, harness.chaos, asyncio.get_running_loop()
    region, broken, beside = chaos.rng.choice(REGIONS), chaos.rng.random() < 0.5, chaos.rng.random() < 0.4
    late = broken and chaos.rng.random() < 0.5
    await harness.healthy(*chaos.names("worker"))
    restore_copy = await copy_data(harness)
    await harness.more_writes(40, seconds=10)
    racer = await harness.load.make_racer(region)
    async with AsyncExitStack() as stack, system.postgres(region) as connection:
        async with harness.everything_saved():
            transaction = connection.transaction()
            await transaction.start()
            await connection.execute(f"LOCK TABLE {', '.join(harness.saved_tables)} IN EXCLUSIVE MODE")
            held = HeldBatch(region, "", "", connection, transaction, harness.saved_tables)
            latest = loop.time() + _LATEST_COMMIT_SECONDS
            player = await harness.load.make_adding_player(region)
            for name in chaos.names("worker"):  # so that one batch takes all that follows
                chaos.freeze(name)
            await harness.load.add(player, _ADDS_IN_HELD_BATCHES)
            await harness.load.race(racer)
            chaos.thaw_all()

            async def all_held() -> bool:
                lists = [name for name, length in (await system.waiting()).items() if length]
                taken = all(name.startswith(f"queue:scores:{region}:processing:") for name in lists)
                return taken and 0 < len(lists) == len(await held.waiting_for(*held.tables))

            try:
                await harness.until(all_held, "batches of all that waits", seconds=latest - loop.time() - 1)
            except Violation as error:
                chaos.log(f"Redis is not rolled back: {error}")
                return
            if broken:
                await stack.enter_async_context(harness.load.reads_paused())
            await (replace_data if late else replace_data_beside_workers)(harness, restore_copy)
        racing = await stack.enter_async_context(_task(harness.load.race(racer, sees_all=False)))
        if late:
            await held.break_upserts()
            await transaction.rollback()
            await _command(harness, "rebuild", "--whole")
            await racing
            chaos.log("the racer has a worse lap, and the workers come back with a better one")
            chaos.thaw_all()
        else:
            if beside:
                await stack.enter_async_context(_task(_command(harness, "rebuild", "--whole"), to_the_end=True))

            async def admission_waits() -> bool:
                return bool(await held.waiting_for("admissions"))

            with suppress(Violation):
                seconds = 20 if broken else max(0.1, latest - loop.time())
                await harness.until(admission_waits, "an admission that waits for the upserts", seconds=seconds)
            waiting = {table: await held.waiting_for(table) for table in (*held.tables, "admissions")}
            chaos.log(f"{waiting} wait; the upserts are {'broken' if broken else 'committed'} now")
            if broken:
                await held.break_upserts()
                await transaction.rollback()
            else:
                await held.let_commit()

        async def saved() -> bool:
            score = await connection.fetchval("SELECT score FROM leaderboard WHERE user_id = $1", player.user_id)
            return score is not None and player.applied(score) >= player.floor(system.ledger.clock)

        await harness.until(saved, f"the row of {player.user_id}, whose events only workers had", seconds=30)
        await racing
    await harness.more_writes(20, seconds=10)


@asynccontextmanager
async def _task(work: Coroutine[Any, Any, Any], *, to_the_end: bool = False) -> AsyncIterator[asyncio.Task[Any]]:
    """Run something beside this block, which `to_the_end` is waited for after it, and otherwise broken off."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        if not to_the_end:
            task.cancel()
        await asyncio.gather(task, return_exceptions=not to_the_end)


async def _command(harness: Harness, *words: str) -> tuple[int, str]:
    """Run a command once Redis answers; it may find a worker at its work, and say so."""
    async with harness.system.redis():
        harness.chaos.log(f"leaderboard {' '.join(words)}")
    code, output = await harness.system.command(*words)
    harness.chaos.log(f"leaderboard {' '.join(words)} ended with {code}: {' '.join(output.split())[-200:]}")
    return code, output
