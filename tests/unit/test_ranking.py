"""The merge of boards against sorting, for random players, shardings and windows."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from leaderboard_service.ranking import RankedRow, Row, Window, board_order, merge, neighbours

user_ids = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=3)
players = st.dictionaries(user_ids, st.tuples(st.integers(-3, 3), st.integers(0, 3)), min_size=1, max_size=40)
"""user_id → (score, shard): few scores, so that ties abound."""


def ranked(rows: list[Row]) -> list[RankedRow]:
    """Board order and competition ranks, by sorting and counting."""
    rows = sorted(rows, key=lambda row: (row.score, row.user_id.encode()), reverse=True)
    return [
        RankedRow(1 + sum(other.score > row.score for other in rows), row.user_id, row.name, row.region, row.score)
        for row in rows
    ]


def shards_of(spread: dict[str, tuple[int, int]], shards: int) -> list[list[Row]]:
    parts: list[list[Row]] = [[] for _ in range(shards)]
    for user_id, (score, shard) in spread.items():
        parts[shard % shards].append(Row(user_id, score, f"name of {user_id}", f"R{shard}"))
    for part in parts:
        part.sort(key=board_order, reverse=True)
    return parts


def window(part: list[Row], start: int, end: int) -> Window:
    start = max(0, start)
    rows = part[start:end]
    above = sum(row.score > rows[0].score for row in part) if rows else 0
    return Window(len(part), start, above, rows)


@given(players, st.integers(1, 4))
def test_whole_boards(spread: dict[str, tuple[int, int]], shards: int) -> None:
    parts = shards_of(spread, shards)
    everybody = [row for part in parts for row in part]
    assert merge([window(part, 0, len(part)) for part in parts]) == ranked(everybody)


@given(players, st.integers(1, 4), st.integers(0, 45), st.integers(1, 10))
def test_pages(spread: dict[str, tuple[int, int]], shards: int, offset: int, limit: int) -> None:
    """As BoardReader.top does: one shard sends the page, several send all rows before its end."""
    parts = shards_of(spread, shards)
    expected = ranked([row for part in parts for row in part])[offset : offset + limit]
    if shards == 1:
        assert merge([window(parts[0], offset, offset + limit)]) == expected
    else:
        depth = offset + limit
        assert merge([window(part, 0, depth) for part in parts])[offset:depth] == expected


@given(players, st.integers(1, 4), st.data(), st.integers(1, 6))
def test_neighbours(spread: dict[str, tuple[int, int]], shards: int, data: st.DataObject, reach: int) -> None:
    """As BoardReader.around does: each shard sends `reach` rows on both sides of where the player stands."""
    parts = shards_of(spread, shards)
    expected = ranked([row for part in parts for row in part])
    user_id = data.draw(st.sampled_from([row.user_id for row in expected]))
    own = next(row for part in parts for row in part if row.user_id == user_id)
    windows = []
    for part in parts:
        place = sum(board_order(row) > board_order(own) for row in part)
        windows.append(window(part, place - reach, place + reach + (1 if own in part else 0)))
    place = next(index for index, row in enumerate(expected) if row.user_id == user_id)
    assert neighbours(merge(windows), user_id, reach) == (
        expected[place],
        expected[max(0, place - reach) : place],
        expected[place + 1 : place + 1 + reach],
    )


def test_competition_ranks() -> None:
    rows = [Row(name, score, "", "") for name, score in zip("edcba", (50, 50, 30, 30, 10), strict=True)]
    assert [row.rank for row in merge([Window(5, 0, 0, rows)])] == [1, 1, 3, 3, 5]
    assert [row.rank for row in merge([Window(5, 3, 2, rows[3:])])] == [3, 5]
    assert merge([Window(0, 0, 0, [])]) == merge([]) == merge([Window(9, 9, 0, []), Window(0, 0, 0, [])]) == []
