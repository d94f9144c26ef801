"""Share counts above scores: what is asked for in one turn of the event loop is one call for each part of a board."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

Counts = tuple[int, list[int]]
"""Players of the whole board, and for each score how many of them are strictly above it."""


class SharedCounts:
    """Counts above scores on one board, by `count`, which is given the scores of all who ask meanwhile, each once.

    A rank on a board of N parts would cost N calls; shared by k callers it costs each of them N/k. A count begins after
    all of its callers have asked, so nobody gets one from before.
    """

    def __init__(self, count: Callable[[Sequence[int]], Awaitable[Counts]]) -> None:
        self._count = count
        self._places: dict[int, int] = {}
        self._counting: asyncio.Task[Counts] | None = None

    async def above(self, score: int) -> tuple[int, int]:
        """Return the number of players, and of those strictly above `score`; raise the error of the count."""
        place = self._places.setdefault(score, len(self._places))
        if self._counting is None:
            self._counting = asyncio.create_task(self._run())
            self._counting.add_done_callback(_retrieve)
        total, above = await asyncio.shield(self._counting)
        return total, above[place]

    async def _run(self) -> Counts:
        # The first step of a task comes after everything that this turn of the loop has ready.
        scores, self._places, self._counting = list(self._places), {}, None
        return await self._count(scores)


def _retrieve(task: asyncio.Task[Counts]) -> None:
    """Take note of an error, also when every caller has gone."""
    if not task.cancelled():
        task.exception()
