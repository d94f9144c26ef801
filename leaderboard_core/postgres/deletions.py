"""Delete players from one region's Postgres, so that no older event brings them back."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard_core.events import Deletion
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool
from leaderboard_core.postgres.fencing import Fence, Fenced, exclusive

MIN_TOMBSTONE_SECONDS = 86_400
"""Shortest time to live of a tombstone in Redis once Postgres has it too; longer than any clock steps back."""


async def delete_players(pool: Pool, deletions: Sequence[Deletion], fence: Fence, *, old_workers: bool = False) -> None:
    """Delete the rows and passwords of players, each at most once, and remember when.

    A row or password that is newer than the deletion stays. It runs alone: an upsert that began before this commits
    does not see it, and could put an older row back after it. Workers of the version before do not know of that lock;
    with `old_workers` theirs is taken as well. Raises Fenced, and asyncpg's errors.
    """
    async with exclusive(pool) as connection:
        if await connection.fetchval(sql.load("admission_of"), fence.name) != fence.nonce:
            raise Fenced
        if old_workers:
            await connection.execute(sql.load("lock_scores"))
        await connection.execute(
            sql.load("delete_players"),
            [deletion.user_id for deletion in deletions],
            [deletion.timestamp for deletion in deletions],
            [deletion.tokens_until for deletion in deletions],
            [deletion.written_at or deletion.timestamp for deletion in deletions],
        )
