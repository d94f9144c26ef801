"""Computes board order, competition ranks and positions from the rows that shards return."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import Final, NamedTuple, Self

Metadata = Mapping[str, str]
"""What was sent with the scores of members that have any, as JSON."""
NO_METADATA: Final[Metadata] = MappingProxyType({})


class Row(NamedTuple):
    """A player as a shard returns it: with the board's key and member for the score and the user_id (`Board`)."""

    member: str
    key: int
    name: str
    region: str


class RankedRow(NamedTuple):
    """A player with its rank on the whole board, and the number of its row there, from 1."""

    rank: int
    position: int
    member: str
    name: str
    region: str
    key: int


new_row = partial(tuple.__new__, RankedRow)  # as RankedRow._make, at a third of the time


class PagePart(NamedTuple):
    """Consecutive rows of one shard's part of a board, in board order, by columns, as they come from Redis.

    `total` players are on that part, `start` of them stand before the first row, and `above` of them
    have a strictly greater key than the first row. That of a range begins after a point with the key
    `start_key`, which `above_start` players exceed, and `end` players stand before the end of the range.
    """

    total: int
    start: int
    above: int
    members: Sequence[str]
    keys: Sequence[int]
    names: Sequence[str]
    regions: Sequence[str]
    end: int = 0
    start_key: int | None = None
    above_start: int = 0
    metadata: Metadata = NO_METADATA

    @classmethod
    def of(
        cls,
        total: int,
        start: int,
        above: int,
        rows: Sequence[Row],
        end: int = 0,
        start_key: int | None = None,
        above_start: int = 0,
        metadata: Metadata = NO_METADATA,
    ) -> Self:
        """Build a part from whole rows."""
        members, keys, names, regions = zip(*rows, strict=True) if rows else ((), (), (), ())
        return cls(total, start, above, members, keys, names, regions, end, start_key, above_start, metadata)


class Counts(NamedTuple):
    """How many players of a board, or of a part of it, have a strictly greater key, and how many come before at all."""

    above: int
    before: int


class ListRank(NamedTuple):
    """A player's rank within a list (`place`), its percentile, and its row on the board."""

    place: int
    percentile: float
    row: RankedRow


def board_order(row: Row | RankedRow) -> tuple[int, bytes]:
    """Return the sort key, greatest first: key, then member in bytes, as ZRANGE … REV orders members."""
    return row.key, row.member.encode()


def merge(parts: Sequence[PagePart], most: int | None = None) -> list[RankedRow]:
    """Merge the rows of all parts in board order, with competition ranks and positions.

    With `most`, only so many of them.

    Ranks and positions are exact for every run of rows around a point that each part covers on both sides as
    far as the run reaches: a page from the top, or the neighbours of one player.
    """
    if len(parts) == 1:
        return _rank_single_part(parts[0])[:most]
    rows = [
        (key, member.encode(), member, name, region, number)
        for number, part in enumerate(parts)
        for key, member, name, region in zip(part.keys, part.members, part.names, part.regions, strict=True)
    ]
    rows.sort(reverse=True)
    untouched = set(range(len(parts)))
    ranked: list[RankedRow] = []
    rank, last = 0, None
    for position, (key, _, member, name, region, number) in enumerate(
        rows[:most], 1 + sum(part.start for part in parts)
    ):
        if key != last:
            last = key
            rank = position + sum(_above_rows(parts[one], key) - parts[one].start for one in untouched)
        untouched.discard(number)
        ranked.append(new_row((rank, position, member, name, region, key)))
    return ranked


def _above_rows(part: PagePart, key: int) -> int:
    """Count the players with more than `key` among those of a part who stand before its rows."""
    if part.keys and part.keys[0] == key:
        return part.above
    if key == part.start_key:
        return part.above_start  # its ties stand before the first row, and not above
    return part.start


def _rank_single_part(part: PagePart) -> list[RankedRow]:
    positions = range(part.start + 1, part.start + 1 + len(part.keys))
    ranks: list[int] = []
    if len(set(part.keys)) == len(part.keys):  # most pages: no loop over their rows
        ranks += positions
        if ranks:
            ranks[0] = part.above + 1
    else:
        rank, before = part.above + 1, None
        for position, key in zip(positions, part.keys, strict=True):
            if key != before:
                if before is not None:
                    rank = position
                before = key
            ranks.append(rank)
    columns = zip(ranks, positions, part.members, part.names, part.regions, part.keys, strict=True)
    return list(map(new_row, columns))


def neighbours(
    ranked: Sequence[RankedRow], member: str, reach: int
) -> tuple[RankedRow, list[RankedRow], list[RankedRow]]:
    """Find the member's own row, up to `reach` rows above it and up to `reach` rows below, in board order."""
    own = [row.member for row in ranked].index(member)
    return ranked[own], list(ranked[max(0, own - reach) : own]), list(ranked[own + 1 : own + 1 + reach])


def percentile(rank: int, total: int) -> float:
    """Return the share of the other players whose score is not higher, in percent; 100 for somebody alone."""
    others = total - 1
    if others <= 0:
        return 100.0
    # Half up, in whole numbers: `round` to digits costs much more.
    return (2_000_000 * (total - rank) + others) // (2 * others) / 10_000


def list_ranks(rows: Sequence[RankedRow], total: int) -> list[ListRank]:
    """Rank the players of a list within it, by competition rank, in board order."""
    found: list[ListRank] = []
    place, last = 0, None
    for number, row in enumerate(sorted(rows, key=board_order, reverse=True), 1):
        if row.key != last:
            place, last = number, row.key
        found.append(ListRank(place, percentile(row.rank, total), row))
    return found


def ranked(row: Row, counts: Iterable[Counts]) -> RankedRow:
    """Rank a row by what each part of the board counts of its place."""
    above = before = 0
    for part in counts:
        above, before = above + part.above, before + part.before
    member, key, name, region = row
    return RankedRow(1 + above, 1 + before, member, name, region, key)


def sum_counts(parts: Sequence[tuple[int, list[int]]]) -> tuple[int, list[int]]:
    """Add up the totals and counts of a board's parts."""
    totals, counts = zip(*parts, strict=True)
    return sum(totals), list(map(sum, zip(*counts, strict=True)))


def all_metadata(parts: Sequence[PagePart]) -> Metadata:
    """Return the metadata that the parts of a board gave with their rows."""
    if len(parts) == 1:
        return parts[0].metadata
    return {member: text for part in parts for member, text in part.metadata.items()}
