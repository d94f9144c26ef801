"""Drain the queues into Postgres, spread the players anew, and fill the new Redis from Postgres."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from leaderboard_cli.backup import boards
from leaderboard_cli.backup.manifest import BackupProblem
from leaderboard_cli.repartition.plan import Plan, RepartitionProblem, is_drained
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.fencing import Fence, set_nonce
from leaderboard_core.postgres.layouts import (
    Repartition,
    change_partitions,
    end_repartition,
    note_repartition,
    read_repartition,
    replace_repartition,
)
from leaderboard_core.redis.admission import REPARTITIONING
from leaderboard_core.redis.layout import MOVED
from leaderboard_core.redis.queues import queue_states
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.settings import TopologySettings, WorkerSettings
from worker_service.recovery.lock import LockHeld
from worker_service.recovery.rebuild import OnPage, rebuild
from worker_service.recovery.verify import Verifier
from worker_service.services import Worker, build

_POLL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Reports:
    """Who is told how far it is: events that wait, players compared, keys removed, players read."""

    on_waiting: Callable[[int], None]
    on_compared: OnPage
    on_keys: Callable[[int], None]
    on_page: OnPage


@dataclass(slots=True)
class Run:
    """One repartition; its steps are in the order in which they are done, and each may be done again."""

    plan: Plan
    databases: RegionDatabases
    topology: TopologySettings
    settings: WorkerSettings
    reports: Reports
    before: Repartition | None
    _shard_map: ShardMap = field(init=False)

    def __post_init__(self) -> None:
        self._shard_map = ShardMap(self.plan.old)

    async def drain_and_switch(self) -> None:
        """Have everything saved, and note the new layout. Writes of players are refused from the first step on.

        A mark keeps workers from admitting any Redis. Then each gets an admission that is for workers alone, under a
        new nonce, so that they (and this command) save what waits. When nothing waits and no player differs from
        Postgres, that admission ends, and with the number of partitions all those of the layout before are void: what a
        worker or a service that was paused still has in its hands is refused. Raises RepartitionProblem, Unavailable,
        and asyncpg's errors.
        """
        if self.before is None:
            await note_repartition(self.databases[GLOBAL], self.plan.mark("drain"))
        else:
            await self._replace_mark(self.before, self.plan.mark("drain"))
        await self._while_locked(self._drain)

    async def finish_switch(self) -> None:
        """Go on with one that has noted the switch. As `drain_and_switch`."""
        if self.before is not None:
            await self._replace_mark(self.before, self.plan.mark("switch"))
        await self._while_locked(self._switch)

    async def fill(self) -> None:
        """Fill and admit the new Redis. Raises RebuildInterrupted, Unavailable, and asyncpg's errors."""
        for shard in self.plan.new:
            while not await shard.is_ready():
                try:
                    await rebuild(
                        shard, self.databases, self.settings, self.reports.on_page, others=self.plan.all_shards
                    )
                except LockHeld:
                    await asyncio.sleep(_POLL_SECONDS)  # a worker on the new layout does it

    async def _while_locked(self, work: Callable[[boards.Locks], Awaitable[None]]) -> None:
        try:
            await boards.while_locked(self.plan.all_shards, work)
        except BackupProblem as problem:
            raise RepartitionProblem(str(problem)) from problem

    async def _drain(self, locks: boards.Locks) -> None:
        await asyncio.gather(*map(self._admit_workers_alone, self.plan.old))
        async with self._working() as (worker, consumers):
            await self._look_at_workers(worker)
            while waiting := await self._waiting():
                if any(one.done() for one in consumers):
                    break  # its error is raised below
                self.reports.on_waiting(waiting)
                await asyncio.sleep(_POLL_SECONDS)
                await self._look_at_workers(worker)
        self.reports.on_waiting(0)
        await self._compare()
        await self._replace_mark(self.plan.mark("drain"), self.plan.mark("switch"))
        await self._switch(locks)

    async def _switch(self, locks: boards.Locks) -> None:
        for shard in self.plan.all_shards:
            await shard.command("DEL", shard.keys.admission, shard.keys.ready)
        for region in self.plan.regions:
            await change_partitions(self.databases[region], region, len(self.plan.new))
        for shard in self.plan.all_shards:
            await self._check_mark()
            await boards.empty(shard, locks[shard], self.reports.on_keys)
        await self._check_mark()
        for shard in self.plan.freed:
            await shard.command("DEL", shard.keys.workers, shard.keys.worker_versions)
            # A worker that goes on under the old settings must not fill it again.
            await shard.command("SET", shard.keys.layout, MOVED)
        await end_repartition(self.databases[GLOBAL], self.plan.mark("switch"))

    async def _replace_mark(self, before: Repartition, after: Repartition) -> None:
        if not await replace_repartition(self.databases[GLOBAL], before, after):
            raise RepartitionProblem("Another command has taken it over, or called it off.")

    async def _check_mark(self) -> None:
        if await read_repartition(self.databases[GLOBAL]) != self.plan.mark("switch"):
            raise RepartitionProblem("Another command has taken it over.")

    async def _admit_workers_alone(self, shard: Shard) -> None:
        state = await shard.look()
        if is_drained(state):
            return
        if not state.is_open or state.admission is None:
            raise RepartitionProblem(f"{shard.name} was restarted or demoted meanwhile: --abandon, and begin again.")
        admission = replace(state.admission, nonce=secrets.token_hex(8), note=REPARTITIONING)
        for region in shard.regions:
            fence = Fence(shard.partition.name(region), admission.nonce)
            await set_nonce(self.databases[region], fence)
        # Others leave an admission alone while the lock of the rebuild is held, and that is ours.
        await shard.pipeline([("SET", shard.keys.admission, admission.encode()), ("DEL", shard.keys.ready)])

    async def _look_at_workers(self, worker: Worker) -> None:
        """Take over from those that are gone. Raises RepartitionProblem where one knows nothing of partitions."""
        for heartbeat in worker.heartbeats:
            await heartbeat.reclaim()
            if not heartbeat.peers.know_partitions:
                raise RepartitionProblem("A worker of an earlier version runs: upgrade it, and run this again.")

    async def _waiting(self) -> int:
        states = await queue_states(self._shard_map)
        if dead := sum(state.dead for state in states):
            raise RepartitionProblem(
                f"{dead} dead letters would be lost, and what only Redis has of their players: retry or drop them "
                "(`leaderboard dead-letters list`), then run this again, or --abandon."
            )
        for shard in self.plan.old:
            if not is_drained(await shard.look()):
                raise RepartitionProblem(
                    f"{shard.name} was restarted or demoted meanwhile: --abandon, and begin again."
                )
        return sum(state.uncommitted for state in states)

    async def _compare(self) -> None:
        report = await Verifier(self._shard_map, self.databases).verify(self.reports.on_compared)
        if report.differences or report.pending or report.truncated:
            raise RepartitionProblem(
                f"{len(report.differences)} players differ between Redis and Postgres, and the new Redis are filled "
                "from Postgres: --abandon, `leaderboard verify --repair`, and begin again."
            )

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[tuple[Worker, list[asyncio.Task[None]]]]:
        """Save what waits, beside the workers that may run; yield the worker and its consumers."""
        stop = asyncio.Event()
        name = f"repartition-{secrets.token_hex(4)}"
        worker = build(name, self.topology, self.settings, self._shard_map, self.databases, stop)
        tasks = [asyncio.create_task(consumer.run()) for consumer in worker.consumers]
        try:
            yield worker, tasks
        finally:
            stop.set()
            await asyncio.gather(*tasks)
