"""`leaderboard backup`: write every region's database to a folder."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import asyncpg
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from leaderboard_cli.backup.dump import dump, in_order, new_folder
from leaderboard_cli.backup.manifest import BackupProblem, Manifest, name_of
from leaderboard_cli.commands.stores import open_stores
from leaderboard_cli.console import console, errors, fail
from leaderboard_core.errors import Unavailable, describe
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.redis.queues import queue_states
from leaderboard_core.redis.shard_map import ShardMap

COLUMNS = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("rows"), TimeElapsedColumn())
_POLL_SECONDS = 0.05


def backup(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new folder, or an empty one.")],
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until what was answered so far is saved.")] = 10,
) -> None:
    """Copy all databases while the system runs: what was answered before the command began is in the backup."""
    try:
        manifest = asyncio.run(_backup(folder, wait))
    except BackupProblem as problem:
        fail(str(problem))
    except (*CONNECTION_ERRORS, asyncpg.PostgresError) as error:
        fail(f"No backup was made. {describe(error)}")
    regions = ", ".join(manifest.regions)
    console.print(f"{manifest.players} players of {regions} are in {folder}, and read back as written.", markup=False)


async def _backup(folder: Path, wait: float) -> Manifest:
    async with open_stores() as (shard_map, databases):
        with new_folder(folder):
            return await _fill(folder, wait, shard_map, databases)


async def _fill(folder: Path, wait: float, shard_map: ShardMap, databases: RegionDatabases) -> Manifest:
    began_at = datetime.now(UTC)
    lacking = await _until_saved(shard_map, wait)
    with Progress(*COLUMNS, console=errors) as progress:
        tasks = {name: progress.add_task(name, total=total) for name, total in (await _estimates(databases)).items()}
        manifest = await dump(
            folder, databases, began_at, lacking, lambda name, rows: progress.advance(tasks[name], rows)
        )
        for database in manifest.databases:
            progress.update(tasks[database.name], total=database.rows, completed=database.rows)
    return manifest


async def _until_saved(shard_map: ShardMap, seconds: float) -> int | None:
    """Wait until Postgres has all events from before; returns how many it lacks after `seconds`, None if unknown."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    while True:
        try:
            states = await queue_states(shard_map)
        except Unavailable:
            errors.print("Redis does not answer: events that wait there are not in the backup.", style="yellow")
            return None
        passed = loop.time() - began
        older = [state for state in states if state.uncommitted and state.lag_seconds >= passed]
        if not older:
            break
        if passed >= seconds:
            lacking = sum(state.uncommitted for state in older)
            errors.print(
                f"Postgres is {lacking} events behind, and the backup with it: is a worker running? (--wait)",
                style="yellow",
            )
            return lacking
        await asyncio.sleep(_POLL_SECONDS)
    if dead := sum(state.dead for state in states):
        errors.print(f"{dead} dead letters are in Redis only, and not in the backup.", style="yellow")
    return 0


async def _estimates(databases: RegionDatabases) -> dict[str, int | None]:
    return {
        name_of(databases.regions_of(pool)): await pool.fetchval(sql.load("estimate_players")) or None
        for pool in in_order(databases)
    }
