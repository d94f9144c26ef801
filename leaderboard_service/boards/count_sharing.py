"""Share counts before points: those of one turn of the event loop are one call for each part of a board."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from leaderboard_service.boards.ranges import Point
from leaderboard_service.boards.ranking import Counts

Counted = tuple[int, list[Counts]]
"""Players of the whole board, and for each point how many of them have a greater key or come before at all."""


class SharedCounts:
    """Counts before points in one ranking, by `count`, which is given those of all who ask meanwhile, each once.

    A rank on a board of N parts would cost N calls; shared by k callers it costs each of them N/k. A count begins after
    all of its callers have asked, so nobody gets one from before.
    """

    def __init__(self, count: Callable[[Sequence[Point]], Awaitable[Counted]]) -> None:
        self._count = count
        self._numbers: dict[Point, int] = {}
        self._counting: asyncio.Task[Counted] | None = None

    async def at(self, point: Point) -> tuple[int, Counts]:
        """Return the number of players, and what is counted at a point; raise the error of the count."""
        number = self._numbers.setdefault(point, len(self._numbers))
        if self._counting is None:
            self._counting = asyncio.create_task(self._run())
            self._counting.add_done_callback(_retrieve)
        total, counts = await asyncio.shield(self._counting)
        return total, counts[number]

    async def _run(self) -> Counted:
        # The first step of a task comes after everything that this turn of the loop has ready.
        points, self._numbers, self._counting = list(self._numbers), {}, None
        return await self._count(points)


def _retrieve(task: asyncio.Task[Counted]) -> None:
    """Take note of an error, also when every caller has gone."""
    if not task.cancelled():
        task.exception()
