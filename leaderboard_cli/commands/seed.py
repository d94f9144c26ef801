"""`leaderboard seed`: send demo players through the public API, like a game server's scores, or delete them again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Annotated, Any, TypeVar

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from leaderboard_cli.commands.access import how_to_start, server_access
from leaderboard_cli.commands.environment import command_environment
from leaderboard_cli.console import console, errors, fail
from leaderboard_cli.demo_players import demo_players, is_demo_player
from leaderboard_client import AsyncClient, ConnectionFailed, LeaderboardError, NotFound, Refusal, Submission
from leaderboard_core.boards import MAIN
from leaderboard_core.settings import LimitSettings, TopologySettings, load

T = TypeVar("T")

_PLAYERS = 1000
_BATCH = 200
"""Players in one request: enough that requests cost little, few enough that the progress bar moves."""


def seed(
    players: Annotated[int | None, typer.Argument(min=1, help="How many players.", show_default=str(_PLAYERS))] = None,
    url: Annotated[str, typer.Option(help="Where the system answers; default the local cluster.")] = "",
    connections: Annotated[int, typer.Option(min=1, max=256, help="Requests in flight.")] = 4,
    board: Annotated[str, typer.Option(help="The board to put them on; they stand on main as well.")] = MAIN.name,
    remove: Annotated[bool, typer.Option("--remove", help="Delete all demo players, and nobody else.")] = False,
) -> None:
    """Add demo players with random names and scores to every region; running it again changes their scores."""
    if remove and (players is not None or board != MAIN.name):
        raise typer.BadParameter("--remove deletes all demo players; leave the number and --board out")
    environ = command_environment()
    regions = load(TopologySettings, environ).regions
    base, token = server_access("seed", url, environ)
    problem = ""
    try:
        if remove:
            count = asyncio.run(_remove(base, token, connections))
            console.print(f"{count} demo players were deleted" if count else "There are no demo players.")
        else:
            count = players or _PLAYERS
            limits = load(LimitSettings, environ)
            bounds = limits.min_score, limits.max_score
            if board != MAIN.name:
                rules = asyncio.run(_definition(base, token, board))
                bounds = _bounds(rules)
            chosen = list(demo_players(count, regions, *bounds, None if board == MAIN.name else board))
            asyncio.run(_seed(base, token, chosen, connections))
            of_board = "" if board == MAIN.name else f"&board={board}"
            console.print(f"{count} players are on the boards: {base}/top?region=GLOBAL{of_board}")
    except* ConnectionFailed as group:
        reason = str(group.exceptions[0].__cause__)
        problem = f"Cannot reach {base}: {reason}. {how_to_start()}"
    except* LeaderboardError as group:
        problem = f"The system refused: {group.exceptions[0]}"
    if problem:
        fail(problem)


def _bounds(rules: Mapping[str, Any]) -> tuple[int, int]:
    """Return the least and the greatest score that a board takes by one submit: that to a sum is a step."""
    lowest, highest, step = rules["min_score"], rules["max_score"], rules["max_step"]
    if rules["operator"] != "sum" or step is None:
        return lowest, highest
    return max(lowest, -step), min(highest, step)


async def _definition(base: str, token: str, board: str) -> Mapping[str, Any]:
    async with _connected(base, token) as (client, _):
        return (await client.board_definition(board)).definition


async def _seed(base: str, token: str, players: list[Submission], connections: int) -> None:
    async with _connected(base, token) as (client, progress):
        task = progress.add_task("players", total=len(players))

        async def send(batch: list[Submission]) -> None:
            await _submit(client, batch)
            progress.advance(task, len(batch))

        batches = [players[start : start + _BATCH] for start in range(0, len(players), _BATCH)]
        await _side_by_side(send, batches, connections)


async def _remove(base: str, token: str, connections: int) -> int:
    """Delete the demo players; return how many there were."""
    async with _connected(base, token) as (client, progress):
        search = progress.add_task("searched", total=(await client.top(limit=1)).total)
        found = []
        async for row in client.iter_top():
            progress.advance(search)
            if is_demo_player(row):
                found.append(row.user_id)
        deletion = progress.add_task("deleted", total=len(found))

        async def delete(user_id: str) -> None:
            with suppress(NotFound):  # somebody else deleted it meanwhile
                await client.delete_user(user_id)
            progress.advance(deletion)

        await _side_by_side(delete, found, connections)
    return len(found)


@asynccontextmanager
async def _connected(base: str, token: str) -> AsyncIterator[tuple[AsyncClient, Progress]]:
    async with AsyncClient(base, max_wait=0) as client:
        await client.health()  # a system that does not answer is reported at once, not after retries
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    async with AsyncClient(base, token=token) as client:
        with Progress(*columns, console=errors) as progress:
            yield client, progress


async def _side_by_side(do: Callable[[T], Awaitable[None]], items: Sequence[T], connections: int) -> None:
    """Do something with each item, with so many at once."""
    waiting = iter(items)

    async def work() -> None:
        for item in waiting:
            await do(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(work())


async def _submit(client: AsyncClient, players: list[Submission]) -> None:
    done = await client.submit_many(players)
    for player, result in zip(players, done.results, strict=True):
        if isinstance(result, Refusal):
            raise LeaderboardError(f"{player.user_id}: {result.message}", code=result.code)
