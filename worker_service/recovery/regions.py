"""Hold REGIONS against the regions that the system had before, and add, rename or remove one in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing

from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from leaderboard_core.postgres.fencing import Fence, set_nonce
from leaderboard_core.postgres.layouts import forget_layout
from leaderboard_core.redis.queues import inspect_queue
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import GLOBAL, ShardMap
from leaderboard_core.telemetry.queues import ALIVE_SECONDS
from worker_service.recovery.forgetting import forget_players
from worker_service.recovery.restore import player_pages

ROWS_PER_STATEMENT = 5_000
MOVED = "moved"
"""Takes the place of the nonce while rows are renamed: no admission has it, so no upsert names it."""

_POLL_SECONDS = 0.2

OnRows = Callable[[int], None]


class RegionsChanged(Exception):
    """The regions are not those of the data; the text says which, and how to go on."""


async def check_regions(databases: RegionDatabases) -> None:
    """Compare REGIONS with the rows and with what the databases know of earlier starts; note those that are new.

    Raises RegionsChanged, and asyncpg's errors.
    """
    known: set[str] = set()
    for pool in databases.distinct():
        known |= {record["region"] for record in await pool.fetch(sql.load("known_regions"))}
    for pool in databases.distinct():
        foreign = await _regions_of_rows(pool) - set(databases.regions_of(pool))
        if foreign:
            ours = ", ".join(databases.regions_of(pool))
            raise RegionsChanged(
                f"PG_DATABASE_<REGION>/REGIONS: the database of {ours} has players of {', '.join(sorted(foreign))}. "
                f"If {ours} is their region's new name: `leaderboard regions rename OLD NEW`, with everything else "
                "stopped. Else set the variables back. A region cannot be split: a player moves by export, deletion "
                "and registration."
            )
    if missing := known - set(databases.regions):
        raise RegionsChanged(
            f"REGIONS lacks {', '.join(sorted(missing))}, which this system has had: its players would be on no board, "
            "and others could take their user_ids. Put it back; `leaderboard regions remove NAME` takes one out for "
            "good that has no players."
        )
    if known:
        for region in sorted(set(databases.regions) - known):
            if region in await _regions_of_rows(databases[region]):
                raise RegionsChanged(
                    f"REGIONS: {region} is new to this system, and its database has players already. "
                    f"`leaderboard regions add {region}` checks that nobody else has their user_ids."
                )
    await _know(databases, databases.regions)


async def add_region(databases: RegionDatabases, region: str, on_rows: OnRows) -> None:
    """Make a region whose database has players already one of the system. Raises RegionsChanged for a taken user_id."""
    others = [pool for pool in databases.distinct() if pool is not databases[region]]
    async with aclosing(player_pages(databases[region])) as pages:
        async for page in pages:
            user_ids = [row["user_id"] for row in page if row["region"] == region]
            for pool in others:
                taken = [record["user_id"] for record in await pool.fetch(sql.load("players_known"), user_ids)]
                if taken:
                    raise RegionsChanged(
                        f"{len(taken)} players of {region} have a row in another region too, the first is {taken[0]}: "
                        "delete the rows of one side first."
                    )
            on_rows(len(user_ids))
    await _know(databases, [region])


async def remove_region(shard_map: ShardMap, databases: RegionDatabases, region: str) -> None:
    """Take a region without players out of the system. Raises RegionsChanged when it has any, or is GLOBAL."""
    if region == GLOBAL:
        raise RegionsChanged("GLOBAL is always one of the regions.")
    players = await databases[region].fetchval(sql.load("count_players_of_region"), region)
    if players:
        raise RegionsChanged(
            f"{region} has {players} players. Delete them first (DELETE /users/{{user_id}}), or keep the region: a "
            "player does not move to another one."
        )
    for shard in shard_map.shards_of_region(region):
        await _check_quiet(shard, region)
    await forget_layout(databases[region], region)
    for pool in databases.distinct():
        await pool.execute(sql.load("forget_known_region"), region)


async def rename_region(shard_map: ShardMap, databases: RegionDatabases, old: str, new: str, on_rows: OnRows) -> None:
    """Give the players of `old` the region `new`, whose database and Redis are those that `old` had.

    Each step may be done again: after a crash the command goes on where it was. Redis forgets the players, and the next
    admission reads them from Postgres. Raises RegionsChanged when workers run or events of `old` wait.
    """
    pool, shards = databases[new], shard_map.shards_of_region(new)
    if old in databases.regions:
        raise RegionsChanged(f"REGIONS still has {old}: put {new} in its place, and keep its database and Redis.")
    if old not in await _regions_of_rows(pool) | {row["region"] for row in await pool.fetch(sql.load("known_regions"))}:
        raise RegionsChanged(f"The database of {new} knows no region {old}: PG_DATABASE_{new} is to be {old}'s.")
    for shard in shards:
        await _check_quiet(shard, old)
        await set_nonce(pool, Fence(shard.partition.name(old), MOVED))
        state = await shard.look()
        if state.text:
            keys = shard.keys
            await shard.run("close_admission", (keys.admission, keys.ready, keys.rebuild_lock), (state.text,))
    while renamed := await pool.fetchval(sql.load("rename_region_of_rows"), old, new, ROWS_PER_STATEMENT):
        on_rows(renamed)
    while await pool.fetchval(sql.load("rename_region_of_entries"), old, new, ROWS_PER_STATEMENT):
        pass
    for shard in shards:
        await forget_players(shard, old)
    await _know(databases, [new])
    await forget_layout(pool, old)
    for one in databases.distinct():
        await one.execute(sql.load("forget_known_region"), old)


async def _check_quiet(shard: Shard, region: str) -> None:
    queue, heartbeats = await inspect_queue(shard, region)
    if queue.uncommitted or queue.dead:
        raise RegionsChanged(
            f"{queue.uncommitted} events and {queue.dead} dead letters of {region} wait: let a worker save them under "
            "the old settings, and retry or drop the dead letters (`leaderboard check-queue`)."
        )
    if alive := await _workers_alive(shard, region, heartbeats):
        raise RegionsChanged(f"Workers run: {', '.join(sorted(alive))}. Stop workers and services first.")


async def _workers_alive(shard: Shard, region: str, heartbeats: dict[str, float]) -> list[str]:
    """Name the workers that send heartbeats: of one that has just ended the last one may be young."""
    deadline = asyncio.get_running_loop().time() + ALIVE_SECONDS
    young = [name for name, seconds in heartbeats.items() if seconds < ALIVE_SECONDS]
    while young and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(_POLL_SECONDS)
        before, (_, heartbeats) = heartbeats, await inspect_queue(shard, region)
        if any(heartbeats.get(name, 0) < before.get(name, 0) for name in young):
            break  # it is another heartbeat
        young = [name for name in young if heartbeats.get(name, ALIVE_SECONDS) < ALIVE_SECONDS]
    return young


async def _regions_of_rows(pool: Pool) -> set[str]:
    return {record["region"] for record in await pool.fetch(sql.load("regions_of_rows"))}


async def _know(databases: RegionDatabases, regions: Sequence[str]) -> None:
    for pool in databases.distinct():
        await pool.execute(sql.load("know_regions"), list(regions))
