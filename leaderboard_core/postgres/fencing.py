"""Fence statements by the admission of their shard, so that an admission has seen whatever was committed before it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple, TypeAlias

import asyncpg

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool

Connection: TypeAlias = "asyncpg.pool.PoolConnectionProxy[asyncpg.Record]"

LOCK_SECONDS = 2.0
"""Longest wait for statements under way: whoever comes meanwhile waits behind."""
IDLE_SECONDS = 10.0
"""How long a transaction keeps its locks when its client says nothing more.

A process that is paused, or whose machine is gone without a word, would hold up all who wait for them: its connection
stays for hours.
"""


class Fence(NamedTuple):
    """The admission under which something was read from a region's Redis, to be written to its Postgres.

    `name` is the region's, or that of a part of it, `EU 1/4`, where its players are spread over several Redis.
    """

    name: str
    nonce: str


class Fenced(Exception):
    """Nothing was written: the region's shard has been, or is being, admitted anew since."""


@asynccontextmanager
async def fenced(pool: Pool, fence: Fence) -> AsyncIterator[Connection]:
    """Run statements in a transaction that is void unless the region's admission is still the same.

    The admission's row stays locked until the end, shared with others of its kind. Each statement has a snapshot of its
    own, taken after that lock. Raises Fenced, and asyncpg's errors.
    """
    async with pool.acquire() as connection, connection.transaction():
        if not await connection.fetchval(sql.load("hold_admission"), fence.name, fence.nonce, _most_idle()):
            raise Fenced
        yield connection


@asynccontextmanager
async def exclusive(pool: Pool) -> AsyncIterator[Connection]:
    """Run statements in a transaction alone: after all fenced ones under way, before all later ones.

    The lock is that of the table of admissions: a row's lock has no queue in which sharers would wait their turn.
    Raises asyncpg's errors, LockNotAvailableError after LOCK_SECONDS.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.load("limit_lock_waits"), f"{LOCK_SECONDS * 1000:.0f}ms", True)
        await limit_idle(connection)
        await connection.execute(sql.load("lock_admissions"))
        yield connection


async def limit_idle(connection: Connection) -> None:
    """Give up the locks of the transaction under way when its client is not heard for IDLE_SECONDS."""
    await connection.execute(sql.load("limit_idle"), _most_idle())


def _most_idle() -> str:
    return f"{IDLE_SECONDS * 1000:.0f}ms"


async def set_nonce(pool: Pool, fence: Fence) -> None:
    """Begin an admission: whatever names an earlier nonce changes nothing from now on. Raises asyncpg's errors."""
    async with exclusive(pool) as connection:
        await connection.execute(sql.load("set_admission"), fence.name, fence.nonce)


async def has_been_admitted(pool: Pool, region: str) -> bool:
    """Whether this database has seen an admission of the region, whole or in parts. Raises asyncpg's errors."""
    found: Any = await pool.fetchval(sql.load("has_been_admitted"), region)
    return bool(found)
