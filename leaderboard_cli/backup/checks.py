"""Say what stands against a restore before it begins, and call off one that was killed."""

from __future__ import annotations

from collections.abc import Collection

from leaderboard_cli.backup import boards
from leaderboard_cli.backup.dump import check_schema, in_order
from leaderboard_cli.backup.manifest import BackupProblem, Manifest, name_of
from leaderboard_core.postgres import restores, sql
from leaderboard_core.postgres.databases import Pool, RegionDatabases
from leaderboard_core.postgres.restores import Restore
from leaderboard_core.redis.shard_map import ShardMap


async def refuse_what_does_not_fit(databases: RegionDatabases, manifest: Manifest, *, whole: bool) -> None:
    """Compare the backup's regions with the system's, of which it may be a part unless it is to be the whole.

    Raises BackupProblem, and asyncpg's errors.
    """
    ours = {tuple(sorted(databases.regions_of(pool))) for pool in databases.distinct()}
    theirs = {tuple(sorted(database.regions)) for database in manifest.databases}
    if (ours != theirs) if whole else (theirs - ours):
        raise BackupProblem(
            "The backup's databases are those of "
            f"{_listed(theirs)}; this system's are those of {_listed(ours)}. Set REGIONS (and PG_DATABASE_<REGION>, "
            "DATABASE_URL_<REGION>) as they were, restore, and change the regions then."
        )
    for pool in pools_of(databases, manifest):
        async with pool.acquire() as connection:
            await check_schema(connection, databases.regions_of(pool))


async def what_is_there(
    shard_map: ShardMap, databases: RegionDatabases, manifest: Manifest, *, keep_redis: bool
) -> list[str]:
    """Name the stores that hold something that would be replaced. Raises Unavailable, and asyncpg's errors."""
    found = [
        f"the database of {name_of(databases.regions_of(pool))}"
        for pool in pools_of(databases, manifest)
        if await pool.fetchval(sql.load("has_rows"))
    ]
    shards = () if keep_redis else shard_map.shards
    return found + [shard.name for shard in shards if await boards.holds_anything(shard)]


def pools_of(databases: RegionDatabases, manifest: Manifest) -> list[Pool]:
    """Return the databases that the backup has, GLOBAL's last."""
    return [pool for pool in in_order(databases) if set(databases.regions_of(pool)) & set(manifest.regions)]


def restore_of(manifest: Manifest, *, keep_redis: bool) -> Restore:
    """Name a restore, so that one which ended early is gone on with by the same only."""
    scope = name_of(sorted(manifest.regions)) + (" --keep-redis" if keep_redis else "")
    return Restore(manifest.began_at.isoformat(), scope)


def refuse_another_scope(earlier: Collection[Restore], restore: Restore) -> None:
    """Refuse what would leave a part of an earlier restore's work half done. Raises BackupProblem."""
    for one in earlier:
        if one.scope != restore.scope:
            raise BackupProblem(
                f"A restore of {one.scope} ended early, and only one of the same databases and with the same options "
                f"goes on with it. Its backup began {one.backup}."
            )


async def call_off(shard_map: ShardMap, databases: RegionDatabases) -> bool:
    """Have Redis admitted again after a restore that was killed before it changed anything; False when there is none.

    Raises BackupProblem when one runs or has changed something, Unavailable, and asyncpg's errors.
    """

    async def work(_locks: boards.Locks) -> bool:
        await _refuse_if_it_has_changed_something(databases)
        under_way = await restores.any_under_way(databases)
        await restores.call_off(databases)
        # A commit that nobody waited for any more may have ended meanwhile.
        await _refuse_if_it_has_changed_something(databases)
        return under_way

    return await boards.while_locked(shard_map.shards, work)


async def _refuse_if_it_has_changed_something(databases: RegionDatabases) -> None:
    if earlier := await restores.committed(databases):
        raise BackupProblem(
            "A database is replaced already, so that this restore can only be gone on with: run the same command "
            f"again. Its backup began {', '.join(sorted(one.backup for one in earlier))}."
        )


def _listed(databases: set[tuple[str, ...]]) -> str:
    return ", ".join(sorted(map(name_of, databases)))
