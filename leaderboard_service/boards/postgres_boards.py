"""Reads boards from Postgres while Redis is unavailable or being rebuilt, in the same order and with the same ranks."""

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
from leaderboard_service.boards.results import MERGED_DEPTH, ListRanks, Neighbourhood, Page, RankEntry, first_page


class PostgresBoards:
    """Reads and merges the regions' databases, each one part of a board as a shard is in Redis."""

    def __init__(self, databases: RegionDatabases) -> None:
        self._databases = databases

    async def top(self, region: str, limit: int, offset: int) -> Page:
        """Do what RedisBoards.top does. Raises Unavailable, for a deep page of the GLOBAL board too."""
        regions = self._regions(region)
        single, depth = len(regions) == 1, offset + limit
        if not single and depth > MERGED_DEPTH:
            raise Unavailable("So deep a page cannot be read while Redis is away; try again shortly.")
        parts = await asyncio.gather(
            *(self._top(each, limit if single else depth, offset if single else 0) for each in regions)
        )
        rows, total = merge(parts), sum(part.total for part in parts)
        return Page(total, rows if single else rows[offset:depth], depth < total)

    async def page(self, region: str, board_range: BoardRange, limit: int) -> Page:
        """Do what RedisBoards.page does. Raises Unavailable."""
        regions = self._regions(region)

        async def count_above(scores: Sequence[int]) -> tuple[int, list[int]]:
            return sum_counts(await asyncio.gather(*(self._counts_above(each, scores) for each in regions)))

        by_score = await as_score_range(board_range, count_above)
        parts = await asyncio.gather(*(self._page(each, by_score, limit) for each in regions))
        return first_page(parts, limit)

    async def ranks(self, region: str, user_ids: Sequence[str]) -> ListRanks:
        """Do what RedisBoards.ranks does. Raises Unavailable."""
        regions = self._regions(region)
        rows = [
            row
            for found in await asyncio.gather(*(self._find_all(each, user_ids) for each in regions))
            for row in found
        ]
        scores = sorted({row.score for row in rows})
        counts = await asyncio.gather(*(self._counts_above(each, scores) for each in regions))
        total = sum(players for players, _ in counts)
        above_by_score = [dict(zip(scores, above, strict=True)) for _, above in counts]
        return ListRanks(total, list_ranks(ranked(rows, above_by_score), total))

    async def rank(self, region: str, user_id: str) -> RankEntry:
        """Do what RedisBoards.rank does. Raises UserNotFound or Unavailable."""
        regions = self._regions(region)
        player = await self._player(regions, user_id)
        counts = await asyncio.gather(*(self._count_above(each, player.score) for each in regions))
        rank = 1 + sum(above for _, above in counts)
        row = RankedRow(rank, user_id, player.name, player.region, player.score)
        return RankEntry(sum(total for total, _ in counts), row)

    async def around(self, region: str, user_id: str, reach: int) -> Neighbourhood:
        """Do what RedisBoards.around does. Raises UserNotFound or Unavailable."""
        regions = self._regions(region)
        home = (await self._player(regions, user_id)).region
        # The player and its neighbours at home are of one moment; the score may have changed since it was found.
        player, part = await self._around_home(home, user_id, reach)
        others = await asyncio.gather(*(self._around(each, player, reach) for each in regions if each != home))
        parts = [part, *others]
        own, above, below = neighbours(merge(parts), user_id, reach)
        return Neighbourhood(sum(part.total for part in parts), own, above + below)

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
        """Count a region's players, and those with more than each of `scores` (ascending), in one scan."""
        async with self._snapshot(region) as connection:
            total = await connection.fetchval(sql.load("board_count"), region)
            found = await connection.fetch(sql.load("board_counts_above"), region, scores) if scores else []
        between = [0] * len(scores)
        for number, players in found:
            between[number - 1] = players
        return total, list(accumulate(reversed(between)))[::-1]

    async def _page(self, region: str, board_range: BoardRange, limit: int) -> PagePart:
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
        return PagePart.of(total, start, above, rows, end, boundary.score, above_start)

    async def _count_above(self, region: str, score: int) -> tuple[int, int]:
        async with self._snapshot(region) as connection:
            total = await connection.fetchval(sql.load("board_count"), region)
            above = await connection.fetchval(sql.load("board_above_score"), region, score)
        return total, above

    async def _top(self, region: str, limit: int, offset: int) -> PagePart:
        async with self._snapshot(region) as connection:
            total = await connection.fetchval(sql.load("board_count"), region)
            rows = _rows(await connection.fetch(sql.load("board_top"), region, limit, offset))
            return PagePart.of(total, offset, await self._above_first(connection, region, rows, offset), rows)

    async def _around_home(self, region: str, user_id: str, reach: int) -> tuple[Row, PagePart]:
        async with self._snapshot(region) as connection:
            record = await connection.fetchrow(sql.load("board_player"), region, user_id)
            if record is None:
                raise UserNotFound(found=False)
            player = Row(*record)
            return player, await self._rows_around(connection, region, player, reach)

    async def _around(self, region: str, player: Row, reach: int) -> PagePart:
        async with self._snapshot(region) as connection:
            return await self._rows_around(connection, region, player, reach)

    async def _rows_around(self, connection: Any, region: str, player: Row, reach: int) -> PagePart:
        position = (region, player.score, player.user_id)
        total = await connection.fetchval(sql.load("board_count"), region)
        before = await connection.fetchval(sql.load("board_count_before"), *position)
        above = _rows(await connection.fetch(sql.load("board_rows_before"), *position, reach))[::-1]
        rows = above + _rows(await connection.fetch(sql.load("board_rows_from"), *position, reach + 1))
        start = before - len(above)
        return PagePart.of(total, start, await self._above_first(connection, region, rows, start), rows)

    @staticmethod
    async def _above_first(connection: Any, region: str, rows: list[Row], start: int) -> int:
        if not rows or start == 0:
            return 0
        above: int = await connection.fetchval(sql.load("board_above_score"), region, rows[0].score)
        return above

    @asynccontextmanager
    async def _snapshot(self, region: str) -> AsyncIterator[Any]:
        """Lend a connection whose statements all see one snapshot. Raises Unavailable."""
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
