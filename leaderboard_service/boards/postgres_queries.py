"""Reads one region's part of a board from a snapshot of its database."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import starmap
from typing import Any

from leaderboard_core.boards import Place
from leaderboard_core.postgres import sql
from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.boards.ranges import END, START, BoardRange, Point
from leaderboard_service.boards.ranking import NO_METADATA, Counts, Metadata, PagePart, Row
from leaderboard_service.boards.selection import SAMPLES, Sample
from leaderboard_service.boards.sparse_index import STRIDE, SparseIndex, in_board_order, sum_pieces

_MARKS_PER_STATEMENT = 20
"""20,000 rows: a statement ends long before the time-out, also when each row has to be looked up in the table."""
_SLOW_SECONDS_PER_ROW = 3e-6
"""From here on sorting the whole table is faster: the index alone takes a tenth of that, looking up rows much more."""
_SORT_SECONDS = 120.0
_ROWS_SAMPLED = 4 * STRIDE
"""Of so many rows at most samples are taken from the table; of more from the marks, of which there are some then."""


class RegionSnapshot:
    """A region's part of the boards, as the transaction of `connection` sees it and as it was when `index` was read."""

    def __init__(self, connection: Any, place: Place, index: SparseIndex) -> None:
        self._connection = connection
        self._place = place
        self._index = index

    @property
    def total(self) -> int:
        return self._index.total

    async def player(self, user_id: str) -> Row | None:
        rows = await self.players((user_id,))
        return rows[0] if rows else None

    async def players(self, user_ids: Sequence[str]) -> list[Row]:
        return _rows(await _fetch(self._connection, "board_players", self._place, user_ids))

    async def look_for(self, user_id: str) -> tuple[bool, int]:
        """Say whether the player is of this region, on the board or not, and how many are on its part."""
        return bool(await self._connection.fetch(sql.load("players_known"), [user_id])), self.total

    async def metadata_of(self, members: Sequence[str], *, wanted: bool) -> Metadata:
        """Return the metadata of those that have any, nothing where it is not wanted."""
        if not wanted or not members:
            return NO_METADATA
        user_ids = list(map(self._place.board.user_id_of, members))
        return dict(await _fetch(self._connection, "board_metadata", self._place, user_ids))

    async def counts_above(self, keys: Sequence[int]) -> list[int]:
        """Count the players with a greater key than each of these."""
        before = await self.rows_before(*map(_ties, keys))
        return [before[_ties(key)] for key in keys]

    async def counts(self, points: Sequence[Point]) -> list[Counts]:
        """Count the players above and before each of some points."""
        before = await self.rows_before(*points, *(_ties(point.key) for point in points))
        return [Counts(before[_ties(point.key)], before[point]) for point in points]

    async def top(self, offset: int, limit: int) -> PagePart:
        """Read `limit` rows after the first `offset`."""
        place = await self._place_at(offset) if offset else START
        rows = [] if place is None else _rows(await self._fetch("board_rows_from", place, limit))
        above = (await self.counts_above((rows[0].key,)))[0] if rows and offset else 0
        return self._part(rows, offset, above)

    async def page(self, board_range: BoardRange, limit: int) -> PagePart:
        """Read the first `limit` rows of a range."""
        if board_range.by_rank:
            board_range = await self._by_key(board_range)
        boundary, lowest = board_range.start_boundary, Point(board_range.lowest, "")
        rows = _rows(await self._fetch("board_rows_after", boundary, lowest.key, limit))
        # Without a row in the range, those before it are those of all greater keys.
        first, ties = (_point(rows[0]), _ties(rows[0].key)) if rows else (lowest, lowest)
        before = await self.rows_before(_ties(boundary.key), ties, first)
        return self._part(rows, before[first], before[ties], boundary.key, before[_ties(boundary.key)])

    async def sample(self, after: Point, up_to: Point) -> Sample:
        """Sample the rows after one point, up to and with another, by marks where there are some between them."""
        before = await self.rows_before(after, up_to)
        user_ids = list(map(self._place.board.user_id_of, (after.member, up_to.member)))
        here = set(map(_point, await self.players(user_ids)))
        low = before[after] + (after in here)
        high = max(low, before[up_to] + (up_to in here))
        if high - low > _ROWS_SAMPLED:
            return Sample(self.total, low, high, self._index.marks_between(low, high, SAMPLES))
        stride = max(1, -(-(high - low) // SAMPLES))
        rows = await self._fetch("board_marks", after, stride, (high - low) // stride)
        counts = range(low + stride, high + 1, stride)
        return Sample(self.total, low, high, list(zip(starmap(Point, rows), counts, strict=True)))

    async def around(self, player: Row, reach: int) -> PagePart:
        """Read up to `reach` rows above and below the place of a player, who may be another region's, and its own."""
        place = _point(player)
        rows = _rows(await self._fetch("board_rows_before", place, reach))[::-1]
        rows += _rows(await self._fetch("board_rows_from", place, reach + 1))
        if not rows:
            return self._part(rows, 0, 0)
        first, ties = _point(rows[0]), _ties(rows[0].key)
        before = await self.rows_before(ties, first)
        return self._part(rows, before[first], before[ties])

    async def _by_key(self, board_range: BoardRange) -> BoardRange:
        """Turn a range by rank into one by key: players of one key share a rank."""
        high = low = None
        if board_range.first is not None:
            first = board_range.first - 1
            place = await self._place_at(first)
            if place is None:
                high = -MAX_EXACT_INTEGER - 1  # the board ends before: no row
            elif (await self.counts_above((place.key,)))[0] == first:
                high = place.key
            else:
                high = place.key - 1  # the players of that key have a better rank
        if board_range.last is not None and (place := await self._place_at(board_range.last - 1)) is not None:
            low = place.key
        return replace(board_range, high=high, low=low, first=None, last=None)

    async def _place_at(self, offset: int) -> Point | None:
        mark, skipped = self._index.offset_from_mark(offset)
        found = await self._fetch("board_place", mark, skipped)
        return Point(*found[0]) if found else None

    async def rows_before(self, *points: Point) -> dict[Point, int]:
        """Count the rows before each point, in one statement."""
        pieces = self._index.pieces(in_board_order(points))
        if not pieces:
            return {}
        counts = await _fetch(
            self._connection,
            "board_counts_between",
            self._place,
            [piece.start.key for piece in pieces],
            [piece.start.member for piece in pieces],
            [piece.end.key for piece in pieces],
            [piece.end.member for piece in pieces],
        )
        return sum_pieces(pieces, [count for (count,) in counts])

    async def _fetch(self, statement: str, point: Point, *arguments: int) -> Any:
        return await _fetch(self._connection, statement, self._place, *point, *arguments)

    def _part(
        self, rows: Sequence[Row], start: int, above: int, start_key: int | None = None, above_start: int = 0
    ) -> PagePart:
        return PagePart.of(self.total, start, above, rows, start_key=start_key, above_start=above_start)


async def read_index(
    connection: Any, place: Place, version: str | None, slow_seconds_per_row: float = _SLOW_SECONDS_PER_ROW
) -> SparseIndex:
    """Read the index of a region's part of a board in one pass over it, in a transaction that sees that version.

    Reads the B-tree; where that is slow, because many rows were changed since the last vacuum, sorts the table instead.
    """
    marks: list[Point] = []
    more, seconds = True, 0.0
    while more and seconds <= slow_seconds_per_row * STRIDE * _MARKS_PER_STATEMENT:
        last, started = marks[-1] if marks else START, time.perf_counter()
        found = await _fetch(connection, "board_marks", place, *last, STRIDE, _MARKS_PER_STATEMENT)
        # The first statement is prepared too, and may have waited for a lock.
        seconds = time.perf_counter() - started if marks else 0.0
        marks += [Point(*record) for record in found]
        more = len(found) == _MARKS_PER_STATEMENT
    if more:
        found = await _fetch(connection, "board_marks_sorted", place, STRIDE, timeout=_SORT_SECONDS)
        marks = [Point(*record) for record in found]
    (total,) = (await RegionSnapshot(connection, place, SparseIndex(version, 0, marks)).rows_before(END)).values()
    return SparseIndex(version, total, marks)


async def _fetch(
    connection: Any, statement: str, place: Place, *arguments: object, timeout: float | None = None
) -> Any:
    """Ask for rows of a region's part of a board."""
    text = sql.load_over("rows_of_main" if place.is_default else "rows_of_entries", statement)
    where = (place.region, place.board.id, place.window)
    return await connection.fetch(text, *where, *arguments, timeout=timeout)


def _point(row: Row) -> Point:
    return Point(row.key, row.member)


def _ties(key: int) -> Point:
    """Return the point before the players of a key, behind those with a greater one."""
    return Point(key + 1, "")


def _rows(records: Iterable[Any]) -> list[Row]:
    return [Row(*record) for record in records]
