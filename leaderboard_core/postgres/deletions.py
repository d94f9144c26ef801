"""Delete players from one region's Postgres, so that no older event brings them back."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard_core.events import Deletion
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool

MIN_TOMBSTONE_SECONDS = 86_400
"""Shortest time to live of a tombstone in Redis once Postgres has it too; longer than any clock steps back."""


async def delete_players(pool: Pool, deletions: Sequence[Deletion]) -> None:
    """Delete the rows and passwords of players, each at most once, and remember when. Raises asyncpg's errors.

    A row or password that is newer than the deletion stays. The lock waits for the upserts under way: one that
    began before this commits does not see it, and could put an older row back after it.
    """
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute(sql.load("wait_shortly_for_locks"))
        await connection.execute(sql.load("lock_scores"))
        await connection.execute(
            sql.load("delete_players"),
            [deletion.user_id for deletion in deletions],
            [deletion.timestamp for deletion in deletions],
            [deletion.tokens_until for deletion in deletions],
        )
