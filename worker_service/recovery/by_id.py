"""Restore some players alone from Postgres to a Redis, with their entries, where it has nothing newer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool
from leaderboard_core.redis.shard import Shard
from worker_service.recovery.entries import Boards, restore_entries
from worker_service.recovery.restore import fetched, restore, restore_deletions

ReadBoards: TypeAlias = Callable[[], Awaitable[Boards]]
"""Reads the boards that there are; raises RebuildInterrupted when nobody can tell."""


async def restore_by_id(
    shard: Shard, pool: Pool, region: str, user_ids: Sequence[str], read_boards: ReadBoards
) -> dict[str, int]:
    """Restore players, entries and deletions of some user_ids, where Redis has nothing newer.

    Returns when Postgres deleted which of them (µs): of that a Redis keeps nothing once older tokens have expired.
    Boards are read only where there are entries. Raises Unavailable and RebuildInterrupted.
    """
    known = [user_id for user_id in user_ids if user_id and "\0" not in user_id]
    rows = await fetched(pool.fetch(sql.load("players_by_id"), known))
    await restore(shard, region, rows)
    await restore_entries_by_id(shard, pool, region, known, read_boards)
    # Last, as after pages: what was deleted while they were read is in one of the two.
    deletions = await fetched(pool.fetch(sql.load("deletions_by_id"), known))
    await restore_deletions(shard, region, deletions)
    return {row["user_id"]: row["micros"] for row in deletions}


async def restore_entries_by_id(
    shard: Shard, pool: Pool, region: str, user_ids: Sequence[str], read_boards: ReadBoards
) -> None:
    """Restore the entries of players who are here. Raises Unavailable and RebuildInterrupted."""
    entries = await fetched(pool.fetch(sql.load("entries_by_id"), user_ids))
    if entries:
        await restore_entries(shard, region, entries, await read_boards())
