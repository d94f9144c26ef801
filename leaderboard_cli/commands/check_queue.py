"""`leaderboard check-queue`: show the events that wait between Redis and Postgres."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer
from rich.table import Table

from leaderboard_cli.commands.environment import stores_environment
from leaderboard_cli.console import console
from worker_service.scripts.check_queue import MOST_EVENTS, report


def check_queue(
    events: Annotated[int, typer.Option(min=0, max=MOST_EVENTS, help="Events to show per region.")] = MOST_EVENTS,
) -> None:
    """Show each region's queue: waiting, being saved, refused, and the next events."""
    found = asyncio.run(report(stores_environment(), events))
    table = Table("region", "waiting", "being saved", "dead letters")
    for queue in found.queues:
        table.add_row(queue.region, str(queue.waiting), str(queue.processing), str(queue.dead))
    console.print(table)
    for region, waiting in found.events.items():
        for event in waiting:
            console.print(f"{region}  {event}", markup=False)
