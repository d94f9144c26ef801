"""`leaderboard regions`: add, rename or remove a region of a system that has players."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Annotated, Any

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from leaderboard_cli.commands.stores import open_stores
from leaderboard_cli.console import console, errors, fail
from leaderboard_core.errors import describe
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS
from worker_service.recovery.regions import RegionsChanged, add_region, remove_region, rename_region
from worker_service.recovery.restore import RebuildInterrupted

app = typer.Typer(no_args_is_help=True, help="Regions of a system that has players: list, add, rename or remove one.")

Name = Annotated[str, typer.Argument(help="A region, as in REGIONS.")]


@app.command("list")
def list_regions() -> None:
    """Show each region of REGIONS with its players, and what the databases know of others."""

    async def work(_: Callable[[int], None]) -> None:
        async with open_stores() as (_map, databases):
            known: set[str] = set()
            for region in databases.regions:
                known |= {row["region"] for row in await databases[region].fetch(sql.load("known_regions"))}
                console.print(
                    f"{region}  {await databases[region].fetchval(sql.load('count_players_of_region'), region)} players"
                )
            for region in sorted(known - set(databases.regions)):
                console.print(f"{region}  is not in REGIONS, and was")

    _run(work)


@app.command()
def add(region: Name) -> None:
    """Make a region one of the system whose database has players already: nobody else may have their user_ids."""

    async def work(on_rows: Callable[[int], None]) -> None:
        async with open_stores() as (_, databases):
            await add_region(databases, _known(region, databases.regions), on_rows)
        console.print(f"{region.upper()} is one of the regions.")

    _run(work)


@app.command()
def rename(old: Name, new: Name) -> None:
    """Rename a region: stop workers and services, put NEW in the place of OLD in all settings, run this, start them."""

    async def work(on_rows: Callable[[int], None]) -> None:
        async with open_stores() as (shard_map, databases):
            await rename_region(shard_map, databases, old.upper(), _known(new, databases.regions), on_rows)
        console.print(f"{old.upper()} is {new.upper()} now; the next worker brings its board back from Postgres.")

    _run(work)


@app.command()
def remove(region: Name) -> None:
    """Take a region without players out of the system; then take it out of REGIONS."""

    async def work(_: Callable[[int], None]) -> None:
        async with open_stores() as (shard_map, databases):
            await remove_region(shard_map, databases, _known(region, databases.regions))
        console.print(f"{region.upper()} is forgotten: take it out of REGIONS now.")

    _run(work)


def _known(region: str, regions: tuple[str, ...]) -> str:
    if region.upper() not in regions:
        fail(f"REGIONS has no {region.upper()}; it has {', '.join(regions)}.")
    return region.upper()


def _run(work: Callable[[Callable[[int], None]], Coroutine[Any, Any, None]]) -> None:
    columns = (SpinnerColumn(), TextColumn("{task.completed} rows"), TimeElapsedColumn())
    try:
        with Progress(*columns, console=errors, transient=True) as progress:
            task = progress.add_task("rows", total=None)
            asyncio.run(work(lambda rows: progress.advance(task, rows)))
    except RegionsChanged as problem:
        fail(str(problem))
    except (RebuildInterrupted, *CONNECTION_ERRORS) as error:
        fail(f"Postgres cannot be reached: {describe(error)}")
