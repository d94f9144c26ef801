"""Bring every region's database to the newest schema, once, whoever else tries at the same time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from itertools import count
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from leaderboard_core.backoff import Backoff, Pauses
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, pooler_errors_explained
from leaderboard_core.postgres.migration_lease import PATIENCE, MigrationLease, Patience
from leaderboard_core.settings import TopologySettings

log = logging.getLogger(__name__)
OLDER_LOCK = 0x1EADE4B0A4D
"""Key of the advisory lock under which versions before the lease migrate."""
MAINTENANCE_DATABASE = "postgres"
"""The database that every server has; the others are made from it."""
STATEMENT_CACHE = 100
"""As POSTGRES_STATEMENT_CACHE, for who connects to a server itself."""
_MADE_MEANWHILE = (asyncpg.UniqueViolationError, asyncpg.DuplicateTableError, asyncpg.DuplicateObjectError)
"""What `CREATE TABLE IF NOT EXISTS` raises when another process makes the table, or its type, at that moment."""
_RETRY = Backoff(first=1.0, most=10.0, jitter=0.5)
_IN_BACKGROUND = Backoff(first=1.0, most=60.0, jitter=0.5)


class _Blocked(Exception):
    """Something must end before a migration can be tried; the text says what."""


async def migrate_all(
    settings: TopologySettings,
    *,
    create_databases: bool = True,
    indexes: bool = True,
    patience: Patience = PATIENCE,
) -> dict[str, list[str]]:
    """Migrate each region's database; returns the names of the migrations applied, by region.

    With `create_databases` a database that does not exist is made, which needs the CREATEDB right. Without `indexes`
    those that are built CONCURRENTLY are left to `build_indexes`.
    Raises Unavailable when a lock cannot be had for too long, SettingsError behind a pooler that asks for another
    POSTGRES_STATEMENT_CACHE, asyncpg's errors and OSError when a server cannot be reached.
    """
    urls = {region: settings.database_url_of(region) for region in settings.regions}
    timeout, cache = settings.postgres_timeout_seconds, settings.postgres_statement_cache
    done: dict[str, list[str]] = {url: [] for url in urls.values()}
    with pooler_errors_explained():
        for url, names in done.items():
            if create_databases:
                await ensure_database(url, timeout=timeout, statement_cache=cache)
            names += await migrate(url, timeout=timeout, indexes=False, patience=patience, statement_cache=cache)
        if indexes:
            for url, names in done.items():
                names += await migrate(url, timeout=timeout, patience=patience, statement_cache=cache)
    return {region: done[url] for region, url in urls.items()}


async def build_indexes(settings: TopologySettings, stop: asyncio.Event) -> None:
    """Build the indexes that `migrate_all` left out, until all are there or a stop is asked for.

    What goes wrong is logged and tried again: nothing but speed depends on them.
    """
    building = asyncio.create_task(_build_until_done(settings, stop))
    stopped = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({building, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if building.done():
            building.result()
    finally:
        for task in (building, stopped):
            task.cancel()
        await asyncio.gather(building, stopped, return_exceptions=True)


async def _build_until_done(settings: TopologySettings, stop: asyncio.Event) -> None:
    pauses = Pauses(_IN_BACKGROUND, stop)
    while not stop.is_set():
        try:
            await migrate_all(settings, create_databases=False)
        except (*CONNECTION_ERRORS, asyncpg.PostgresError, Unavailable) as error:
            log.warning("indexes are still to be built: %s", describe(error))
            await pauses.pause()
        else:
            return


async def ensure_database(url: str, *, timeout: float, statement_cache: int = STATEMENT_CACHE) -> bool:
    """Make the database that `url` names if it is missing; True when it was made."""
    parts = urlsplit(url)
    database = unquote(parts.path.lstrip("/"))
    maintenance = urlunsplit(parts._replace(path=f"/{MAINTENANCE_DATABASE}"))
    connection = await asyncpg.connect(maintenance, timeout=timeout, statement_cache_size=statement_cache)
    try:
        if await connection.fetchval(sql.load("database_exists"), database):
            return False
        await connection.execute('CREATE DATABASE "{}"'.format(database.replace('"', '""')))
    except (asyncpg.DuplicateDatabaseError, asyncpg.UniqueViolationError):
        return False  # another process made it between our check and our attempt
    finally:
        await connection.close()
    log.info("database created", extra={"database": database})
    return True


async def migrate(
    url: str,
    *,
    timeout: float,
    indexes: bool = True,
    patience: Patience = PATIENCE,
    statement_cache: int = STATEMENT_CACHE,
) -> list[str]:
    """Apply what is missing to one database, without `indexes` only what runs in transactions; returns the names.

    The lease makes a second process wait and then find nothing to do; when nothing is missing, nobody waits.
    Raises Unavailable when a lock cannot be had for too long, and asyncpg's errors.
    """
    connect = partial(asyncpg.connect, url, timeout=timeout, statement_cache_size=statement_cache)
    session = await connect(server_settings={"application_name": "leaderboard migrate"})
    try:
        for table in ("create_migrations_table", "create_migration_lease"):
            with suppress(*_MADE_MEANWHILE):
                await session.execute(sql.load(table))
        if not await _missing(session, indexes=indexes):
            return []
        watcher = await connect(command_timeout=patience.lease)
        try:
            lease = MigrationLease(watcher, urlsplit(url).path[1:], patience)
            await lease.take()
            run = _Run(session, lease, patience, owns_session=statement_cache > 0)
            return await lease.during(run.apply(indexes=indexes), session)
        finally:
            await watcher.close()
    finally:
        await session.close()


async def _missing(session: Any, *, indexes: bool) -> list[sql.Migration]:
    present = {row["version"] for row in await session.fetch(sql.load("applied_migrations"))}
    return [
        migration
        for migration in sql.migrations()
        if migration.version not in present and (indexes or migration.index is None)
    ]


class _Run:
    """One holder's work on one database; behind a pooler it does not own its session."""

    def __init__(self, session: Any, lease: MigrationLease, patience: Patience, *, owns_session: bool) -> None:
        self._session = session
        self._owns_session = owns_session
        self._lease = lease
        self._patience = patience

    async def apply(self, *, indexes: bool) -> list[str]:
        names = []
        for migration in await _missing(self._session, indexes=indexes):
            self._lease.step = str(migration)
            how = self._run_in_transaction if migration.index is None else self._build_index
            await self._until_unblocked(migration, how)
            names.append(str(migration))
            log.info("%s: migration %s applied", self._lease.database, migration)
        return names

    async def _until_unblocked(self, migration: sql.Migration, how: Callable[[sql.Migration], Awaitable[None]]) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._patience.blocked
        for attempt in count():
            try:
                await how(migration)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError, _Blocked) as error:
                problem = str(error) if isinstance(error, _Blocked) else f"{error}: {self._lease.waits_for}"
            else:
                return
            if loop.time() >= deadline:
                raise Unavailable(
                    f"{self._lease.database}: migration {migration} has waited {self._patience.blocked:g} s and was "
                    f"not applied. {problem}"
                )
            log.warning("%s: migration %s waits: %s", self._lease.database, migration, problem)
            # Whoever queued up behind our lock goes on meanwhile.
            await asyncio.sleep(_RETRY.pause(attempt))

    async def _run_in_transaction(self, migration: sql.Migration) -> None:
        async with self._session.transaction():
            await self._limit_waits(self._patience.lock, in_transaction=True)
            # A waiting `SELECT pg_advisory_lock` of an older version holds a snapshot, for which an index build would
            # wait: so this lock is held in transactions only, and older versions have no index builds.
            if older := await self._session.fetchval(sql.load("try_older_migrations_lock"), OLDER_LOCK):
                raise _Blocked(f"a process of an older version migrates ({older})")
            if migration in await _missing(self._session, indexes=False):
                await self._session.execute(migration.statements)
                await self._record(migration)

    async def _build_index(self, migration: sql.Migration) -> None:
        index = await self._session.fetchrow(sql.load("index_state"), migration.index)
        if index["builder"] is not None:
            raise _Blocked(f"the session of a process that ended builds the index (pid {index['builder']})")
        if not index["valid"]:
            if old := await self._session.fetchval(sql.load("long_transactions"), self._patience.long_transaction):
                raise _Blocked(f"an index build would wait for the transactions of {old}")
            if self._owns_session:  # else it would be another's limit, and the build has none: nobody waits behind it
                await self._limit_waits(self._patience.build_lock, in_transaction=False)
            if index["valid"] is False:
                log.warning("%s: an invalid index is dropped: %s", self._lease.database, migration.index)
                await self._session.execute(f'DROP INDEX CONCURRENTLY IF EXISTS "{migration.index}"')
            await self._session.execute(migration.statements)
        await self._record(migration)

    async def _limit_waits(self, seconds: float, *, in_transaction: bool) -> None:
        await self._session.execute(sql.load("limit_lock_waits"), f"{seconds * 1000:.0f}ms", in_transaction)
        await self._session.execute(sql.load("lift_statement_limit"), in_transaction)

    async def _record(self, migration: sql.Migration) -> None:
        if not await self._session.fetchval(
            sql.load("record_migration"), migration.version, migration.name, self._lease.holder
        ):
            raise Unavailable(f"{self._lease.database}: another process has taken the migrations over.")
