"""Settle a user_id that has rows in two regions' databases: the newer one is the player."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from worker_service.recovery.restore import restore

DROPPED = "dropped the older row of"


async def settle(
    shard: Shard, databases: RegionDatabases, region: str, user_id: str, *, drop_older: bool
) -> tuple[bool, str]:
    """Settle a player whom Redis has in another region than `region`; returns whether, and what was or can be done.

    Without a row in `region` the player only stood on its board, and goes from there. With rows in both, the older one
    is dropped with `drop_older`, and named without. Raises Unavailable, and asyncpg's errors.
    """
    keys = shard.keys
    home, updated_at = await shard.command("HMGET", keys.user(user_id), "region", "updated_at")
    here = await _row(databases, region, user_id)
    if here is None:
        await shard.command("ZREM", keys.board(region), user_id)
        return True, "removed"
    there = await _row(databases, home, user_id) if home in databases.regions else None
    others = max(int(updated_at or 0), there["micros"] if there else 0)
    older, micros = (region, here["micros"]) if here["micros"] <= others else (home, there["micros"] if there else 0)
    if not drop_older:
        at = datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat(timespec="seconds")
        return False, f"has rows in {region} and {home}; that of {older} is older ({at}): --drop-older drops it"
    await databases[older].execute(sql.load("delete_row"), user_id, older, micros)
    if older == region:
        await shard.command("ZREM", keys.board(region), user_id)
    else:
        await restore(shard, region, [here])
    return True, f"{DROPPED} {older}"


async def _row(databases: RegionDatabases, region: str, user_id: str) -> Any:
    rows = await databases[region].fetch(sql.load("players_by_id"), [user_id])
    return next((row for row in rows if row["region"] == region), None)
