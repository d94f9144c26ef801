"""`leaderboard verify`: compare every player in Redis with Postgres, with the entries of all boards."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from leaderboard_cli.commands.stores import open_stores
from leaderboard_cli.console import console, errors, fail
from leaderboard_core.errors import describe
from leaderboard_core.postgres.databases import CONNECTION_ERRORS
from worker_service.recovery.differences import Report
from worker_service.recovery.restore import RebuildInterrupted
from worker_service.recovery.verify import Verifier


def verify(
    repair: Annotated[bool, typer.Option("--repair", help="Mend each difference from the newer side.")] = False,
    drop_older: Annotated[
        bool, typer.Option("--drop-older", help="With --repair: of two rows of one player drop the older one.")
    ] = False,
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait for events that are on their way.")] = 10,
) -> None:
    """Compare boards, hashes and Postgres rows, entries included; print each difference; exit 1 when one remains."""
    try:
        report = asyncio.run(_verify(repair, drop_older, wait))
    except RebuildInterrupted as problem:
        fail(f"Postgres cannot be reached: {problem}")
    except CONNECTION_ERRORS as error:
        fail(f"Postgres cannot be reached: {describe(error)}")
    outcome = dict([*report.repaired, *report.unrepaired])
    for difference in report.differences:
        console.print(
            f"{difference.region}  {difference.user_id}: {difference.problem}"
            + (f" -> {outcome[difference]}" if difference in outcome else ""),
            markup=False,
        )
    if report.truncated:
        console.print("There are more differences than are listed.", style="yellow")
    if report.pending:
        console.print(f"Postgres is {report.pending} events behind; their players were not judged.", style="yellow")
    repaired = f", {len(report.repaired)} mended" if repair else ""
    if report.unrepaired:
        repaired += f", {len(report.unrepaired)} not mended"
    entries = f" and {report.entries} entries" if report.entries else ""
    console.print(f"{report.players} players{entries} compared, {len(report.differences)} differences{repaired}")
    if report.truncated or report.pending or len(report.differences) > len(report.repaired):
        raise typer.Exit(1)


async def _verify(repair: bool, drop_older: bool, wait: float) -> Report:
    columns = (SpinnerColumn(), TextColumn("{task.description}: {task.completed} players"), TimeElapsedColumn())
    async with open_stores() as (shard_map, databases):
        with Progress(*columns, console=errors) as progress:
            tasks = {region: progress.add_task(region, total=None) for region in shard_map.regions}
            verifier = Verifier(shard_map, databases, wait_seconds=wait)
            return await verifier.verify(
                lambda region, count: progress.advance(tasks[region], count), repair=repair, drop_older=drop_older
            )
