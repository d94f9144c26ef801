"""`leaderboard seed`: send demo players through the public API, like a game server's scores."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.console import console, errors, fail
from leaderboard_client import AsyncClient, ConnectionFailed, LeaderboardError, Refusal, Submission
from leaderboard_core.settings import AuthSettings, TopologySettings, load
from leaderboard_core.tokens import Tokens

_FIRST = ("Amber", "Bold", "Clever", "Daring", "Eager", "Fierce", "Gentle", "Happy", "Icy", "Jolly", "Keen", "Lucky")
_SECOND = ("Badger", "Condor", "Dragon", "Falcon", "Gecko", "Heron", "Ibis", "Jaguar", "Koala", "Lynx", "Otter", "Wolf")
_BATCH = 200
"""Players in one request: enough that requests cost little, few enough that the progress bar moves."""


def seed(
    players: Annotated[int, typer.Argument(min=1, help="How many players.")] = 1000,
    url: Annotated[str, typer.Option(help="Where the system answers; default the local cluster.")] = "",
    connections: Annotated[int, typer.Option(min=1, max=256, help="Requests in flight.")] = 4,
) -> None:
    """Add demo players with random names and scores to every region; running it again changes their scores."""
    environ = command_environment()
    topology = load(TopologySettings, environ)
    token = Tokens(load(AuthSettings, environ)).issue("seed", "seed", "GLOBAL", role="server")
    base = url or environ.get("LEADERBOARD_URL", "http://127.0.0.1:8080")
    problem = ""
    try:
        asyncio.run(_seed(base, token, list(_demo_players(players, topology.regions)), connections))
    except* ConnectionFailed as group:
        reason = str(group.exceptions[0].__cause__)
        problem = f"Cannot reach {base}: {reason}. Start the system with 'make up', or give --url."
    except* LeaderboardError as group:
        problem = f"The system refused: {group.exceptions[0]}"
    if problem:
        fail(problem)
    console.print(f"{players} players are on the boards: {base}/top?region=GLOBAL")


def _demo_players(count: int, regions: tuple[str, ...]) -> Iterator[Submission]:
    chance = random.Random()  # noqa: S311 - demo scores need no secrecy
    for number in range(count):
        yield Submission(
            user_id=f"demo-{number:06d}",
            name=f"{chance.choice(_FIRST)} {chance.choice(_SECOND)} {number}",
            region=regions[number % len(regions)],
            score=round(chance.lognormvariate(7, 1)),
        )


async def _seed(base: str, token: str, players: list[Submission], connections: int) -> None:
    columns = (TextColumn("players"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    waiting = iter([players[start : start + _BATCH] for start in range(0, len(players), _BATCH)])
    async with AsyncClient(base, max_wait=0) as client:
        await client.health()  # a system that does not answer is reported at once, not after retries of a batch
    with Progress(*columns, console=errors) as progress:
        task = progress.add_task("seed", total=len(players))
        async with AsyncClient(base, token=token) as client, asyncio.TaskGroup() as group:

            async def send() -> None:
                for batch in waiting:
                    await _submit(client, batch)
                    progress.advance(task, len(batch))

            for _ in range(connections):
                group.create_task(send())


async def _submit(client: AsyncClient, players: list[Submission]) -> None:
    done = await client.submit_many(players)
    for player, result in zip(players, done.results, strict=True):
        if isinstance(result, Refusal):
            raise LeaderboardError(f"{player.user_id}: {result.message}", code=result.code)
