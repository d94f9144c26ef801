"""What a stream sends: applying the changes to what a client has gives the new state, whatever happened between."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_core.boards import ALL, Board, Place, Rules
from leaderboard_service.boards.ranking import PagePart, RankedRow, Row, board_order, merge, percentile
from leaderboard_service.live.content import PlayerRank, TopRows, changes
from leaderboard_service.live.sse import event, id_of
from tests.support.events import apply

USERS = st.sampled_from(["a", "b", "c", "d", "é", "日本", "🎮"])
ROWS = st.builds(Row, USERS, st.integers(-3, 3), st.sampled_from(["Ann", "Bob"]), st.sampled_from(["ASIA", "EU"]))
BOARDS = st.lists(ROWS, max_size=7, unique_by=lambda row: row.member)


def ranked(rows: Sequence[Row]) -> tuple[RankedRow, ...]:
    """A board with its ranks, ties and all."""
    ordered = sorted(rows, key=board_order, reverse=True)
    return tuple(merge([PagePart.of(len(ordered), 0, 0, ordered)]))


def shown(rows: Sequence[Row], limit: int) -> TopRows:
    return TopRows(Place.on_main("GLOBAL"), len(rows), "redis", ranked(rows)[:limit])


@given(BOARDS, BOARDS, st.integers(1, 8))
def test_a_snapshot_and_a_change_make_the_new_state(before: list[Row], after: list[Row], limit: int) -> None:
    old, new = shown(before, limit), shown(after, limit)
    change = new.change_since(old)
    assert apply(old.snapshot()["rows"], change) == new.snapshot()["rows"]
    assert {key: change[key] for key in ("region", "total", "source")} == {
        "region": "GLOBAL",
        "total": len(after),
        "source": "redis",
    }


@given(BOARDS, BOARDS, st.integers(1, 8))
def test_only_what_changed_is_sent(before: list[Row], after: list[Row], limit: int) -> None:
    old, new = shown(before, limit), shown(after, limit)
    had = old.snapshot()["rows"]
    change = new.change_since(old)
    assert not [row for row in change["rows"] if row in had]
    kept = {row.member for row in new.rows}
    assert change["removed"] == [row.member for row in old.rows if row.member not in kept]


@given(BOARDS)
def test_nothing_changed_is_nothing_sent(rows: list[Row]) -> None:
    assert changes(ranked(rows), ranked(rows)) == ([], [])


@given(st.lists(BOARDS, min_size=2, max_size=6), st.integers(1, 8))
def test_a_client_that_missed_some_states_needs_one_change(states: list[list[Row]], limit: int) -> None:
    first, last = shown(states[0], limit), shown(states[-1], limit)
    rows = first.snapshot()["rows"]
    step_by_step = rows
    for earlier, later in pairwise(states):
        step_by_step = apply(step_by_step, shown(later, limit).change_since(shown(earlier, limit)))
    assert apply(rows, last.change_since(first)) == step_by_step


def test_an_empty_board_becomes_full_and_empty_again() -> None:
    empty, full = shown([], 10), shown([Row("a", 1, "Ann", "EU"), Row("b", 1, "Bob", "EU")], 10)
    assert [row["rank"] for row in full.change_since(empty)["rows"]] == [1, 1]
    assert empty.change_since(full) == {
        "board": "main",
        "region": "GLOBAL",
        "total": 0,
        "source": "redis",
        "rows": [],
        "removed": ["b", "a"],
    }


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=30))
def test_a_percentile_is_the_share_of_the_others_who_are_not_higher(scores: list[int]) -> None:
    for own in range(len(scores)):
        others = scores[:own] + scores[own + 1 :]
        rank = 1 + sum(score > scores[own] for score in others)
        share = 100 * sum(score <= scores[own] for score in others) / len(others) if others else 100.0
        assert percentile(rank, len(scores)) == pytest.approx(share, abs=0.00005)


def test_a_rank_is_sent_whole() -> None:
    rows = ranked([Row(name, score, name, "EU") for name, score in (("a", 3), ("b", 2), ("c", 2))])
    rank = PlayerRank(Place.on_main("EU"), 3, "redis", rows[1], (rows[0], rows[2]))
    assert rank.snapshot() == rank.change_since(rank) == {
        "board": "main",
        "region": "EU",
        "total": 3,
        "source": "redis",
        "self": {"rank": 2, "position": 2, "user_id": "c", "name": "c", "region": "EU", "score": 2, "percentile": 50.0},
        "around": [
            {"rank": 1, "position": 1, "user_id": "a", "name": "a", "region": "EU", "score": 3},
            {"rank": 2, "position": 3, "user_id": "b", "name": "b", "region": "EU", "score": 2},
        ],
    }  # fmt: skip


def test_a_later_score_where_the_earliest_stands_higher_is_no_removal() -> None:
    """The member is another one then, and the player is the same."""
    board = Board("laps", 7, 1, Rules(order="asc", ties="earliest"))
    place = Place(board, ALL, "EU")
    reached = [Row(board.member_of("a", at), -time, "Ann", "EU") for time, at in ((90, 1_000), (80, 2_000))]
    before, after = (TopRows(place, 1, "redis", ranked([row])) for row in reached)
    change = after.change_since(before)
    assert change["removed"] == []
    assert change["rows"] == after.snapshot()["rows"]
    assert [(row["user_id"], row["score"]) for row in change["rows"]] == [("a", 80)]


@given(BOARDS, BOARDS)
def test_equal_states_have_equal_ids_and_others_have_not(one: list[Row], other: list[Row]) -> None:
    ids = [id_of(orjson.dumps(shown(rows, 5).snapshot())) for rows in (one, other)]
    assert (ids[0] == ids[1]) is (shown(one, 5) == shown(other, 5))


@given(st.text(), st.text(alphabet="\r\n \u2028\u0085:x", min_size=1))
def test_no_name_can_break_an_event_apart(user_id: str, name: str) -> None:
    data = orjson.dumps({"rows": [{"user_id": user_id, "name": name}]}, default=str)
    text = event("change", data, "1").decode()
    assert text.endswith("\n\n")
    assert text.count("\n") == 4
    assert "\r" not in text
