"""Waiting for a server that may be starting, with a word about it now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from leaderboard_core.errors import Unavailable

LONGEST_PAUSE_SECONDS = 1.0


async def until_answers(
    problem_of: Callable[[], Awaitable[str | None]],
    explain: Callable[[str], str],
    deadline: float,
    on_wait: Callable[[str], None],
) -> None:
    """Ask until there is no problem, or `deadline` (loop time) has come.

    `explain` makes the problem a message that names the variable to look at; it is given to `on_wait` at
    each try and raised as Unavailable at the end.
    """
    loop, pause = asyncio.get_running_loop(), 0.1
    while (problem := await problem_of()) is not None:
        message = explain(problem)
        if loop.time() >= deadline:
            raise Unavailable(message)
        on_wait(message)
        await asyncio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
