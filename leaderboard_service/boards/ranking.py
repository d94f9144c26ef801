"""Computes board order and competition ranks from the rows that shards return."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import NamedTuple, Self


class Row(NamedTuple):
    """A player as a shard returns it."""

    user_id: str
    score: int
    name: str
    region: str


class RankedRow(NamedTuple):
    """A player with its rank on the whole board."""

    rank: int
    user_id: str
    name: str
    region: str
    score: int


_new_row = partial(tuple.__new__, RankedRow)  # as RankedRow._make, at a third of the time


class PagePart(NamedTuple):
    """Consecutive rows of one shard's part of a board, in board order, by columns, as they come from Redis.

    `total` players are on that part, `start` of them stand before the first row, and `above` of them
    have a strictly higher score than the first row. That of a range begins after a position with the score
    `start_score`, which `above_start` players exceed, and `end` players stand before the end of the range.
    """

    total: int
    start: int
    above: int
    user_ids: Sequence[str]
    scores: Sequence[int]
    names: Sequence[str]
    regions: Sequence[str]
    end: int = 0
    start_score: int | None = None
    above_start: int = 0

    @classmethod
    def of(
        cls,
        total: int,
        start: int,
        above: int,
        rows: Sequence[Row],
        end: int = 0,
        start_score: int | None = None,
        above_start: int = 0,
    ) -> Self:
        """Build a part from whole rows."""
        user_ids, scores, names, regions = zip(*rows, strict=True) if rows else ((), (), (), ())
        return cls(total, start, above, user_ids, scores, names, regions, end, start_score, above_start)

    def rows(self) -> list[Row]:
        """Return the rows, each whole."""
        return list(map(Row, self.user_ids, self.scores, self.names, self.regions))


class ListRank(NamedTuple):
    """A player's rank within a list (`place`), and its rank and percentile on the board."""

    place: int
    rank: int
    percentile: float
    user_id: str
    name: str
    region: str
    score: int


def board_order(row: Row) -> tuple[int, bytes]:
    """Return the sort key, greatest first: score, then user_id in bytes, as ZRANGE … REV orders members."""
    return row.score, row.user_id.encode()


def merge(parts: Sequence[PagePart], most: int | None = None) -> list[RankedRow]:
    """Merge the rows of all parts in board order, with competition ranks (1 + players with a higher score).

    With `most`, only so many of them.

    The ranks are exact for every run of rows around a position that each part covers on both sides as
    far as the run reaches: a page from the top, or the neighbours of one player.
    """
    if len(parts) == 1:
        return _rank_single_part(parts[0])[:most]
    merged = heapq.merge(
        *([(row, number) for row in part.rows()] for number, part in enumerate(parts)),
        key=lambda item: board_order(item[0]),
        reverse=True,
    )
    taken = [0] * len(parts)
    ranked: list[RankedRow] = []
    rank, score = 0, None
    for row, number in islice(merged, most):
        if row.score != score:
            score = row.score
            rank = 1 + sum(_above(part, count, score) for part, count in zip(parts, taken, strict=True))
        taken[number] += 1
        ranked.append(RankedRow(rank, row.user_id, row.name, row.region, row.score))
    return ranked


def _above(part: PagePart, taken: int, score: int) -> int:
    """Count a part's players with more than `score`, when its first `taken` rows are those above."""
    if taken == 0:
        if part.scores and part.scores[0] == score:
            return part.above
        if score == part.start_score:
            return part.above_start  # its ties stand before the first row, and not above
    return part.start + taken


def _rank_single_part(part: PagePart) -> list[RankedRow]:
    ranks = []
    rank, before = part.above + 1, None
    for position, score in enumerate(part.scores, part.start + 1):
        if score != before:
            if before is not None:
                rank = position
            before = score
        ranks.append(rank)
    columns = zip(ranks, part.user_ids, part.names, part.regions, part.scores, strict=True)
    return list(map(_new_row, columns))


def neighbours(
    ranked: Sequence[RankedRow], user_id: str, reach: int
) -> tuple[RankedRow, list[RankedRow], list[RankedRow]]:
    """Find the player's own row, up to `reach` rows above it and up to `reach` rows below, in board order."""
    own = next(index for index, row in enumerate(ranked) if row.user_id == user_id)
    return ranked[own], list(ranked[max(0, own - reach) : own]), list(ranked[own + 1 : own + 1 + reach])


def percentile(rank: int, total: int) -> float:
    """Return the share of the other players whose score is not higher, in percent; 100 for somebody alone."""
    return round(100 * (total - rank) / (total - 1), 4) if total > 1 else 100.0


def list_ranks(rows: Sequence[RankedRow], total: int) -> list[ListRank]:
    """Rank the players of a list within it, by competition rank, in board order."""
    found: list[ListRank] = []
    place, score = 0, None
    for number, row in enumerate(sorted(rows, key=lambda row: (row.score, row.user_id.encode()), reverse=True), 1):
        if row.score != score:
            place, score = number, row.score
        rank, user_id, name, region, _ = row
        found.append(ListRank(place, rank, percentile(rank, total), user_id, name, region, row.score))
    return found


def ranked(rows: Sequence[Row], above: Sequence[dict[int, int]]) -> list[RankedRow]:
    """Rank rows by how many players of each part of the board are above a score."""
    return [
        RankedRow(1 + sum(part[score] for part in above), user_id, name, region, score)
        for user_id, score, name, region in rows
    ]


def sum_counts(parts: Sequence[tuple[int, list[int]]]) -> tuple[int, list[int]]:
    """Add up the totals and counts of a board's parts."""
    totals, counts = zip(*parts, strict=True)
    return sum(totals), list(map(sum, zip(*counts, strict=True)))
