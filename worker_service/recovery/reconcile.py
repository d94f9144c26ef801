"""Reconcile one player's hash, boards and row, from the newer side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from leaderboard_core.postgres.deletions import MIN_TOMBSTONE_SECONDS
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL
from worker_service.recovery.reconcile_entries import take_from_nobody


class Row(NamedTuple):
    """A player in Postgres; `deleted_micros` is when a predecessor was deleted, 0 if none was."""

    user_id: str
    name: str
    region: str
    score: int
    micros: int
    protected: bool
    last_key: str
    credential: str
    submits: int
    metadata: str
    deleted_micros: int


async def reconcile(shard: Shard, databases: RegionDatabases, region: str, user_id: str) -> str:
    """Mend a player of a region; returns the outcome as `reconcile_player` names it.

    The entries of who goes go too; those of who stays are not looked at.

    Raises Unavailable, and asyncpg's errors.
    """
    keys = shard.keys
    row = (await rows_of(databases[region], [user_id])).get(user_id)
    gone = await deletions_of(databases[region], [user_id])
    now = await shard.now()
    outcome: str = await shard.run(
        "reconcile_player",
        (keys.user(user_id), keys.board(region), keys.board(GLOBAL), keys.queue(region), keys.tombstone(user_id)),
        (
            user_id,
            region,
            "verify",
            row.micros if row else "",
            row.name if row else "",
            row.score if row else "",
            "1" if row and row.protected else "0",
            gone.get(user_id, 0),
            MIN_TOMBSTONE_SECONDS,
            row.last_key if row else "",
            row.credential if row else "",
            row.submits if row else 0,
            row.metadata if row else "",
        ),
    )
    if outcome in ("removed", "deleted"):
        await take_from_nobody(shard, region, user_id, now)
    return outcome


async def rows_of(pool: Pool, user_ids: Sequence[str]) -> dict[str, Row]:
    records = await pool.fetch(sql.load("players_by_id"), _storable(user_ids))
    return {record["user_id"]: Row(*record) for record in records}


async def deletions_of(pool: Pool, user_ids: Sequence[str]) -> dict[str, int]:
    """µs by user_id."""
    records = await pool.fetch(sql.load("deletions_by_id"), _storable(user_ids))
    return {record["user_id"]: record["micros"] for record in records}


def _storable(user_ids: Sequence[str]) -> list[str]:
    return [user_id for user_id in user_ids if "\0" not in user_id]  # Postgres cannot even be asked for others
