"""Say in the databases that a restore is under way, and which writes the last one has undone.

Both are rows of `admissions` under names that no region can have: they are read where admissions are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool, RegionDatabases

UNDER_WAY = "*restoring"
UNDONE = "*restored"
_BEGUN = "begun"
_COMMITTED = "committed"


class Restores(NamedTuple):
    """What a database says: whether a restore has begun and not ended, and the µs up to which writes were undone."""

    under_way: bool
    undone_until: int


class Restore(NamedTuple):
    """One restore: when its backup began (ISO 8601), and what it replaces (regions, and options that matter)."""

    backup: str
    scope: str


async def read_restores(pool: Pool) -> Restores:
    """Read both. Raises asyncpg's errors."""
    statement = sql.load("admission_of")
    began = await pool.fetchval(statement, UNDER_WAY)
    undone = await pool.fetchval(statement, UNDONE)
    return Restores(began is not None, int(undone or 0))


async def any_under_way(databases: RegionDatabases) -> bool:
    """Whether a restore of any of the databases has begun and not ended. Raises asyncpg's errors."""
    return any([(await read_restores(pool)).under_way for pool in databases.distinct()])


async def committed(databases: RegionDatabases) -> frozenset[Restore]:
    """Return the restores that have replaced a database and not ended: several when one took over from another.

    Raises asyncpg's errors.
    """
    marks = [await pool.fetchval(sql.load("admission_of"), UNDER_WAY) or "" for pool in databases.distinct()]
    return frozenset(Restore(*mark.split(" ", 2)[1:]) for mark in marks if mark.startswith(f"{_COMMITTED} "))


async def begin(databases: RegionDatabases, restore: Restore) -> None:
    """Keep every Redis from being admitted from now on, until `end` or `call_off`. Raises asyncpg's errors."""
    for pool in databases.distinct():
        await pool.execute(sql.load("begin_restore"), UNDER_WAY, " ".join((_BEGUN, *restore)))


async def commit(connection: Any, restore: Restore) -> None:
    """Say within the transaction that replaces the rows that they are replaced. Raises asyncpg's errors."""
    await connection.execute(sql.load("set_admission"), UNDER_WAY, " ".join((_COMMITTED, *restore)))


async def call_off(databases: RegionDatabases) -> None:
    """Let Redis be admitted again, where no database was replaced. Raises asyncpg's errors."""
    for pool in databases.distinct():
        await pool.execute(sql.load("call_off_restore"), UNDER_WAY)


async def end(databases: RegionDatabases) -> None:
    """Let Redis be admitted again. Raises asyncpg's errors."""
    for pool in databases.distinct():
        await pool.execute(sql.load("forget_admission"), UNDER_WAY)
