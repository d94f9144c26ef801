"""Bring every region's database to the newest schema, once, whoever else tries at the same time."""

from __future__ import annotations

import logging
from urllib.parse import unquote, urlsplit, urlunsplit

import asyncpg

from leaderboard_core.postgres import sql
from leaderboard_core.settings import TopologySettings

log = logging.getLogger(__name__)
ADVISORY_LOCK = 0x1EADE4B0A4D
MAINTENANCE_DATABASE = "postgres"
"""The database that every server has; the others are made from it."""


async def migrate_all(settings: TopologySettings, *, create_databases: bool = True) -> dict[str, list[str]]:
    """Migrate each region's database; returns the names of the migrations applied, by region.

    With `create_databases` a database that does not exist is made, which needs the CREATEDB right.
    Raises asyncpg's errors and OSError when a server cannot be reached.
    """
    applied: dict[str, list[str]] = {}
    done: dict[str, list[str]] = {}
    for region in settings.regions:
        url = settings.database_url_of(region)
        if url not in done:
            if create_databases:
                await ensure_database(url, timeout=settings.postgres_timeout_seconds)
            done[url] = await migrate(url, timeout=settings.postgres_timeout_seconds)
        applied[region] = done[url]
    return applied


async def ensure_database(url: str, *, timeout: float) -> bool:
    """Make the database that `url` names if it is missing; True when it was made."""
    parts = urlsplit(url)
    database = unquote(parts.path.lstrip("/"))
    connection = await asyncpg.connect(urlunsplit(parts._replace(path=f"/{MAINTENANCE_DATABASE}")), timeout=timeout)
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


async def migrate(url: str, *, timeout: float) -> list[str]:
    """Apply what is missing to one database, each migration in a transaction of its own.

    The advisory lock makes a second process wait and then find nothing to do.
    """
    connection = await asyncpg.connect(url, timeout=timeout)
    names = []
    try:
        await connection.execute(sql.load("lock_migrations"), ADVISORY_LOCK)
        await connection.execute(sql.load("create_migrations_table"))
        present = {row["version"] for row in await connection.fetch(sql.load("applied_migrations"))}
        for migration in sql.migrations():
            if migration.version in present:
                continue
            async with connection.transaction():
                await connection.execute(migration.statements)
                await connection.execute(sql.load("record_migration"), migration.version, migration.name)
            names.append(f"{migration.version:04d}_{migration.name}")
            log.info("migration applied", extra={"migration": names[-1], "database": urlsplit(url).path[1:]})
        await connection.execute(sql.load("unlock_migrations"), ADVISORY_LOCK)
    finally:
        await connection.close()
    return names
