"""`leaderboard dead-letters`: what Postgres refused, to be read, tried again or dropped."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from leaderboard_cli.commands.stores import open_stores
from leaderboard_cli.console import console, fail
from worker_service.saving import dead_letters as lists
from worker_service.saving.dead_letters import Letter

app = typer.Typer(no_args_is_help=True, help="Events that Postgres refused: list, retry or drop them.")

Ids = Annotated[list[str] | None, typer.Argument(help="Ids as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="Every dead letter.")]


@app.command("list")
def list_letters(
    region: Annotated[list[str] | None, typer.Option(help="Only these regions.")] = None,
) -> None:
    """Show each dead letter: its id, why it was refused, and the event."""
    found = asyncio.run(_letters(tuple(name.upper() for name in region or ())))
    for letter in found:
        console.print(f"{letter.id}  {letter.region}  {letter.at}  {letter.reason}", markup=False)
        console.print(f"    {letter.event}", markup=False)
    console.print(f"{len(found)} dead letters")


@app.command()
def retry(ids: Ids = None, every: All = False) -> None:
    """Put events back into their queues, to be taken next (after what refused them was mended)."""
    _move(ids, every, retry=True)


@app.command()
def drop(ids: Ids = None, every: All = False) -> None:
    """Delete dead letters for good."""
    _move(ids, every, retry=False)


def _move(ids: list[str] | None, every: bool, *, retry: bool) -> None:
    if bool(ids) == every:
        fail("Name the ids (see `leaderboard dead-letters list`), or say --all.")
    wanted = set(ids or ())
    moved = asyncio.run(_move_letters(wanted, every, retry))
    for letter in moved:
        console.print(f"{letter.id}  {letter.region}  {'back in the queue' if retry else 'dropped'}")
    if missing := wanted - {letter.id for letter in moved}:
        fail(f"No such dead letter: {', '.join(sorted(missing))}")


async def _letters(regions: tuple[str, ...]) -> list[Letter]:
    async with open_stores() as (shard_map, _):
        return await lists.letters(shard_map, regions)


async def _move_letters(wanted: set[str], every: bool, retry: bool) -> list[Letter]:
    async with open_stores() as (shard_map, _):
        return await lists.move(shard_map, lambda letter: every or letter.id in wanted, retry=retry)
