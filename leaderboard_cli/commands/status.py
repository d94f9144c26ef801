"""`leaderboard status`: show the whole system on one screen, live, once, or as JSON."""

from __future__ import annotations

import asyncio
import json
from datetime import datetime
from typing import Annotated

import httpx
import typer
from rich.live import Live

from leaderboard_cli.commands.access import how_to_start
from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.console import console, fail
from leaderboard_cli.status.poller import TIMEOUT_SECONDS, Snapshot, poll
from leaderboard_cli.status.report import Report, make_report
from leaderboard_cli.status.screen import draw
from leaderboard_cli.status.sources import DEFAULT_URL, Sources, find_sources
from leaderboard_client.loopback import is_loopback


def status(
    url: Annotated[
        str, typer.Option(help=f"Where the system answers; default the local cluster, or {DEFAULT_URL}.")
    ] = "",
    once: Annotated[bool, typer.Option("--once", help="Print it once (as when this is no terminal).")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print it once, as JSON.")] = False,
    interval: Annotated[float, typer.Option(min=0.2, max=60, help="Seconds between two looks.")] = 2.0,
) -> None:
    """Queues and their age, workers, stores, services, and request rates: is everything well, and saved?

    Printed once, it exits with 1 when it is not well.
    """
    sources = find_sources(url, command_environment())
    try:
        if once or as_json or not console.is_terminal:
            report = asyncio.run(_once(sources, interval))
            if as_json:
                typer.echo(json.dumps({"url": sources.url, **report.as_dict()}))
            else:
                console.print(draw(report, sources, datetime.now()), soft_wrap=False)
            if not report.ok:
                raise typer.Exit(1)
        else:
            asyncio.run(_live(sources, interval))
    except KeyboardInterrupt:
        return


async def _once(sources: Sources, interval: float) -> Report:
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=not is_loopback(sources.url)) as client:
        before = await _first(client, sources)
        if not before.metrics:
            return make_report(None, before)
        await asyncio.sleep(interval)
        return make_report(before, await poll(client, sources))


async def _live(sources: Sources, interval: float) -> None:
    async with httpx.AsyncClient(timeout=TIMEOUT_SECONDS, trust_env=not is_loopback(sources.url)) as client:
        before = await _first(client, sources)
        now = make_report(None, before)
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                live.update(draw(now, sources, datetime.now()), refresh=True)
                await asyncio.sleep(interval)
                after = await poll(client, sources)
                now, before = make_report(before, after), after


async def _first(client: httpx.AsyncClient, sources: Sources) -> Snapshot:
    found = await poll(client, sources)
    if not found.anything:
        problems = "\n".join(found.problems)
        fail(f"Nothing answers at {sources.url}.\n{problems}\n{how_to_start()}")
    return found
