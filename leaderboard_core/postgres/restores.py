"""Say in the databases that a restore is under way, and which writes the last one has undone.

Both are rows of `admissions` under names that no region can have: they are read where admissions are.
"""

from __future__ import annotations

from typing import NamedTuple

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool, RegionDatabases

UNDER_WAY = "*restoring"
UNDONE = "*restored"


class Restores(NamedTuple):
    """What a database says: whether a restore has begun and not ended, and the µs up to which writes were undone."""

    under_way: bool
    undone_until: int


async def read_restores(pool: Pool) -> Restores:
    """Read both. Raises asyncpg's errors."""
    statement = sql.load("admission_of")
    began = await pool.fetchval(statement, UNDER_WAY)
    undone = await pool.fetchval(statement, UNDONE)
    return Restores(began is not None, int(undone or 0))


async def any_under_way(databases: RegionDatabases) -> bool:
    """Whether a restore of any of the databases has begun and not ended. Raises asyncpg's errors."""
    return any([(await read_restores(pool)).under_way for pool in databases.distinct()])


async def begin(databases: RegionDatabases) -> None:
    """Keep every Redis from being admitted from now on, until `end`. Raises asyncpg's errors."""
    for pool in databases.distinct():
        await pool.execute(sql.load("set_admission"), UNDER_WAY, "begun")


async def end(databases: RegionDatabases) -> None:
    """Let Redis be admitted again. Raises asyncpg's errors."""
    for pool in databases.distinct():
        await pool.execute(sql.load("forget_admission"), UNDER_WAY)
