"""`leaderboard rebuild`: fill Redis from Postgres, with a progress bar."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from leaderboard_cli.commands.environment import stores_environment
from leaderboard_cli.commands.stores import open_stores
from leaderboard_cli.console import console, errors, fail
from leaderboard_core.errors import describe
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.redis.shard import Shard
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import WorkerSettings, load
from worker_service.recovery.rebuild import rebuild
from worker_service.recovery.restore import RebuildInterrupted

_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)


def rebuild_command(
    whole: Annotated[
        bool, typer.Option("--whole", help="Read every row, though Redis counts as complete or only a little behind.")
    ] = False,
) -> None:
    """Bring each Redis up to date from Postgres and admit it. Nothing newer in Redis is overwritten."""
    try:
        asyncio.run(_rebuild(whole))
    except RebuildInterrupted as problem:
        fail(f"Not rebuilt: {problem}. A worker rebuilds by itself too; try again when it is done.")
    except CONNECTION_ERRORS as error:
        fail(f"Postgres cannot be reached: {describe(error)}")


async def _rebuild(whole: bool) -> None:
    async with open_stores() as (shard_map, databases):
        for shard in shard_map.shards:
            if not whole and await shard.is_ready():
                console.print(f"{shard.name} is complete (--whole reads every row all the same)")
                continue
            players = await _with_progress(shard, shard_map, databases, whole)
            console.print(f"{shard.name}: {players} players read, complete")


async def _with_progress(shard: Shard, shard_map: ShardMap, databases: RegionDatabases, whole: bool) -> int:
    settings = load(WorkerSettings, stores_environment())
    with Progress(*_COLUMNS, console=errors) as progress:
        tasks = {
            region: progress.add_task(
                shard.partition.name(region),
                total=shard.partition.share_of(await databases[region].fetchval(sql.load("count_players"))),
            )
            for region in shard.regions
        }
        return await rebuild(
            shard,
            databases,
            settings,
            lambda region, count: progress.advance(tasks[region], count),
            others=shard_map.shards,
            whole=whole,
        )
