"""Put a backup in the place of what the databases and Redis hold: all of it, or nothing."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg

from leaderboard_cli.backup import boards
from leaderboard_cli.backup.dump import CSV, LONG_SECONDS, check_schema, in_order
from leaderboard_cli.backup.manifest import BackupProblem, DatabaseBackup, Manifest, OnRows, TableFile, name_of
from leaderboard_core.errors import LeaderboardError, describe
from leaderboard_core.postgres import restores, sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, Pool, RegionDatabases
from leaderboard_core.postgres.deletions import MIN_TOMBSTONE_SECONDS
from leaderboard_core.redis.shard_map import ShardMap
from worker_service.recovery.restore import RebuildInterrupted, deletion_pages

log = logging.getLogger(__name__)

LOCK_SECONDS = 30
"""Longest wait for the upserts and passwords that are under way."""
_CLOCKS = timedelta(hours=1)
"""How far the clock of a Redis may be behind this machine's without a deletion since the backup being missed."""
_FAILURES = (*CONNECTION_ERRORS, asyncpg.PostgresError, LeaderboardError, RebuildInterrupted, OSError)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a restore did: players who were deleted since the backup stay deleted."""

    players: int
    stay_deleted: int


class HalfDone(Exception):
    """The restore ended between two databases; the text says what to do."""


async def refuse_what_does_not_fit(databases: RegionDatabases, manifest: Manifest, *, whole: bool) -> None:
    """Compare the backup's regions with the system's, of which it may be a part unless it is to be the whole.

    Raises BackupProblem, and asyncpg's errors.
    """
    ours = {tuple(sorted(databases.regions_of(pool))) for pool in databases.distinct()}
    theirs = {tuple(sorted(database.regions)) for database in manifest.databases}
    if (ours != theirs) if whole else (theirs - ours):
        raise BackupProblem(
            "The backup's databases are those of "
            f"{_listed(theirs)}; this system's are those of {_listed(ours)}. Set REGIONS (and PG_DATABASE_<REGION>, "
            "DATABASE_URL_<REGION>) as they were, restore, and change the regions then."
        )
    for pool in _pools(databases, manifest):
        async with pool.acquire() as connection:
            await check_schema(connection, databases.regions_of(pool))


async def what_is_there(
    shard_map: ShardMap, databases: RegionDatabases, manifest: Manifest, *, keep_redis: bool
) -> list[str]:
    """Name the stores that hold something that would be replaced. Raises Unavailable, and asyncpg's errors."""
    found = [
        f"the database of {name_of(databases.regions_of(pool))}"
        for pool in _pools(databases, manifest)
        if await pool.fetchval(sql.load("has_rows"))
    ]
    shards = () if keep_redis else shard_map.shards
    return found + [shard.name for shard in shards if await boards.holds_anything(shard)]


def _pools(databases: RegionDatabases, manifest: Manifest) -> list[Pool]:
    """Return the databases that the backup has, GLOBAL's last."""
    return [pool for pool in in_order(databases) if set(databases.regions_of(pool)) & set(manifest.regions)]


async def load(
    folder: Path,
    manifest: Manifest,
    shard_map: ShardMap,
    databases: RegionDatabases,
    on_rows: OnRows,
    on_keys: Callable[[int], None],
    *,
    keep_redis: bool,
) -> Loaded:
    """Replace the databases that the backup has, and empty their Redis unless `keep_redis`; all are admitted anew then.

    From the first step on nothing is written by players: every Redis is closed, and batches of workers from before are
    refused. All rows are in their transactions before the first of these is committed, GLOBAL's last. Raises
    BackupProblem, HalfDone, Unavailable, and asyncpg's errors; only after HalfDone anything has changed.
    """
    run = _Run(folder, manifest, shard_map, databases, on_rows, on_keys, keep_redis)
    goes_on = await restores.any_under_way(databases)
    await restores.begin(databases)
    try:
        return await boards.while_locked(run.shards, run.work)
    except (*_FAILURES, asyncio.CancelledError) as error:
        if run.committed:
            raise HalfDone(run.explain(error)) from error
        raise
    finally:
        # One that ended early may have changed something: only one that ends well takes its mark away.
        if not run.committed and not goes_on:
            with suppress(*CONNECTION_ERRORS):
                await restores.end(databases)


class _Run:
    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        shard_map: ShardMap,
        databases: RegionDatabases,
        on_rows: OnRows,
        on_keys: Callable[[int], None],
        keep_redis: bool,
    ) -> None:
        self._folder = folder
        self._manifest = manifest
        self.shards = tuple(shard for shard in shard_map.shards if set(shard.regions) & set(manifest.regions))
        self._databases = databases
        self._on_rows = on_rows
        self._on_keys = on_keys
        self._keep_redis = keep_redis
        self.committed: list[str] = []

    def explain(self, error: BaseException) -> str:
        return (
            f"The restore ended early: {describe(error)}. Restored are the databases of {', '.join(self.committed)}. "
            "Until a restore has ended, no Redis is admitted and writes get 503: run the same command again."
        )

    async def work(self) -> Loaded:
        await asyncio.gather(*(boards.close(shard) for shard in self.shards))
        undone_until = max([await shard.now() for shard in self.shards])
        deleted = {
            user_id: at for shard in self.shards async for page in boards.tombstones(shard) for user_id, at in page
        }
        stay_deleted = 0
        async with AsyncExitStack() as stack:
            transactions = []
            for pool in _pools(self._databases, self._manifest):
                connection = await stack.enter_async_context(pool.acquire())
                transaction = connection.transaction()
                await transaction.start()
                stack.push_async_callback(_roll_back, transaction, connection)
                regions = self._databases.regions_of(pool)
                transactions.append((regions, transaction))
                await self._lock(connection)
                stay_deleted += await self._replace(connection, regions, undone_until, deleted)
            for regions, transaction in transactions:
                await transaction.commit()
                self.committed.append(name_of(regions))
        for shard in self.shards:
            if not self._keep_redis:
                await boards.empty(shard, self._on_keys)
            await boards.forget_admission(shard)
        await restores.end(self._databases)
        return Loaded(self._manifest.players, stay_deleted)

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
        backup = next(one for one in self._manifest.databases if set(one.regions) == set(regions))
        since = int((self._manifest.began_at - _CLOCKS).timestamp() * 1_000_000)
        later = [tuple(row) async for page in deletion_pages(connection, since) for row in page]
        await connection.execute(sql.load("empty_database"), timeout=LONG_SECONDS)
        for table in backup.tables:
            await self._copy(connection, backup, table)
        known = await connection.fetch(sql.load("players_known"), list(deleted), timeout=LONG_SECONDS)
        until = undone_until + MIN_TOMBSTONE_SECONDS * 1_000_000
        newest = {user_id: (at, tokens_until) for user_id, at, tokens_until in later}
        for (user_id,) in known:
            if deleted[user_id] > newest.get(user_id, (0, 0))[0]:
                newest[user_id] = (deleted[user_id], until)
        times = list(newest.values())
        status = await connection.execute(
            sql.load("delete_players"),
            list(newest), [at for at, _ in times], [tokens_until for _, tokens_until in times],
            timeout=LONG_SECONDS,
        )  # fmt: skip
        # Whatever a worker has in its hands names the admission before, and is refused.
        for region in regions:
            await connection.execute(sql.load("set_admission"), region, f"restored-{undone_until}")
        if not self._keep_redis:
            await connection.execute(sql.load("set_admission"), restores.UNDONE, str(undone_until))
        return int(status.rpartition(" ")[2])

    async def _copy(self, connection: Any, backup: DatabaseBackup, table: TableFile) -> None:
        present = {row["name"] for row in await connection.fetch(sql.load("columns_of"), table.table)}
        if unknown := set(table.columns) - present:
            raise BackupProblem(f"{table.file} has columns that this version does not know: {', '.join(unknown)}.")
        with gzip.open(self._folder / table.file, "rb") as file:
            status = await connection.copy_to_table(
                table.table,
                source=_CountedInput(file, partial(self._on_rows, backup.name)),
                columns=table.columns,
                format=CSV,
                timeout=LONG_SECONDS,
            )
        if (rows := int(status.rpartition(" ")[2])) != table.rows:
            raise BackupProblem(f"{table.file} has {rows} rows, and its manifest says {table.rows}.")


class _CountedInput:
    """Counts the lines of what is read."""

    def __init__(self, file: gzip.GzipFile, on_rows: Callable[[int], None]) -> None:
        self._file = file
        self._on_rows = on_rows

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._on_rows(data.count(b"\n"))
        return data


async def _roll_back(transaction: Any, connection: Any) -> None:
    """Undo a transaction that was not committed, unless its connection is gone, which undoes it too."""
    if connection.is_in_transaction():
        with suppress(*CONNECTION_ERRORS):
            await transaction.rollback()


def _listed(databases: set[tuple[str, ...]]) -> str:
    return ", ".join(sorted(map(name_of, databases)))
