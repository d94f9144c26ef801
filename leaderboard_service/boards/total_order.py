"""Reads of boards where who reached a score first stands higher: no two ranks are equal there, a rank is a position."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard_core.boards import Place
from leaderboard_service.boards.ranges import BoardRange
from leaderboard_service.boards.ranking import ListRank, RankedRow, new_row, percentile
from leaderboard_service.boards.results import ListRanks, Neighbourhood, Page, RankEntry
from leaderboard_service.boards.source import BoardSource


class ByPosition:
    """A store's reads with positions for ranks, of which the store need not know; they raise what its reads do."""

    def __init__(self, store: BoardSource) -> None:
        self._store = store

    async def top(self, place: Place, limit: int, offset: int, *, metadata: bool = False) -> Page:
        total, rows, more, texts = await self._store.top(place, limit, offset, metadata=metadata)
        return Page(total, _by_position(rows), more, texts)

    async def page(self, place: Place, board_range: BoardRange, limit: int, *, metadata: bool = False) -> Page:
        """Read a page of a range; one between two ranks is read by its offset, or after its cursor."""
        if not board_range.by_rank:
            page = await self._store.page(place, board_range, limit, metadata=metadata)
            return page._replace(rows=_by_position(page.rows))
        first, last = board_range.first or 1, board_range.last
        if board_range.after is None:
            most = limit if last is None else min(limit, last - first + 1)
            page = await self._store.top(place, most, first - 1, metadata=metadata)
        else:
            page = await self._store.page(place, BoardRange(after=board_range.after), limit, metadata=metadata)
        inside = (row for row in page.rows if row.position >= first and (last is None or row.position <= last))
        rows = _by_position(list(inside))
        ended = last is not None and (not rows or rows[-1].position >= last)
        return page._replace(rows=rows, more=page.more and not ended)

    async def rank(self, place: Place, user_id: str, *, metadata: bool = False) -> RankEntry:
        total, row, texts = await self._store.rank(place, user_id, metadata=metadata)
        return RankEntry(total, _own(row), texts)

    async def ranks(self, place: Place, user_ids: Sequence[str], *, metadata: bool = False) -> ListRanks:
        found = await self._store.ranks(place, user_ids, metadata=metadata)
        rows = _by_position([one.row for one in found.rows])
        return found._replace(
            rows=[ListRank(number, percentile(row.rank, found.total), row) for number, row in enumerate(rows, 1)]
        )

    async def around(self, place: Place, user_id: str, reach: int, *, metadata: bool = False) -> Neighbourhood:
        total, row, around, texts = await self._store.around(place, user_id, reach, metadata=metadata)
        return Neighbourhood(total, _own(row), _by_position(around), texts)


def _own(row: RankedRow) -> RankedRow:
    return row if row[0] == row[1] else new_row((row[1], *row[1:]))


def _by_position(rows: list[RankedRow]) -> list[RankedRow]:
    for row in rows:
        if row[0] != row[1]:
            return list(map(_own, rows))
    return rows  # most pages: only rows of equal scores change
