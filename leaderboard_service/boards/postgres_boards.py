"""Reads of boards from Postgres, while Redis is away or being rebuilt: same order, same ranks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from itertools import accumulate
from typing import Any

import asyncpg

from leaderboard_core.errors import Unavailable, UserNotFound
from leaderboard_core.postgres import sql
from leaderboard_core.postgres.databases import CONNECTION_ERRORS, RegionDatabases
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_service.boards.ranges import BoardRange, as_score_range
from leaderboard_service.boards.ranking import RankedRow, Row, Window, merge, neighbours, ranked, standings, sum_counts
from leaderboard_service.boards.redis_boards import MERGED_DEPTH, Page, Place, Standings, Surroundings, first_page


class PostgresBoards:
    """Each region's database is one part of a board, as each shard is in Redis; the merge is the same."""

    def __init__(self, databases: RegionDatabases) -> None:
        self._databases = databases

    async def top(self, region: str, limit: int, offset: int) -> Page:
        """As RedisBoards.top. Raises Unavailable, for a deep page of the GLOBAL board too."""
        regions = self._regions(region)
        alone, depth = len(regions) == 1, offset + limit
        if not alone and depth > MERGED_DEPTH:
            raise Unavailable("So deep a page cannot be read while Redis is away; try again shortly.")
        windows = await asyncio.gather(
            *(self._top(part, limit if alone else depth, offset if alone else 0) for part in regions)
        )
        rows, total = merge(windows), sum(window.total for window in windows)
        return Page(total, rows if alone else rows[offset:depth], depth < total)

    async def page(self, region: str, board_range: BoardRange, limit: int) -> Page:
        """As RedisBoards.page. Raises Unavailable."""
        regions = self._regions(region)

        async def count_above(scores: Sequence[int]) -> tuple[int, list[int]]:
            return sum_counts(await asyncio.gather(*(self._counts_above(part, scores) for part in regions)))

        asked = await as_score_range(board_range, count_above)
        windows = await asyncio.gather(*(self._page(part, asked, limit) for part in regions))
        return first_page(windows, limit)

    async def ranks(self, region: str, user_ids: Sequence[str]) -> Standings:
        """As RedisBoards.ranks. Raises Unavailable."""
        regions = self._regions(region)
        rows = [
            row
            for found in await asyncio.gather(*(self._find_all(part, user_ids) for part in regions))
            for row in found
        ]
        scores = sorted({row.score for row in rows})
        counts = await asyncio.gather(*(self._counts_above(part, scores) for part in regions))
        total = sum(part for part, _ in counts)
        above = [dict(zip(scores, part, strict=True)) for _, part in counts]
        return Standings(total, standings(ranked(rows, above), total))

    async def rank(self, region: str, user_id: str) -> Place:
        """As RedisBoards.rank. Raises UserNotFound or Unavailable."""
        regions = self._regions(region)
        player = await self._player(regions, user_id)
        counts = await asyncio.gather(*(self._count_above(part, player.score) for part in regions))
        rank = 1 + sum(above for _, above in counts)
        row = RankedRow(rank, user_id, player.name, player.region, player.score)
        return Place(sum(total for total, _ in counts), row)

    async def around(self, region: str, user_id: str, reach: int) -> Surroundings:
        """As RedisBoards.around. Raises UserNotFound or Unavailable."""
        regions = self._regions(region)
        home = (await self._player(regions, user_id)).region
        # The player and its neighbours at home are of one moment; the score may have changed since it was found.
        player, window = await self._around_home(home, user_id, reach)
        others = await asyncio.gather(*(self._around(part, player, reach) for part in regions if part != home))
        windows = [window, *others]
        own, above, below = neighbours(merge(windows), user_id, reach)
        return Surroundings(sum(window.total for window in windows), own, above + below)

    def _regions(self, region: str) -> tuple[str, ...]:
        return self._databases.regions if region == GLOBAL else (region,)

    async def _player(self, regions: Iterable[str], user_id: str) -> Row:
        for row in await asyncio.gather(*(self._find(region, user_id) for region in regions)):
            if row is not None:
                return row
        raise UserNotFound(found=False)

    async def _find(self, region: str, user_id: str) -> Row | None:
        async with self._snapshot(region) as connection:
            row = await connection.fetchrow(sql.load("board_player"), region, user_id)
        return None if row is None else Row(*row)

    async def _find_all(self, region: str, user_ids: Sequence[str]) -> list[Row]:
        async with self._snapshot(region) as connection:
            return _rows(await connection.fetch(sql.load("board_players"), region, user_ids))

    async def _counts_above(self, region: str, scores: Sequence[int]) -> tuple[int, list[int]]:
        """Players of a region, and how many of them have more than each of `scores` (ascending), in one scan."""
        async with self._snapshot(region) as connection:
            total = await connection.fetchval(sql.load("board_count"), region)
            found = await connection.fetch(sql.load("board_counts_above"), region, scores) if scores else []
        between = [0] * len(scores)
        for place, players in found:
            between[place - 1] = players
        return total, list(accumulate(reversed(between)))[::-1]

    async def _page(self, region: str, board_range: BoardRange, limit: int) -> Window:
        boundary = board_range.start_boundary
        async with self._snapshot(region) as connection:
            total = await connection.fetchval(sql.load("board_count"), region)
            start = await connection.fetchval(sql.load("board_count_to"), region, *boundary)
            end = await connection.fetchval(sql.load("board_above_score"), region, board_range.lowest - 1)
            above_start = await connection.fetchval(sql.load("board_above_score"), region, boundary.score)
            rows = _rows(
                await connection.fetch(sql.load("board_rows_after"), region, *boundary, board_range.lowest, limit)
            )
            above = await self._above_first(connection, region, rows, start)
        return Window.of(total, start, above, rows, end, boundary.score, above_start)

    async def _count_above(self, region: str, score: int) -> tuple[int, int]:
        async with self._snapshot(region) as connection:
            total = await connection.fetchval(sql.load("board_count"), region)
            above = await connection.fetchval(sql.load("board_above_score"), region, score)
        return total, above

    async def _top(self, region: str, limit: int, offset: int) -> Window:
        async with self._snapshot(region) as connection:
            total = await connection.fetchval(sql.load("board_count"), region)
            rows = _rows(await connection.fetch(sql.load("board_top"), region, limit, offset))
            return Window.of(total, offset, await self._above_first(connection, region, rows, offset), rows)

    async def _around_home(self, region: str, user_id: str, reach: int) -> tuple[Row, Window]:
        async with self._snapshot(region) as connection:
            record = await connection.fetchrow(sql.load("board_player"), region, user_id)
            if record is None:
                raise UserNotFound(found=False)
            player = Row(*record)
            return player, await self._window(connection, region, player, reach)

    async def _around(self, region: str, player: Row, reach: int) -> Window:
        async with self._snapshot(region) as connection:
            return await self._window(connection, region, player, reach)

    async def _window(self, connection: Any, region: str, player: Row, reach: int) -> Window:
        place = (region, player.score, player.user_id)
        total = await connection.fetchval(sql.load("board_count"), region)
        before = await connection.fetchval(sql.load("board_count_before"), *place)
        above = _rows(await connection.fetch(sql.load("board_rows_before"), *place, reach))[::-1]
        rows = above + _rows(await connection.fetch(sql.load("board_rows_from"), *place, reach + 1))
        start = before - len(above)
        return Window.of(total, start, await self._above_first(connection, region, rows, start), rows)

    @staticmethod
    async def _above_first(connection: Any, region: str, rows: list[Row], start: int) -> int:
        if not rows or start == 0:
            return 0
        above: int = await connection.fetchval(sql.load("board_above_score"), region, rows[0].score)
        return above

    @asynccontextmanager
    async def _snapshot(self, region: str) -> AsyncIterator[Any]:
        """A connection whose statements all see the same moment. Raises Unavailable."""
        try:
            async with (
                asyncio.timeout(self._databases.timeout_seconds),
                self._databases[region].acquire() as connection,
                connection.transaction(isolation="repeatable_read", readonly=True),
            ):
                yield connection
        except (*CONNECTION_ERRORS, asyncpg.UndefinedTableError) as error:
            raise Unavailable("Neither Redis nor Postgres can be reached; try again shortly.") from error


def _rows(records: Iterable[Any]) -> list[Row]:
    return [Row(*record) for record in records]
