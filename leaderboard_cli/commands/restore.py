"""`leaderboard restore`: put a backup in the place of what the databases hold, and fill Redis from it."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Annotated, Any, TypeVar

import asyncpg
import typer
from rich.progress import Progress

from leaderboard_cli.backup import boards
from leaderboard_cli.backup.checks import (
    call_off,
    refuse_another_scope,
    refuse_what_does_not_fit,
    restore_of,
    what_is_there,
)
from leaderboard_cli.backup.load import HalfDone, Loaded, Run, load, reason
from leaderboard_cli.backup.manifest import BackupProblem, Manifest, OnRows, check_files, read_manifest
from leaderboard_cli.commands.backup import COLUMNS
from leaderboard_cli.commands.environment import stores_environment
from leaderboard_cli.commands.stores import open_stores
from leaderboard_cli.console import console, errors, fail
from leaderboard_core.errors import Unavailable
from leaderboard_core.postgres import restores
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.settings import WorkerSettings
from leaderboard_core.settings import load as load_settings
from worker_service.recovery.rebuild import rebuild
from worker_service.recovery.restore import RebuildInterrupted

_POLL_SECONDS = 0.2
_ADMISSION_SECONDS = 10.0

Result = TypeVar("Result")


def restore(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="What `leaderboard backup` has written.", show_default=False)
    ] = None,
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
    abandon: Annotated[
        bool, typer.Option("--abandon", help="Serve what there is again: a restore was killed and had changed nothing.")
    ] = False,
) -> None:
    """Restore all databases, while the system runs or stands still; players get 503 for writes until it has ended."""
    if abandon:
        _run(_abandon)
        return
    if folder is None:
        raise typer.BadParameter("name the folder of a backup.", param_hint="DIR")
    if only and not keep_redis:
        fail("--only needs --keep-redis: on one Redis are the players of other regions too.")
    manifest = _run(partial(_read, folder, only.upper()))
    if check:
        console.print(f"{folder} is whole: {manifest.players} players, begun {_moment(manifest)}.", markup=False)
        _say_what_it_lacks(manifest)
        return
    _say_what_it_lacks(manifest)
    loaded = _run(partial(_restore, folder, manifest, whole=not only, replace=replace, keep_redis=keep_redis))
    console.print(f"{loaded.players - loaded.stay_deleted} players are restored as of {_moment(manifest)}.")
    if loaded.stay_deleted:
        console.print(f"{loaded.stay_deleted} of the backup were deleted since, and stay deleted.")
    if keep_redis:
        console.print("Redis may have newer scores: `leaderboard verify --repair` brings them to Postgres.")


def _run(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    """Run `work`; print why it cannot be done, or not all of it, with exit code 1."""
    try:
        return asyncio.run(_until_signal(work()))
    except (BackupProblem, HalfDone) as problem:
        fail(str(problem))
    except (*CONNECTION_ERRORS, asyncpg.PostgresError, RebuildInterrupted, Unavailable) as error:
        fail(f"Nothing was changed. {reason(error)}")
    except (asyncio.CancelledError, KeyboardInterrupt):
        fail("Nothing was changed: it was interrupted.")


async def _until_signal(work: Coroutine[Any, Any, Result]) -> Result:
    """Have SIGTERM and SIGHUP end the work as Ctrl-C does, so that it says in the databases how it ended."""
    task = asyncio.current_task()
    if task is not None and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            # `nohup` means what it says.
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, _cancel_once, task)
    return await work


def _cancel_once(task: asyncio.Task[Any]) -> None:
    """Cancel the task, unless that has been done: what it does then has to end."""
    if not task.cancelling():
        task.cancel()


def _moment(manifest: Manifest) -> str:
    return f"{manifest.began_at:%Y-%m-%d %H:%M:%S} UTC"


def _say_what_it_lacks(manifest: Manifest) -> None:
    if manifest.lacking is None:
        errors.print("Redis did not answer when it was made: events that waited there are not in it.", style="yellow")
    elif manifest.lacking:
        errors.print(f"{manifest.lacking} events from before it began are not in it.", style="yellow")


async def _read(folder: Path, only: str) -> Manifest:
    manifest = read_manifest(folder)
    manifest = manifest.only(only) if only else manifest
    with Progress(*COLUMNS, console=errors) as progress:
        tasks = {one.name: progress.add_task(f"check {one.name}", total=one.rows) for one in manifest.databases}
        await asyncio.to_thread(check_files, folder, manifest, lambda name, rows: progress.advance(tasks[name], rows))
    return manifest


async def _abandon() -> None:
    async with open_stores() as (shard_map, databases):
        if await call_off(shard_map, databases):
            console.print("The restore is called off; it had changed nothing. Workers open Redis again.")
        else:
            console.print("No restore is under way.")


async def _restore(folder: Path, manifest: Manifest, *, whole: bool, replace: bool, keep_redis: bool) -> Loaded:
    async with open_stores() as (shard_map, databases):
        await refuse_what_does_not_fit(databases, manifest, whole=whole)
        await asyncio.gather(*(boards.may_be_scanned(shard, keep_redis=keep_redis) for shard in shard_map.shards))
        this = restore_of(manifest, keep_redis=keep_redis)
        earlier = await restores.committed(databases)
        refuse_another_scope(earlier, this)
        there = await what_is_there(shard_map, databases, manifest, keep_redis=keep_redis)
        if there and not replace and earlier != {this}:
            raise BackupProblem(
                f"There are players or events already in {', '.join(there)}. --replace puts the backup in their "
                "place; --keep-redis leaves newer scores of Redis. Nothing was changed."
            )
        with Progress(*COLUMNS, console=errors) as progress:
            tasks = {one.name: progress.add_task(f"restore {one.name}", total=one.rows) for one in manifest.databases}
            redis = progress.add_task("empty Redis (keys)", total=None, visible=not keep_redis)
            run = Run(
                folder,
                manifest,
                shard_map,
                databases,
                on_rows=lambda name, rows: progress.advance(tasks[name], rows),
                on_keys=lambda keys: progress.advance(redis, keys),
                keep_redis=keep_redis,
            )
            loaded = await load(run)
            for region in databases.regions:
                tasks[f"boards of {region}"] = progress.add_task(f"boards of {region}", total=None)
            try:
                for shard in shard_map.shards:
                    await _admit(
                        shard, databases, lambda region, rows: progress.advance(tasks[f"boards of {region}"], rows)
                    )
            except asyncio.CancelledError as error:
                _say_not_filled("Redis", error)
        return loaded


async def _admit(shard: Shard, databases: RegionDatabases, on_page: OnRows) -> None:
    """Fill a Redis from Postgres, or wait until a worker has; say so when neither can be done now."""
    settings = load_settings(WorkerSettings, stores_environment())
    deadline = asyncio.get_running_loop().time() + _ADMISSION_SECONDS
    while True:
        try:
            if await shard.is_ready():
                return
            await rebuild(shard, databases, settings, on_page)
        except (RebuildInterrupted, Unavailable, *CONNECTION_ERRORS) as problem:
            # A worker may be doing it: then this ends when it has.
            if asyncio.get_running_loop().time() > deadline and not await _is_busy(shard):
                _say_not_filled(shard.name, problem)
                return
            await asyncio.sleep(_POLL_SECONDS)


async def _is_busy(shard: Shard) -> bool:
    try:
        return bool(await shard.command("EXISTS", shard.keys.rebuild_lock))
    except Unavailable:
        return False


def _say_not_filled(name: str, problem: BaseException) -> None:
    errors.print(
        f"Postgres is restored, and {name} is not filled yet: {reason(problem)}. A worker goes on trying; so does "
        "`leaderboard rebuild`.",
        style="yellow",
        markup=False,
    )
