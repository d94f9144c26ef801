"""Reads boards from Postgres while Redis is unavailable or being rebuilt, in the same order and with the same ranks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

from leaderboard_core.errors import Unavailable, UserNotFound
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_service.boards import selection
from leaderboard_service.boards.coalescing import RequestCoalescer
from leaderboard_service.boards.postgres_queries import RegionSnapshot
from leaderboard_service.boards.postgres_snapshots import BoardSnapshots
from leaderboard_service.boards.ranges import BoardRange, Position, as_score_range
from leaderboard_service.boards.ranking import (
    PagePart,
    RankedRow,
    Row,
    list_ranks,
    merge,
    neighbours,
    ranked,
    sum_counts,
)
from leaderboard_service.boards.results import ListRanks, Neighbourhood, Page, RankEntry

_LATE: Final = "Redis is away, and Postgres does not answer in time; try again shortly."

Answer = TypeVar("Answer")


class PostgresBoards:
    """Reads and merges the regions' databases, each one part of a board as a shard is in Redis.

    Identical reads share one, and only so many are under way in one database: the others are refused early.
    """

    def __init__(self, databases: RegionDatabases) -> None:
        self._databases = databases
        self._snapshots = BoardSnapshots(databases)
        self._coalescer: RequestCoalescer[Any] = RequestCoalescer()

    async def top(self, region: str, limit: int, offset: int) -> Page:
        """Do what RedisBoards.top does. Raises Unavailable."""
        return await self._share(("top", region, limit, offset), lambda: self._top(region, limit, offset))

    async def page(self, region: str, board_range: BoardRange, limit: int) -> Page:
        """Do what RedisBoards.page does. Raises Unavailable."""
        return await self._share(("page", region, board_range, limit), lambda: self._page(region, board_range, limit))

    async def ranks(self, region: str, user_ids: Sequence[str]) -> ListRanks:
        """Do what RedisBoards.ranks does. Raises Unavailable."""
        return await self._share(("ranks", region, tuple(user_ids)), lambda: self._ranks(region, user_ids))

    async def rank(self, region: str, user_id: str) -> RankEntry:
        """Do what RedisBoards.rank does. Raises UserNotFound or Unavailable."""
        return await self._share(("rank", region, user_id), lambda: self._rank(region, user_id))

    async def around(self, region: str, user_id: str, reach: int) -> Neighbourhood:
        """Do what RedisBoards.around does. Raises UserNotFound or Unavailable."""
        return await self._share(("around", region, user_id, reach), lambda: self._around(region, user_id, reach))

    async def close(self) -> None:
        """End the transactions that are held open between reads."""
        await self._snapshots.close()

    async def _share(self, key: Hashable, read: Callable[[], Awaitable[Answer]]) -> Answer:
        """Share one read with identical ones; no caller waits for longer than for a statement of any request."""

        async def bounded() -> Answer:
            async with asyncio.timeout(self._databases.timeout_seconds):
                return await read()

        try:
            async with asyncio.timeout(self._databases.timeout_seconds):
                answer: Answer = await self._coalescer.read(key, bounded)
        except TimeoutError as error:
            raise Unavailable(_LATE) from error
        return answer

    async def _top(self, region: str, limit: int, offset: int) -> Page:
        regions = self._regions(region)
        single = len(regions) == 1
        if single or selection.reads_from_top(offset, limit):
            first, skipped = (offset, 0) if single else (0, offset)
            # One row more than asked for tells whether more follow.
            parts = await self._in_each(regions, lambda part: part.top(first, skipped + limit + 1))
            return _first_page(parts, skipped, limit)

        # Snapshots are opened for each round anew: who held one while waiting for another could wait for ever.
        async def sample(after: Position, up_to: Position) -> Sequence[selection.Sample]:
            return await self._in_each(regions, lambda part: part.sample(after, up_to))

        async def read(after: Position, rows: int) -> Sequence[PagePart]:
            return await self._in_each(regions, lambda part: part.page(BoardRange(after=after), rows))

        return await selection.read_page(offset, limit, sample, read)

    async def _page(self, region: str, board_range: BoardRange, limit: int) -> Page:
        regions = self._regions(region)

        async def count_above(scores: Sequence[int]) -> tuple[int, list[int]]:
            async def count(part: RegionSnapshot) -> tuple[int, list[int]]:
                return part.total, await part.counts_above(scores)

            return sum_counts(await self._in_each(regions, count))

        if len(regions) > 1:
            board_range = await as_score_range(board_range, count_above)
        return _first_page(await self._in_each(regions, lambda part: part.page(board_range, limit + 1)), 0, limit)

    async def _ranks(self, region: str, user_ids: Sequence[str]) -> ListRanks:
        regions = self._regions(region)
        rows = [row for found in await self._in_each(regions, lambda part: part.players(user_ids)) for row in found]
        scores = sorted({row.score for row in rows})

        async def count(part: RegionSnapshot) -> tuple[int, dict[int, int]]:
            return part.total, dict(zip(scores, await part.counts_above(scores), strict=True))

        counts = await self._in_each(regions, count)
        listed = ranked(rows, [above for _, above in counts])
        total = sum(players for players, _ in counts)
        return ListRanks(total, list_ranks(listed, total))

    async def _rank(self, region: str, user_id: str) -> RankEntry:
        regions = self._regions(region)

        async def find(part: RegionSnapshot) -> tuple[Row, int, int] | None:
            player = await part.player(user_id)
            return None if player is None else (player, *await count(part, player.score))

        async def count(part: RegionSnapshot, score: int) -> tuple[int, int]:
            (above,) = await part.counts_above((score,))
            return part.total, above

        player, total, above = _the_one(await self._in_each(regions, find))
        others = [each for each in regions if each != player.region]
        for other_total, other_above in await self._in_each(others, lambda part: count(part, player.score)):
            total, above = total + other_total, above + other_above
        return RankEntry(total, RankedRow(above + 1, user_id, player.name, player.region, player.score))

    async def _around(self, region: str, user_id: str, reach: int) -> Neighbourhood:
        regions = self._regions(region)

        async def find(part: RegionSnapshot) -> tuple[Row, PagePart] | None:
            player = await part.player(user_id)
            return None if player is None else (player, await part.around(player, reach))

        player, home = _the_one(await self._in_each(regions, find))
        others = [each for each in regions if each != player.region]
        parts = [home, *await self._in_each(others, lambda part: part.around(player, reach))]
        own, above, below = neighbours(merge(parts), user_id, reach)
        return Neighbourhood(sum(part.total for part in parts), own, above + below)

    def _regions(self, region: str) -> tuple[str, ...]:
        return self._databases.regions if region == GLOBAL else (region,)

    async def _in_each(
        self, regions: Sequence[str], read: Callable[[RegionSnapshot], Awaitable[Answer]]
    ) -> list[Answer]:
        """Read the part of each region at once, each in one snapshot. Raises Unavailable."""

        async def read_one(region: str) -> Answer:
            async with self._snapshots.open(region) as part:
                return await read(part)

        return list(await asyncio.gather(*map(read_one, regions)))


def _first_page(parts: Sequence[PagePart], offset: int, limit: int) -> Page:
    """Merge parts of at least `offset + limit + 1` rows each, if there are so many, into one page."""
    rows = merge(parts)[offset:]
    return Page(sum(part.total for part in parts), rows[:limit], len(rows) > limit)


def _the_one(found: Sequence[Answer | None]) -> Answer:
    for answer in found:
        if answer is not None:
            return answer
    raise UserNotFound(found=False)
