"""Reads boards from Postgres while Redis is unavailable or being rebuilt, in the same order and with the same ranks."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, TypeVar

from leaderboard_core.boards import Place
from leaderboard_core.errors import NoEntry, Unavailable, UserNotFound
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import GLOBAL
from leaderboard_service.boards import selection
from leaderboard_service.boards.coalescing import RequestCoalescer
from leaderboard_service.boards.postgres_queries import RegionSnapshot
from leaderboard_service.boards.postgres_snapshots import BoardSnapshots
from leaderboard_service.boards.ranges import BoardRange, Point, as_key_range
from leaderboard_service.boards.ranking import (
    Counts,
    Metadata,
    PagePart,
    Row,
    all_metadata,
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

    async def top(self, place: Place, limit: int, offset: int, *, metadata: bool = False) -> Page:
        """Do what RedisBoards.top does. Raises Unavailable."""
        asked = ("top", place.name, limit, offset, metadata)
        return await self._share(asked, lambda: self._top(place, limit, offset, metadata))

    async def page(self, place: Place, board_range: BoardRange, limit: int, *, metadata: bool = False) -> Page:
        """Do what RedisBoards.page does. Raises Unavailable."""
        asked = ("page", place.name, board_range, limit, metadata)
        return await self._share(asked, lambda: self._page(place, board_range, limit, metadata))

    async def ranks(self, place: Place, user_ids: Sequence[str], *, metadata: bool = False) -> ListRanks:
        """Do what RedisBoards.ranks does. Raises Unavailable."""
        asked = ("ranks", place.name, tuple(user_ids), metadata)
        return await self._share(asked, lambda: self._ranks(place, user_ids, metadata))

    async def rank(self, place: Place, user_id: str, *, metadata: bool = False) -> RankEntry:
        """Do what RedisBoards.rank does. Raises UserNotFound, NoEntry or Unavailable."""
        asked = ("rank", place.name, user_id, metadata)
        return await self._share(asked, lambda: self._rank(place, user_id, metadata))

    async def around(self, place: Place, user_id: str, reach: int, *, metadata: bool = False) -> Neighbourhood:
        """Do what RedisBoards.around does. Raises UserNotFound, NoEntry or Unavailable."""
        asked = ("around", place.name, user_id, reach, metadata)
        return await self._share(asked, lambda: self._around(place, user_id, reach, metadata))

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

    async def _top(self, place: Place, limit: int, offset: int, metadata: bool) -> Page:
        regions = self._regions(place.region)
        single = len(regions) == 1
        if single or selection.reads_from_top(offset, limit):
            first, skipped = (offset, 0) if single else (0, offset)
            # One row more than asked for tells whether more follow.

            async def read_top(part: RegionSnapshot) -> PagePart:
                return await _in_full(part, await part.top(first, skipped + limit + 1), metadata)

            return _first_page(await self._in_each(place, regions, read_top), skipped, limit)

        # Snapshots are opened for each round anew: who held one while waiting for another could wait for ever.
        async def sample(after: Point, up_to: Point) -> Sequence[selection.Sample]:
            return await self._in_each(place, regions, lambda part: part.sample(after, up_to))

        async def read(after: Point, rows: int) -> Sequence[PagePart]:
            async def read_page(part: RegionSnapshot) -> PagePart:
                return await _in_full(part, await part.page(BoardRange(after=after), rows), metadata)

            return await self._in_each(place, regions, read_page)

        return await selection.read_page(offset, limit, sample, read)

    async def _page(self, place: Place, board_range: BoardRange, limit: int, metadata: bool) -> Page:
        regions = self._regions(place.region)

        async def count_above(keys: Sequence[int]) -> tuple[int, list[int]]:
            async def count(part: RegionSnapshot) -> tuple[int, list[int]]:
                return part.total, await part.counts_above(keys)

            return sum_counts(await self._in_each(place, regions, count))

        if len(regions) > 1:
            board_range = await as_key_range(board_range, count_above)

        async def read(part: RegionSnapshot) -> PagePart:
            return await _in_full(part, await part.page(board_range, limit + 1), metadata)

        return _first_page(await self._in_each(place, regions, read), 0, limit)

    async def _ranks(self, place: Place, user_ids: Sequence[str], metadata: bool) -> ListRanks:
        regions = self._regions(place.region)

        async def find(part: RegionSnapshot) -> tuple[list[Row], Metadata]:
            here = await part.players(user_ids)
            return here, await part.metadata_of([row.member for row in here], wanted=metadata)

        found = await self._in_each(place, regions, find)
        rows = [row for here, _ in found for row in here]
        texts = {member: text for _, here in found for member, text in here.items()}
        points = [Point(row.key, row.member) for row in rows]

        async def count(part: RegionSnapshot) -> tuple[int, list[Counts]]:
            return part.total, await part.counts(points)

        counted = await self._in_each(place, regions, count)
        total = sum(players for players, _ in counted)
        counts = zip(*(each for _, each in counted), strict=True)
        return ListRanks(total, list_ranks(list(map(ranked, rows, counts)), total), texts)

    async def _rank(self, place: Place, user_id: str, metadata: bool) -> RankEntry:
        regions = self._regions(place.region)

        async def find(part: RegionSnapshot) -> tuple[Row, tuple[int, Counts], Metadata] | None:
            player = await part.player(user_id)
            if player is None:
                return None
            return player, await count(part, player), await part.metadata_of((player.member,), wanted=metadata)

        async def count(part: RegionSnapshot, player: Row) -> tuple[int, Counts]:
            (counts,) = await part.counts((Point(player.key, player.member),))
            return part.total, counts

        player, own, texts = await self._the_one(place, user_id, await self._in_each(place, regions, find))
        others = [each for each in regions if each != player.region]
        counted = [own, *await self._in_each(place, others, lambda part: count(part, player))]
        return RankEntry(sum(total for total, _ in counted), ranked(player, (counts for _, counts in counted)), texts)

    async def _around(self, place: Place, user_id: str, reach: int, metadata: bool) -> Neighbourhood:
        regions = self._regions(place.region)

        async def find(part: RegionSnapshot) -> tuple[Row, PagePart] | None:
            player = await part.player(user_id)
            return None if player is None else (player, await read(part, player))

        async def read(part: RegionSnapshot, player: Row) -> PagePart:
            return await _in_full(part, await part.around(player, reach), metadata)

        player, home = await self._the_one(place, user_id, await self._in_each(place, regions, find))
        others = [each for each in regions if each != player.region]
        parts = [home, *await self._in_each(place, others, lambda part: read(part, player))]
        own, above, below = neighbours(merge(parts), player.member, reach)
        return Neighbourhood(sum(part.total for part in parts), own, above + below, all_metadata(parts))

    async def _the_one(self, place: Place, user_id: str, found: Sequence[Answer | None]) -> Answer:
        """Return what one region has found of a player. Raises UserNotFound and NoEntry."""
        for answer in found:
            if answer is not None:
                return answer
        if not place.is_default:  # which every player is on
            everywhere = self._regions(GLOBAL)
            looked = await self._in_each(place, everywhere, lambda part: part.look_for(user_id))
            if any(known for known, _ in looked):
                here = self._regions(place.region)
                totals = (total for region, (_, total) in zip(everywhere, looked, strict=True) if region in here)
                raise NoEntry(found=False, total=sum(totals))
        raise UserNotFound(found=False)

    def _regions(self, region: str) -> tuple[str, ...]:
        return self._databases.regions if region == GLOBAL else (region,)

    async def _in_each(
        self, place: Place, regions: Sequence[str], read: Callable[[RegionSnapshot], Awaitable[Answer]]
    ) -> list[Answer]:
        """Read the part of each region at once, each in one snapshot. Raises Unavailable."""

        async def read_one(region: str) -> Answer:
            async with self._snapshots.open(place.in_region(region)) as part:
                return await read(part)

        return list(await asyncio.gather(*map(read_one, regions)))


def _first_page(parts: Sequence[PagePart], offset: int, limit: int) -> Page:
    """Merge parts of at least `offset + limit + 1` rows each, if there are so many, into one page."""
    rows = merge(parts)[offset:]
    return Page(sum(part.total for part in parts), rows[:limit], len(rows) > limit, all_metadata(parts))


async def _in_full(snapshot: RegionSnapshot, part: PagePart, metadata: bool) -> PagePart:
    return part._replace(metadata=await snapshot.metadata_of(part.members, wanted=True)) if metadata else part
