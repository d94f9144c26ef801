"""`leaderboard restore`: put a backup in the place of what the databases hold, and fill Redis from it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
from rich.progress import Progress

from leaderboard_cli.backup import boards
from leaderboard_cli.backup.load import HalfDone, Loaded, load, refuse_what_does_not_fit, what_is_there
from leaderboard_cli.backup.manifest import BackupProblem, Manifest, OnRows, check_files, read_manifest
from leaderboard_cli.commands.backup import COLUMNS
from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.commands.stores import open_stores
from leaderboard_cli.console import console, errors, fail
from leaderboard_core.errors import describe
from leaderboard_core.postgres import restores
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.settings import WorkerSettings
from leaderboard_core.settings import load as load_settings
from worker_service.recovery.rebuild import rebuild
from worker_service.recovery.restore import RebuildInterrupted

_POLL_SECONDS = 0.2
_ADMISSION_SECONDS = 10.0


def restore(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="What `leaderboard backup` has written.")],
    check: Annotated[bool, typer.Option("--check", help="Only check that the backup is whole.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also where there are players or events: what came after it is lost.")
    ] = False,
    keep_redis: Annotated[
        bool, typer.Option("--keep-redis", help="Keep what Redis has that is newer, when only Postgres was lost.")
    ] = False,
    only: Annotated[
        str, typer.Option(metavar="REGION", help="Only this region's database, with --keep-redis: after it was moved.")
    ] = "",
) -> None:
    """Restore all databases, while the system runs or stands still; players get 503 for writes until it has ended."""
    if only and not keep_redis:
        fail("--only needs --keep-redis: on one Redis are the players of other regions too.")
    try:
        manifest = read_manifest(folder)
        manifest = manifest.only(only.upper()) if only else manifest
        _check(folder, manifest)
        if not check:
            loaded = asyncio.run(_restore(folder, manifest, whole=not only, replace=replace, keep_redis=keep_redis))
    except (BackupProblem, HalfDone) as problem:
        fail(str(problem))
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        fail(f"Nothing was changed. {describe(error)}")
    if check:
        console.print(f"{folder} is whole: {manifest.players} players, begun {_moment(manifest)}.", markup=False)
        return
    console.print(f"{loaded.players - loaded.stay_deleted} players are restored as of {_moment(manifest)}.")
    if loaded.stay_deleted:
        console.print(f"{loaded.stay_deleted} of the backup were deleted since, and stay deleted.")
    if keep_redis:
        console.print("Redis may have newer scores: `leaderboard verify --repair` brings them to Postgres.")


def _moment(manifest: Manifest) -> str:
    return f"{manifest.began_at:%Y-%m-%d %H:%M:%S} UTC"


def _check(folder: Path, manifest: Manifest) -> None:
    with Progress(*COLUMNS, console=errors) as progress:
        tasks = {one.name: progress.add_task(f"check {one.name}", total=one.rows) for one in manifest.databases}
        check_files(folder, manifest, lambda name, rows: progress.advance(tasks[name], rows))


async def _restore(folder: Path, manifest: Manifest, *, whole: bool, replace: bool, keep_redis: bool) -> Loaded:
    async with open_stores() as (shard_map, databases):
        await refuse_what_does_not_fit(databases, manifest, whole=whole)
        if not keep_redis:
            await asyncio.gather(*(boards.may_be_emptied(shard) for shard in shard_map.shards))
        there = await what_is_there(shard_map, databases, manifest, keep_redis=keep_redis)
        if there and not replace and not await restores.any_under_way(databases):
            raise BackupProblem(
                f"There are players or events already in {', '.join(there)}. --replace puts the backup in their "
                "place; --keep-redis leaves newer scores of Redis. Nothing was changed."
            )
        with Progress(*COLUMNS, console=errors) as progress:
            tasks = {one.name: progress.add_task(f"restore {one.name}", total=one.rows) for one in manifest.databases}
            redis = progress.add_task("empty Redis (keys)", total=None, visible=not keep_redis)
            loaded = await load(
                folder,
                manifest,
                shard_map,
                databases,
                lambda name, rows: progress.advance(tasks[name], rows),
                lambda keys: progress.advance(redis, keys),
                keep_redis=keep_redis,
            )
            for region in databases.regions:
                tasks[f"boards of {region}"] = progress.add_task(f"boards of {region}", total=None)
            for shard in shard_map.shards:
                await _admit(
                    shard, databases, lambda region, rows: progress.advance(tasks[f"boards of {region}"], rows)
                )
        return loaded


async def _admit(shard: Shard, databases: RegionDatabases, on_page: OnRows) -> None:
    """Fill a Redis from Postgres, or wait until a worker has; say so when neither can be done now."""
    settings = load_settings(WorkerSettings, command_environment())
    deadline = asyncio.get_running_loop().time() + _ADMISSION_SECONDS
    while not await shard.is_ready():
        try:
            await rebuild(shard, databases, settings, on_page)
        except (RebuildInterrupted, *CONNECTION_ERRORS) as problem:
            # A worker may be doing it: then this ends when it has.
            busy = await shard.command("EXISTS", shard.keys.rebuild_lock)
            if not busy and asyncio.get_running_loop().time() > deadline:
                errors.print(
                    f"Postgres is restored, and {shard.name} is not filled yet: {describe(problem)}. A worker goes on "
                    "trying; so does `leaderboard rebuild`.",
                    style="yellow",
                    markup=False,
                )
                return
            await asyncio.sleep(_POLL_SECONDS)
