"""Finds the page after any number of rows of a board in parts, by a few samples of each part and not all rows before.

The parts are sorted, and the row with `offset` others before it is wanted: multi-sequence selection (Varman, Scheufler,
Iyer and Ricard, "Merging multiple lists on hierarchical-memory multiprocessors", J. Parallel and Distributed Computing
12, 1991). What costs is the round trip, so that a part sends regular samples instead of one pivot (Shi and Schaeffer,
"Parallel sorting by regular sampling", the same, 14, 1992). In each round all parts at once sample their rows
between two points. How many of a part's rows are before another part's sample is bounded by its own samples around
it; the sums of these bounds put two closer points around the row. Of n rows between them at most 2n/SAMPLES + 1 are
left, however the players are spread over the parts: log(n) / log(SAMPLES/2) rounds.

Found is not the row, but a point a few rows before it. The rows of each part after that, read last and in one round
trip, come with how many are before them, so that the page begins at the right row although players moved meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from leaderboard_service.boards.ranges import END, START, Point
from leaderboard_service.boards.ranking import PagePart, all_metadata, merge
from leaderboard_service.boards.results import Page

SAMPLES = 32
"""Samples of a part in one round: about a kilobyte, and a sixteenth of the rows is left."""
MOST_ROUNDS = 12
"""No board needs more than eight; the rest is for players who move while it is being searched."""


class Sample(NamedTuple):
    """Rows of one part of a board between two points, in board order, each with the rows at and before it.

    The part has `total` rows, `low` at and before the first point, and `high` at and before the second.
    """

    total: int
    low: int
    high: int
    rows: Sequence[tuple[Point, int]]


class Bounds(NamedTuple):
    """Two points around the row that is looked for; at least `low` rows are at and before the first."""

    lower: Point = START
    upper: Point = END
    low: int = 0


TakeSamples = Callable[[Point, Point], Awaitable[Sequence[Sample]]]
"""Samples each part after the first point, up to and with the second."""
ReadAfter = Callable[[Point, int], Awaitable[Sequence[PagePart]]]
"""Reads so many rows of each part after a point."""


def reads_from_top(offset: int, limit: int) -> bool:
    """Whether to read all rows before a page too is cheaper than to search."""
    return offset <= limit + 100


async def read_page(offset: int, limit: int, sample: TakeSamples, read: ReadAfter) -> Page:
    """Read the page of `limit` rows after `offset` others, in at most 2 * MOST_ROUNDS + 1 round trips.

    The page is exact as of the last round trip. Only where so many players move across its beginning, within each round
    trip again, that MOST_ROUNDS rounds do not find it, it is as close as that.
    """
    margin = max(8, limit // 8)
    spare = 3 * margin
    bounds = Bounds()
    for _ in range(MOST_ROUNDS):
        samples = await sample(bounds.lower, bounds.upper)
        total = sum(part.total for part in samples)
        if offset >= total:
            return Page(total, [], False)
        bounds = narrow(bounds, samples, max(0, offset - margin), offset)
        if offset - bounds.low <= 2 * margin:
            parts = await read(bounds.lower, limit + spare)
            if 0 <= offset - _start(parts) <= spare:
                return _cut(parts, offset, limit, spare)
    # A bound that was given up last was close.
    closest = bounds.upper if bounds.lower == START else bounds.lower
    return _cut(await read(closest, limit + spare), offset, limit, spare)


def narrow(bounds: Bounds, samples: Sequence[Sample], aim: int, latest: int) -> Bounds:
    """Put bounds closer around the place that `aim` rows are at and before, from samples of all parts between them.

    A bound that players have moved across since it was found is given up where that matters: a lower one that now has
    more than `latest` rows at and before it, an upper one with no more than `aim`.
    """
    low, high = sum(part.low for part in samples), sum(part.high for part in samples)
    if low > latest:
        return Bounds(START, bounds.lower)
    if high <= aim:
        return Bounds(bounds.upper, END, high)
    lower, upper, at_least = bounds.lower, bounds.upper, low
    # For each part, how many of its rows are at least and at most at and before the sample that is being looked at.
    least = [part.low for part in samples]
    most = [[*(count - 1 for _, count in part.rows), part.high] for part in samples]
    passed = [0] * len(samples)
    at_most = sum(each[0] for each in most)
    for point, number, count in sorted(
        ((point, number, count) for number, part in enumerate(samples) for point, count in part.rows),
        key=lambda row: row[0].order,
        reverse=True,
    ):
        low += count - least[number]
        least[number] = count
        at_most += most[number][passed[number] + 1] - most[number][passed[number]]
        passed[number] += 1
        if at_most <= aim:
            lower, at_least = point, low
        elif low > aim:
            upper = point
            break
    return Bounds(lower, upper, at_least)


def _start(parts: Sequence[PagePart]) -> int:
    return sum(part.start for part in parts)


def _cut(parts: Sequence[PagePart], offset: int, limit: int, spare: int) -> Page:
    """Cut a page out of parts of `limit + spare` rows each, or all that there are, that begin a little before it.

    If they do not, the page is the closest that they have.
    """
    total, start = sum(part.total for part in parts), _start(parts)
    first = min(max(0, offset - start), spare)
    rows = merge(parts, first + limit)[first:]
    return Page(total, rows, start + first + len(rows) < total, all_metadata(parts))
