"""The merge of boards against sorting, for random players, shardings and parts of pages."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.boards.ranges import BoardRange, Point, as_key_range, key_at
from leaderboard_service.boards.ranking import (
    PagePart,
    RankedRow,
    Row,
    board_order,
    list_ranks,
    merge,
    neighbours,
    percentile,
)
from leaderboard_service.boards.results import first_page

user_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)
players = st.dictionaries(user_ids, st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=40)
"""user_id → (score, shard): few scores, so that ties abound."""


def ranked(rows: list[Row]) -> list[RankedRow]:
    """Board order and competition ranks, by sorting and counting."""
    rows = sorted(rows, key=board_order, reverse=True)
    return [
        RankedRow(1 + sum(other.key > row.key for other in rows), number, row.member, row.name, row.region, row.key)
        for number, row in enumerate(rows, 1)
    ]


def shards_of(spread: dict[str, tuple[int, int]], shards: int) -> list[list[Row]]:
    parts: list[list[Row]] = [[] for _ in range(shards)]
    for user_id, (score, shard) in spread.items():
        parts[shard % shards].append(Row(user_id, score, f"name of {user_id}", f"R{shard}"))
    for part in parts:
        part.sort(key=board_order, reverse=True)
    return parts


def page_part(part: list[Row], start: int, end: int) -> PagePart:
    start = max(0, start)
    rows = part[start:end]
    above = sum(row.key > rows[0].key for row in part) if rows else 0
    return PagePart.of(len(part), start, above, rows)


@given(players, st.integers(1, 4))
def test_whole_boards(spread: dict[str, tuple[int, int]], shards: int) -> None:
    parts = shards_of(spread, shards)
    everybody = [row for part in parts for row in part]
    assert merge([page_part(part, 0, len(part)) for part in parts]) == ranked(everybody)


@given(players, st.integers(1, 4), st.integers(0, 45), st.integers(1, 10))
def test_pages(spread: dict[str, tuple[int, int]], shards: int, offset: int, limit: int) -> None:
    """As RedisBoards.top does: one shard sends the page, several send all rows before its end."""
    parts = shards_of(spread, shards)
    expected = ranked([row for part in parts for row in part])[offset : offset + limit]
    if shards == 1:
        assert merge([page_part(parts[0], offset, offset + limit)]) == expected
    else:
        depth = offset + limit
        assert merge([page_part(part, 0, depth) for part in parts])[offset:depth] == expected


@given(players, st.integers(1, 4), st.data(), st.integers(1, 6))
def test_neighbours(spread: dict[str, tuple[int, int]], shards: int, data: st.DataObject, reach: int) -> None:
    """As RedisBoards.around does: each shard sends `reach` rows on both sides of where the player stands."""
    parts = shards_of(spread, shards)
    expected = ranked([row for part in parts for row in part])
    user_id = data.draw(st.sampled_from([row.member for row in expected]))
    own = next(row for part in parts for row in part if row.member == user_id)
    page_parts = []
    for part in parts:
        place = sum(board_order(row) > board_order(own) for row in part)
        page_parts.append(page_part(part, place - reach, place + reach + (1 if own in part else 0)))
    place = next(index for index, row in enumerate(expected) if row.member == user_id)
    assert neighbours(merge(page_parts), user_id, reach) == (
        expected[place],
        expected[max(0, place - reach) : place],
        expected[place + 1 : place + 1 + reach],
    )


points = st.none() | st.builds(Point, st.integers(-4, 4), user_ids)
bounds = st.none() | st.integers(-4, 4)
board_ranks = st.none() | st.integers(1, 45)


def range_part(part: list[Row], board_range: BoardRange, limit: int) -> PagePart:
    """As each part of a board answers for a range by score."""
    boundary = board_range.start_boundary
    start = sum(board_order(row) >= (boundary.key, boundary.member.encode()) for row in part)
    end = sum(row.key >= board_range.lowest for row in part)
    found = page_part(part, start, max(start, min(start + limit, end)))
    above_start = sum(row.key > boundary.key for row in part)
    return found._replace(start=start, end=end, start_key=boundary.key, above_start=above_start)


@settings(max_examples=300)
@given(players, st.integers(2, 4) | st.just(1), st.data(), bounds, bounds, st.integers(1, 10))
def test_ranges_by_score(
    spread: dict[str, tuple[int, int]], shards: int, data: st.DataObject, low: int | None, high: int | None, limit: int
) -> None:
    seen = st.sampled_from([Point(score, user_id) for user_id, (score, _) in spread.items()])
    after = data.draw(seen | seen | points, "after")
    parts = shards_of(spread, shards)
    expected = [
        row
        for row in ranked([row for part in parts for row in part])
        if (low is None or row.key >= low)
        and (high is None or row.key <= high)
        and (after is None or (row.key, row.member.encode()) < (after.key, after.member.encode()))
    ]
    board_range = BoardRange(low=low, high=high, after=after)
    page = first_page([range_part(part, board_range, limit) for part in parts], limit)
    assert (page.total, page.rows, page.more) == (len(spread), expected[:limit], len(expected) > limit)


@given(players, st.integers(1, 4), board_ranks, board_ranks)
async def test_ranges_by_rank(
    spread: dict[str, tuple[int, int]], shards: int, first: int | None, last: int | None
) -> None:
    parts = shards_of(spread, shards)
    everybody = ranked([row for part in parts for row in part])

    async def count_above(scores: Sequence[int]) -> tuple[int, list[int]]:
        return len(everybody), [sum(row.key > score for row in everybody) for score in scores]

    board_range = await as_key_range(BoardRange(first=first, last=last), count_above)
    page = first_page([range_part(part, board_range, 99) for part in parts], 99)
    assert page.total == len(everybody)
    assert page.rows == [row for row in everybody if (first or 1) <= row.rank <= (last or 99)]


wide = st.integers(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER)


@given(st.lists(wide | st.integers(-9, 1000), min_size=1, max_size=30), st.data())
async def test_the_key_at_an_index_is_found_by_counting(scores: list[int], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(scores) - 1))
    steps = 0

    async def count_above(pivots: Sequence[int]) -> tuple[int, list[int]]:
        nonlocal steps
        steps += 1
        assert list(pivots) == sorted(set(pivots))
        assert 1 <= len(pivots) <= 255
        return len(scores), [sum(score > pivot for score in scores) for pivot in pivots]

    assert await key_at(index, count_above) == sorted(scores, reverse=True)[index]
    assert steps <= 8


def test_percentiles() -> None:
    assert [percentile(rank, 5) for rank in (1, 2, 3, 5)] == [100.0, 75.0, 50.0, 0.0]
    assert percentile(1, 1) == 100.0
    assert percentile(2, 4) == 66.6667
    assert percentile(1, 10**8) == 100.0
    assert percentile(4, 129) == 97.6563, "97.65625, half up"


def test_ranks_within_a_list() -> None:
    rows = [RankedRow(rank, rank, name, "", "", key) for rank, name, key in ((9, "a", 5), (2, "b", 7), (9, "c", 5))]
    listed = list_ranks(rows, 11)
    assert [(one.place, one.row.rank, one.row.member, one.percentile) for one in listed] == [
        (1, 2, "b", 90.0),
        (2, 9, "c", 20.0),
        (2, 9, "a", 20.0),
    ]
    assert list_ranks([], 0) == []


def test_competition_ranks() -> None:
    rows = [Row(name, score, "", "") for name, score in zip("edcba", (50, 50, 30, 30, 10), strict=True)]
    assert [row.rank for row in merge([PagePart.of(5, 0, 0, rows)])] == [1, 1, 3, 3, 5]
    assert [(row.rank, row.position) for row in merge([PagePart.of(5, 3, 2, rows[3:])])] == [(3, 4), (5, 5)]
    assert (
        merge([PagePart.of(0, 0, 0, [])])
        == merge([])
        == merge([PagePart.of(9, 9, 0, []), PagePart.of(0, 0, 0, [])])
        == []
    )
