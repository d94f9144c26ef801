"""Put a backup in the place of what the databases and Redis hold: all of it, or nothing."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from leaderboard_cli.backup import boards
from leaderboard_cli.backup.checks import pools_of, refuse_another_scope, restore_of
from leaderboard_cli.backup.dump import CSV, LONG_SECONDS
from leaderboard_cli.backup.manifest import BackupProblem, DatabaseBackup, Manifest, OnRows, TableFile, name_of
from leaderboard_core.errors import LeaderboardError, describe
from leaderboard_core.postgres import restores, sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.postgres.deletions import MIN_TOMBSTONE_SECONDS
from leaderboard_core.postgres.restores import Restore
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from worker_service.recovery.restore import RebuildInterrupted, deletion_pages

LOCK_SECONDS = 30
"""Longest wait for the upserts and passwords that are under way."""
COMMIT_SECONDS = 600.0
"""Longest wait for a commit: whoever gives up does not know whether it was done."""
_CLOCKS = timedelta(hours=1)
"""How far the clock of a Redis may be behind this machine's without a deletion since the backup being missed."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a restore did: players who were deleted since the backup stay deleted."""

    players: int
    stay_deleted: int


class HalfDone(Exception):
    """The restore ended, and no Redis is admitted; the text says what to do."""


@dataclass(slots=True)
class Run:
    """One restore: what is put where, and who is told how far it is."""

    folder: Path
    manifest: Manifest
    shard_map: ShardMap
    databases: RegionDatabases
    on_rows: OnRows
    on_keys: Callable[[int], None]
    keep_redis: bool
    committed: list[str] = field(default_factory=list, init=False)
    unanswered: str = field(default="", init=False)

    @property
    def shards(self) -> tuple[Shard, ...]:
        return tuple(shard for shard in self.shard_map.shards if set(shard.regions) & set(self.manifest.regions))

    @property
    def restore(self) -> Restore:
        return restore_of(self.manifest, keep_redis=self.keep_redis)

    async def work(self, locks: boards.Locks) -> Loaded:
        # Under the locks: another restore may have ended since the first look.
        refuse_another_scope(await restores.committed(self.databases), self.restore)
        await restores.begin(self.databases, self.restore)
        await asyncio.gather(*(boards.close(shard) for shard in self.shards))
        closed_at: dict[str, int] = {}
        for shard in self.shards:
            now = await shard.now()
            closed_at |= {region: max(now, closed_at.get(region, 0)) for region in shard.regions}
        deleted = {
            user_id: at for shard in self.shards async for page in boards.tombstones(shard) for user_id, at in page
        }
        stay_deleted = 0
        async with AsyncExitStack() as stack:
            connections = []
            for pool in pools_of(self.databases, self.manifest):
                connection = await stack.enter_async_context(pool.acquire())
                await connection.execute("BEGIN")
                stack.push_async_callback(_roll_back, connection)
                regions = self.databases.regions_of(pool)
                connections.append((regions, connection))
                await self._lock(connection)
                # By its own Redis: another's clock may be ahead, and writes of after the restore count.
                undone_until = max(closed_at[region] for region in regions)
                stay_deleted += await self._replace(connection, regions, undone_until, deleted)
                await restores.commit(connection, self.restore)
            for regions, connection in connections:
                # One whose answer is lost may be done.
                self.unanswered = name_of(regions)
                await connection.execute("COMMIT", timeout=COMMIT_SECONDS)
                self.committed.append(self.unanswered)
                self.unanswered = ""
        for shard in self.shards:
            if not self.keep_redis:
                await boards.empty(shard, locks[shard], self.on_keys)
            await boards.forget_admission(shard)
        await restores.end(self.databases)
        return Loaded(self.manifest.players, stay_deleted)

    async def explain(self, error: BaseException) -> str:
        """Say how far it came, and take its mark away if it has changed nothing; "" when all is as before then."""
        said = f"The restore ended early: {reason(error)}."
        go_on = "Until a restore has ended, no Redis is admitted and writes get 503: run the same command again."
        if self.committed or self.unanswered:
            restored = f" Restored are the databases of {', '.join(self.committed)}." if self.committed else ""
            perhaps = f" That of {self.unanswered} may be: its answer was lost." if self.unanswered else ""
            return f"{said}{restored}{perhaps} {go_on}"
        try:
            if await restores.committed(self.databases):
                return f"{said} It has changed nothing more than the one before it. {go_on}"
            await restores.call_off(self.databases)
        except (*CONNECTION_ERRORS, asyncpg.PostgresError) as problem:
            return (
                f"{said} Nothing was changed, but not every database could be told ({describe(problem)}): until then "
                "no Redis is admitted and writes get 503. When all answer, `leaderboard restore --abandon` tells them."
            )
        return ""

    async def _lock(self, connection: Any) -> None:
        """Wait for the writes under way, and keep later ones waiting."""
        await connection.fetchrow(sql.load("work_at_length"))
        await connection.execute(sql.load("limit_lock_waits"), f"{LOCK_SECONDS}s", True)
        for lock in ("lock_admissions", "lock_scores", "lock_accounts"):
            await connection.execute(sql.load(lock), timeout=LOCK_SECONDS + 5)

    async def _replace(
        self, connection: Any, regions: tuple[str, ...], undone_until: int, deleted: dict[str, int]
    ) -> int:
        """Replace the rows of one database; returns how many of the backup's players stay deleted."""
        backup = next(one for one in self.manifest.databases if set(one.regions) == set(regions))
        since = int((self.manifest.began_at - _CLOCKS).timestamp() * 1_000_000)
        later = [tuple(row) async for page in deletion_pages(connection, since) for row in page]
        await connection.execute(sql.load("empty_database"), timeout=LONG_SECONDS)
        for table in backup.tables:
            await self._copy(connection, backup, table)
        await connection.fetchval(sql.load("raise_board_ids"))
        known = await connection.fetch(sql.load("players_known"), list(deleted), timeout=LONG_SECONDS)
        until = undone_until + MIN_TOMBSTONE_SECONDS * 1_000_000
        newest = {user_id: (at, tokens_until) for user_id, at, tokens_until in later}
        for (user_id,) in known:
            if deleted[user_id] > newest.get(user_id, (0, 0))[0]:
                newest[user_id] = (deleted[user_id], until)
        times = list(newest.values())
        status = await connection.execute(
            sql.load("delete_players"),
            list(newest), [at for at, _ in times], [tokens_until for _, tokens_until in times], [at for at, _ in times],
            timeout=LONG_SECONDS,
        )  # fmt: skip
        # Whatever a worker has in its hands names the admission before, and is refused.
        for region in regions:
            await connection.execute(sql.load("void_admissions"), region, f"restored-{undone_until}")
        if not self.keep_redis:
            await connection.execute(sql.load("set_admission"), restores.UNDONE, str(undone_until))
        return int(status.rpartition(" ")[2])

    async def _copy(self, connection: Any, backup: DatabaseBackup, table: TableFile) -> None:
        present = {row["name"] for row in await connection.fetch(sql.load("columns_of"), table.table)}
        if unknown := set(table.columns) - present:
            raise BackupProblem(f"{table.file} has columns that this version does not know: {', '.join(unknown)}.")
        with gzip.open(self.folder / table.file, "rb") as file:
            status = await connection.copy_to_table(
                table.table,
                source=_CountedInput(file, partial(self.on_rows, backup.name)),
                columns=table.columns,
                format=CSV,
                timeout=LONG_SECONDS,
            )
        if (rows := int(status.rpartition(" ")[2])) != table.rows:
            raise BackupProblem(f"{table.file} has {rows} rows, and its manifest says {table.rows}.")


async def load(run: Run) -> Loaded:
    """Replace the databases that the backup has, and empty their Redis unless it is kept; all are admitted anew then.

    From the first step on nothing is written by players: every Redis is closed, and batches of workers from before are
    refused. All rows are in their transactions before the first of these is committed, GLOBAL's last. Raises
    BackupProblem, HalfDone, RebuildInterrupted, Unavailable, and asyncpg's errors; only after HalfDone anything has
    changed.
    """
    try:
        await restores.begin(run.databases, run.restore)
        return await boards.while_locked(run.shards, run.work)
    except (Exception, asyncio.CancelledError) as error:
        if text := await run.explain(error):
            raise HalfDone(text) from error
        raise


def reason(error: BaseException) -> str:
    """Say in a few words why it ended, for users."""
    if isinstance(error, asyncio.CancelledError):
        return "it was interrupted"
    if isinstance(error, BackupProblem | RebuildInterrupted | LeaderboardError):
        return str(error).rstrip(".")
    return describe(error)


class _CountedInput:
    """Counts the lines of what is read."""

    def __init__(self, file: gzip.GzipFile, on_rows: Callable[[int], None]) -> None:
        self._file = file
        self._on_rows = on_rows

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._on_rows(data.count(b"\n"))
        return data


async def _roll_back(connection: Any) -> None:
    """Undo a transaction that was not committed, unless its connection is gone, which undoes it too."""
    with suppress(*CONNECTION_ERRORS):
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
