"""Take lines of several players at once, and those of one player in the order in which they stand in the file."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

from worker_service.importing.states import State

LANES: Final = 2
"""So many pages are at work at once: while one waits for Postgres, Redis works at the other one. More of them, or
larger ones, hold the user_ids of new players for longer, and gain little."""
_AHEAD: Final = 2
"""So many groups of pages are read behind the one that is waited for, which are in memory."""

Group = TypeVar("Group")
Result = TypeVar("Result")


async def in_lanes(
    groups: Iterable[Group],
    states_of: Callable[[Group], Iterable[State]],
    take: Callable[[Sequence[State]], Awaitable[Result]],
) -> AsyncGenerator[tuple[Group, list[Result]], None]:
    """Take the states of groups, a page a lane of each; yield the groups in their order, as they are done.

    A player is always in the same lane, in which one page is taken behind the other: no two pages that are at work have
    lines of the same player. Raises what `take` raises; nothing of that lane is taken behind it.
    """
    under_way: deque[tuple[Group, list[asyncio.Task[Result]]]] = deque()
    last: dict[int, asyncio.Task[Result]] = {}

    async def behind(before: asyncio.Task[Result] | None, page: Sequence[State]) -> Result:
        if before is not None:
            await before
        return await take(page)

    try:
        for group in groups:
            pages: dict[int, list[State]] = {}
            for state in states_of(group):
                pages.setdefault(hash(state.user_id) % LANES, []).append(state)
            for lane, page in pages.items():
                last[lane] = asyncio.create_task(behind(last.get(lane), page))
            under_way.append((group, [last[lane] for lane in pages]))
            await asyncio.sleep(0)  # they begin before the next group is read
            if len(under_way) > _AHEAD:
                yield await _done(under_way)
        while under_way:
            yield await _done(under_way)
    finally:
        left = [task for _, tasks in under_way for task in tasks]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _done(under_way: deque[tuple[Group, list[asyncio.Task[Result]]]]) -> tuple[Group, list[Result]]:
    group, tasks = under_way[0]
    results = [await task for task in tasks]
    under_way.popleft()
    return group, results
