"""Settle a user_id that has rows in two regions' databases: the newer one is the player.

On one Redis the player has one hash, of one of the regions. Regions on different Redis may have a hash each, and
neither knows of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from worker_service.recovery.by_id import restore_entries_by_id
from worker_service.recovery.definitions import known_boards
from worker_service.recovery.forgetting import forget_entries, forget_stray
from worker_service.recovery.reconcile import Row, reconcile, rows_of
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
        return False, _named(region, home, older, micros)
    await _delete_row(databases, older, user_id, micros, await shard.now())
    if older == region:
        await shard.command("ZREM", keys.board(region), user_id)
    else:
        await forget_entries(shard, user_id)
        await restore(shard, region, [here])
        await _restore_entries(shard, databases, region, user_id)
    return True, f"{DROPPED} {older}"


async def rows_elsewhere(
    shard_map: ShardMap, databases: RegionDatabases, region: str, user_ids: Sequence[str]
) -> dict[str, Row]:
    """The rows of these players in regions whose players are on other Redis than those of `region`, by user_id."""
    found: dict[str, Row] = {}
    if shard_map.one_shard_decides:
        return found
    here = set(shard_map.shards_of_region(region))
    for pool in databases.distinct():
        if pool is not databases[region]:
            rows = await rows_of(pool, user_ids)
            found |= {
                user_id: row
                for user_id, row in rows.items()
                if row.region in shard_map.regions and here.isdisjoint(shard_map.shards_of_region(row.region))
            }
    return found


async def settle_apart(
    shard_map: ShardMap, databases: RegionDatabases, region: str, other: Row, *, drop_older: bool
) -> tuple[bool, str]:
    """Settle a player of `region` who has the row `other` in a region on another Redis; returns what `settle` does.

    Raises Unavailable, and asyncpg's errors.
    """
    user_id = other.user_id
    here = (await rows_of(databases[region], [user_id])).get(user_id)
    rows = {region: here.micros if here else 0, other.region: other.micros}
    shards = {one: shard_map.shard_of(one, user_id) for one in rows}
    times = {one: max(micros, await _last_write(shards[one], one, user_id)) for one, micros in rows.items()}
    older, newer = sorted(times, key=lambda one: (times[one], one))
    if not drop_older:
        return False, _named(region, other.region, older, times[older])
    await _delete_row(databases, older, user_id, rows[older], await shards[older].now())
    await forget_stray(shards[older], older, user_id)
    await reconcile(shards[newer], databases, newer, user_id)
    await _restore_entries(shards[newer], databases, newer, user_id)
    return True, f"{DROPPED} {older}"


async def _delete_row(databases: RegionDatabases, region: str, user_id: str, micros: int, now: int) -> None:
    """Delete a player's row of that time, and if that was there its entries."""
    await databases[region].execute(sql.load("delete_row"), user_id, region, micros)
    await databases[region].execute(sql.load("delete_entries_of_nobody"), user_id, region, now)


async def _restore_entries(shard: Shard, databases: RegionDatabases, region: str, user_id: str) -> None:
    read_boards = partial(known_boards, shard, databases[GLOBAL], ())
    await restore_entries_by_id(shard, databases[region], region, [user_id], read_boards)


async def _last_write(shard: Shard, region: str, user_id: str) -> int:
    home, updated_at = await shard.command("HMGET", shard.keys.user(user_id), "region", "updated_at")
    return int(updated_at) if home == region else 0


def _named(region: str, other: str, older: str, micros: int) -> str:
    at = datetime.fromtimestamp(micros / 1_000_000, UTC).isoformat(timespec="seconds")
    return f"has rows in {region} and {other}; that of {older} is older ({at}): --drop-older drops it"


async def _row(databases: RegionDatabases, region: str, user_id: str) -> Any:
    rows = await databases[region].fetch(sql.load("players_by_id"), [user_id])
    return next((row for row in rows if row["region"] == region), None)
