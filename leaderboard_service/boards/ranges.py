"""Ranges of a board: by key, by rank, or after a point, in terms that each part of a board can answer."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from leaderboard_core.settings import MAX_EXACT_INTEGER

_PIVOTS = 255
_FIRST_PIVOTS = sorted({0, *(sign * 2**power for power in range(53) for sign in (1, -1))})
"""Most keys are small: the first step finds their magnitude, and saves half of the others."""

CountAbove = Callable[[Sequence[int]], Awaitable[tuple[int, list[int]]]]
"""Counts the players of a whole board, and for each of these keys those with a strictly greater one."""


class Point(NamedTuple):
    """A point in board order, by key and member (`Board`); an empty member is behind every player of that key."""

    key: int
    member: str

    @property
    def order(self) -> tuple[int, bytes]:
        """Return the sort key, greatest first, as board_order does for rows."""
        return self.key, self.member.encode()


START = Point(MAX_EXACT_INTEGER + 1, "")
"""Before every row."""
END = Point(-MAX_EXACT_INTEGER - 1, "")
"""Behind every row."""


@dataclass(frozen=True, slots=True)
class BoardRange:
    """The rows with keys `low` to `high` or ranks `first` to `last`, inclusive, after the point `after`.

    None stands for no bound.
    """

    high: int | None = None
    low: int | None = None
    first: int | None = None
    last: int | None = None
    after: Point | None = None

    @property
    def by_rank(self) -> bool:
        return self.first is not None or self.last is not None

    @property
    def start_boundary(self) -> Point:
        """Return the point after which the range begins, ranks aside."""
        beyond = Point((MAX_EXACT_INTEGER if self.high is None else self.high) + 1, "")
        if self.after is None:
            return beyond
        return min(beyond, self.after, key=lambda point: point.order)

    @property
    def lowest(self) -> int:
        return -MAX_EXACT_INTEGER if self.low is None else self.low


async def as_key_range(board_range: BoardRange, count_above: CountAbove) -> BoardRange:
    """Turn a range by rank into one by key, for a board in parts.

    Players of one key share a rank, so that ranks and keys bound the same rows.
    """
    if not board_range.by_rank:
        return board_range
    total, _ = await count_above([])
    first = (board_range.first or 1) - 1
    if first >= total:
        return replace(board_range, high=-MAX_EXACT_INTEGER - 1, first=None, last=None)
    last = min(board_range.last or total, total) - 1
    low, high = await asyncio.gather(_bound(last, total - 1, count_above), _bound(first, 0, count_above))
    if high is not None:
        _, (above,) = await count_above([high])
        if above != first:
            high -= 1  # the players of that key have a better rank
    return replace(board_range, high=high, low=low, first=None, last=None)


async def _bound(index: int, end: int, count_above: CountAbove) -> int | None:
    return None if index == end else await key_at(index, count_above)


async def key_at(index: int, count_above: CountAbove) -> int:
    """Find the key of the row with `index` rows before it: the least one that at most `index` players exceed.

    Searches by counts alone, however the players are spread over the parts of the board: in some four steps for
    keys up to a million, eight at most, whatever the number of players.
    """
    low, high = -MAX_EXACT_INTEGER, MAX_EXACT_INTEGER
    pivots: Sequence[int] = _FIRST_PIVOTS
    while low < high:
        _, above = await count_above(pivots)
        met = bisect_left(above, -index, key=lambda count: -count)
        low, high = (pivots[met - 1] + 1 if met else low), (pivots[met] if met < len(pivots) else high)
        step = -(-(high - low) // (_PIVOTS + 1))
        pivots = range(low + step - 1, high, step) if step else ()
    return low
