"""`leaderboard seed`: demo players, sent through the front door like any game server's scores."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Annotated

import httpx
import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.console import console, errors, fail
from leaderboard_core.settings import AuthSettings, TopologySettings, load
from leaderboard_core.tokens import Tokens

_FIRST = ("Amber", "Bold", "Clever", "Daring", "Eager", "Fierce", "Gentle", "Happy", "Icy", "Jolly", "Keen", "Lucky")
_SECOND = ("Badger", "Condor", "Dragon", "Falcon", "Gecko", "Heron", "Ibis", "Jaguar", "Koala", "Lynx", "Otter", "Wolf")
_MOST_TRIES = 20


def seed(
    players: Annotated[int, typer.Argument(min=1, help="How many players.")] = 1000,
    url: Annotated[str, typer.Option(help="Where the system answers; default the local cluster.")] = "",
    connections: Annotated[int, typer.Option(min=1, max=256, help="Requests in flight.")] = 32,
) -> None:
    """Add demo players with random names and scores to every region; running it again changes their scores."""
    environ = command_environment()
    topology = load(TopologySettings, environ)
    token = Tokens(load(AuthSettings, environ)).issue("seed", "seed", "GLOBAL", role="server")
    base = url or environ.get("LEADERBOARD_URL", "http://127.0.0.1:8080")
    problem = ""
    try:
        asyncio.run(_seed(base, token, list(_demo_players(players, topology.regions)), connections))
    except* httpx.TransportError as group:
        reason = str(group.exceptions[0]) or type(group.exceptions[0]).__name__
        problem = f"Cannot reach {base}: {reason}. Start the system with 'make up', or give --url."
    except* Refused as group:
        problem = str(group.exceptions[0])
    if problem:
        fail(problem)
    console.print(f"{players} players are on the boards: {base}/top?region=GLOBAL")


def _demo_players(count: int, regions: tuple[str, ...]) -> Iterator[dict[str, str | int]]:
    chance = random.Random()  # noqa: S311 - demo scores need no secrecy
    for number in range(count):
        yield {
            "user_id": f"demo-{number:06d}",
            "name": f"{chance.choice(_FIRST)} {chance.choice(_SECOND)} {number}",
            "region": regions[number % len(regions)],
            "score": round(chance.lognormvariate(7, 1)),
        }


async def _seed(base: str, token: str, players: list[dict[str, str | int]], connections: int) -> None:
    columns = (TextColumn("players"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
    waiting = iter(players)
    headers = {"Authorization": f"Bearer {token}"}
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("seed", total=len(players))
        async with httpx.AsyncClient(base_url=base, headers=headers, limits=limits, timeout=30) as client:

            async def send() -> None:
                for player in waiting:
                    await _submit(client, player)
                    progress.advance(task)

            async with asyncio.TaskGroup() as group:
                senders = [group.create_task(send()) for _ in range(connections)]
            for sender in senders:
                sender.result()


class Refused(Exception):
    """The system does not take a player; the text says why."""


async def _submit(client: httpx.AsyncClient, player: dict[str, str | int]) -> None:
    for _ in range(_MOST_TRIES):
        answer = await client.post("/score", json=player)
        if answer.status_code not in (429, 503):
            break
        await asyncio.sleep(float(answer.json().get("retry_after", 1)))
    if answer.status_code != 200:
        raise Refused(f"{player['user_id']} was refused with {answer.status_code}: {answer.text}")
