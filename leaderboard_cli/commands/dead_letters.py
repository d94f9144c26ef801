"""`leaderboard dead-letters`: list, requeue or discard the events that Postgres refused."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from leaderboard_cli.commands.stores import open_stores
from leaderboard_cli.console import console, fail
from worker_service.saving import dead_letters as lists
from worker_service.saving.dead_letters import DeadLetterEntry

app = typer.Typer(no_args_is_help=True, help="Events that Postgres refused: list, retry or drop them.")

Ids = Annotated[list[str] | None, typer.Argument(help="Ids as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]


@app.command("list")
def list_entries(
    region: Annotated[list[str] | None, typer.Option(help="Only these regions.")] = None,
) -> None:
    """Show each dead letter: its id, why it was refused, and the event."""
    found = asyncio.run(_entries(tuple(name.upper() for name in region or ())))
    for entry in found:
        console.print(f"{entry.id}  {entry.region}  {entry.at}  {entry.reason}", markup=False)
        console.print(f"    {entry.event}", markup=False)
    console.print(f"{len(found)} dead letters")


@app.command()
def retry(ids: Ids = None, every: All = False) -> None:
    """Put events back into their queues, to be taken next (after what refused them was mended)."""
    _remove(ids, every, requeue=True)


@app.command()
def drop(ids: Ids = None, every: All = False) -> None:
    """Delete dead letters for good."""
    _remove(ids, every, requeue=False)


def _remove(ids: list[str] | None, every: bool, *, requeue: bool) -> None:
    if bool(ids) == every:
        fail("Name the ids (see `leaderboard dead-letters list`), or say --all.")
    wanted = set(ids or ())
    removed = asyncio.run(_remove_entries(wanted, every, requeue))
    for entry in removed:
        console.print(f"{entry.id}  {entry.region}  {'back in the queue' if requeue else 'dropped'}")
    if missing := wanted - {entry.id for entry in removed}:
        fail(f"No such dead letter: {', '.join(sorted(missing))}")


async def _entries(regions: tuple[str, ...]) -> list[DeadLetterEntry]:
    async with open_stores() as (shard_map, _):
        return await lists.entries(shard_map, regions)


async def _remove_entries(wanted: set[str], every: bool, requeue: bool) -> list[DeadLetterEntry]:
    remove = lists.requeue if requeue else lists.discard
    async with open_stores() as (shard_map, _):
        return await remove(shard_map, lambda entry: every or entry.id in wanted)
