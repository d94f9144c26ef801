"""Cursors decode to the point that was encoded, and nothing else is taken for one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_core.boards import ALL, Board, Place, Rules
from leaderboard_core.errors import InvalidPayload
from leaderboard_core.names import is_user_id
from leaderboard_core.settings import MAX_EXACT_INTEGER
from leaderboard_service.boards.cursors import cursor_after, decode, encode
from leaderboard_service.boards.ranges import Point
from leaderboard_service.boards.ranking import RankedRow

EU = Place.on_main("EU")
LAPS = Place(Board("laps", 7, 1, Rules(order="asc", ties="earliest")), ALL, "EU")

points = st.builds(
    Point,
    st.integers(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=128).filter(is_user_id),
)


@given(points)
def test_there_and_back(point: Point) -> None:
    cursor = encode(EU, point)
    assert decode(cursor, EU) == point
    assert len(cursor) <= 1024
    with pytest.raises(InvalidPayload) as refusal:
        decode(cursor, Place.on_main("GLOBAL"))
    assert refusal.value.details["fields"][0]["field"] == "cursor"


@given(points)
def test_a_cursor_of_another_board_is_refused(point: Point) -> None:
    """Its name is said in the cursor, with the id of this creation of it."""
    reached = point._replace(member=LAPS.board.member_of(point.member, 1_767_225_600_000_000))
    cursor = encode(LAPS, reached)
    assert decode(cursor, LAPS) == reached
    again = LAPS._replace(board=Board("laps", 8, 1, LAPS.board.rules))
    for other in (EU, again, LAPS.in_region("GLOBAL"), LAPS._replace(window="week.2026-W48")):
        with pytest.raises(InvalidPayload):
            decode(cursor, other)


def test_the_name_of_a_ranking_on_main_is_its_regions() -> None:
    """So cursors of versions without boards are read."""
    assert decode("fQzSXDEKRVUKNQphbGljZQ", EU) == Point(5, "alice")


@given(points, st.data())
def test_a_cursor_that_was_cut_or_changed_is_refused(point: Point, data: st.DataObject) -> None:
    cursor = encode(EU, point)
    cut = cursor[: data.draw(st.integers(0, len(cursor) - 1))]
    index = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.sampled_from("ABCxyz019-_+/=. é"))
    for broken in (cut, cursor[:index] + other + cursor[index + 1 :], cursor + other):
        if broken != cursor:
            with pytest.raises(InvalidPayload):
                decode(broken, EU)


@given(st.text(max_size=40))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidPayload):
        decode(text, EU)


def test_only_a_page_that_goes_on_has_one() -> None:
    rows = [RankedRow(1, 1, "a", "A", "EU", 9), RankedRow(2, 2, "b", "B", "EU", 5)]
    assert cursor_after(EU, rows, more=False) is None
    assert cursor_after(EU, [], more=True) is None
    assert decode(cursor_after(EU, rows, more=True) or "", EU) == Point(5, "b")
