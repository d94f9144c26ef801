"""Test reading lines of an import: what they say is taken as it is, and what is wrong is said by field."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_cli.imports.lines import BadLine, Reading
from leaderboard_cli.imports.reading import MAX_LINE, lines_of, pages_of
from leaderboard_core.boards import MAIN, Board, Rules
from leaderboard_core.settings import MAX_EXACT_INTEGER
from worker_service.importing.states import BEFORE_ALL, State

NOW = 1_800_000_000_000_000
KILLS = Board("kills", 1, 1, Rules(operator="sum", min_score=0, max_score=100))
LAPS = Board("laps", 2, 1, Rules(operator="best", order="asc", ties="earliest", decimals=2, metadata_bytes=20))
READING = Reading({"main": MAIN, "kills": KILLS, "laps": LAPS}, ("ASIA", "EU", "GLOBAL"), NOW, "kills")


def read(reading: Reading = READING, **line: Any) -> State:
    return reading.read(7, json.dumps({"user_id": "ann", "score": 1, **line}).encode())


def test_what_a_line_leaves_out_has_a_default() -> None:
    assert read() == State(7, "ann", "", "", "", KILLS, 1, BEFORE_ALL)
    other = Reading(READING.boards, READING.regions, NOW, "main", "EU", as_of=99)
    nothing: dict[str, Any] = dict.fromkeys(
        ("name", "username", "region", "board", "submits", "metadata", "reached_at")
    )
    assert read(other, **nothing) == State(7, "ann", "", "", "EU", MAIN, 1, 99)


def test_what_a_line_says_is_taken() -> None:
    more: dict[str, Any] = {
        "region": "eu",
        "board": "laps",
        "submits": 3,
        "metadata": {"car": "é"},
        "reached_at": "1970-01-01T00:00:01Z",
    }
    wanted = State(7, "ann", "Ann Ω", "EU", "", LAPS, 250, 1_000_000, 3, '{"car":"é"}')
    assert read(score=2.5e2, name="Ann Ω", **more) == wanted
    assert read(score=250, username="Ann Ω", **more) == wanted


moments = st.integers(BEFORE_ALL, NOW)


@given(moments, st.integers(-14, 14))
def test_a_time_is_exact_in_every_zone(micros: int, hours: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
    zone = timedelta(hours=hours)
    text = f"{(moment + zone).replace(tzinfo=None).isoformat()}{'-' if hours < 0 else '+'}{abs(hours):02d}:00"
    assert read(reached_at=text).clock == micros


@given(st.integers(-MAX_EXACT_INTEGER, MAX_EXACT_INTEGER))
def test_every_score_is_exact(score: int) -> None:
    assert read(board="main", score=score).score == score


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
FIELDS = ("user_id", "name", "username", "region", "board", "score", "submits", "metadata", "reached_at")


@given(st.dictionaries(st.sampled_from(FIELDS), json_values))
def test_any_json_is_read_or_refused_by_field(line: dict[str, Any]) -> None:
    try:
        state = READING.read(1, json.dumps(line).encode())
    except BadLine as error:
        problem = str(error)
    else:
        assert (state.user_id, state.score) == (line["user_id"], line["score"])
        return
    assert problem.partition(": ")[0] in FIELDS or problem.startswith("is no JSON")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ({"user_id": None}, "user_id: is missing"),
        ({"user_id": 12}, "user_id: 12 is no text; put it in quotes"),
        ({"user_id": "a b"}, "user_id: is to have 1-128 characters"),
        ({"name": "a\nb"}, "name: is to be a text of 1-200 characters"),
        ({"username": "\u200b"}, "username: must show something"),
        ({"name": "a", "username": "a"}, "username: is the same as name"),
        ({"region": "MARS"}, 'region: "MARS" is none of ASIA, EU, GLOBAL'),
        ({"board": "deaths"}, 'board: there is none of the name "deaths"; `leaderboard boards apply` makes it'),
        ({"board": ["kills"]}, 'board: there is none of the name ["kills"]'),
        ({"score": None}, "score: is missing"),
        ({"score": "12"}, 'score: "12" is no number'),
        ({"score": True}, "score: true is no number"),
        ({"score": 101}, "score: 101 is not from 0 to 100, the bounds of kills"),
        ({"score": 2**53, "board": "main"}, "score: 9007199254740992 is no whole number of at most 9007199254740991"),
        ({"score": 1.5}, "score: 1.5 is no whole number"),
        ({"score": 71.35, "board": "laps"}, "laps shows 2 decimals of whole numbers, so multiply by 100"),
        ({"submits": -1}, "submits: -1 is no whole number from 0 to"),
        ({"metadata": {}, "board": "main"}, "metadata: has 2 bytes; main keeps none (metadata_bytes)"),
        ({"metadata": [1], "board": "laps"}, "metadata: is no JSON object"),
        ({"metadata": {}}, "metadata: has 2 bytes; kills keeps none (metadata_bytes)"),
        ({"metadata": {"a": "é" * 8}, "board": "laps"}, "metadata: has 24 bytes; laps keeps 20"),
        ({"reached_at": 5}, "reached_at: 5 is no time such as 2026-11-27T17:00:00Z"),
        ({"reached_at": "yesterday"}, 'reached_at: "yesterday" is no time'),
        ({"reached_at": "2026-11-27T17:00:00"}, "reached_at: 2026-11-27T17:00:00 has no time zone"),
        ({"reached_at": "1969-12-31T23:59:59Z"}, "is not after the beginning of 1970"),
        ({"reached_at": "2026-01-01"}, "has no time zone: write 2026-01-01T00:00:00Z"),
        ({"reached_at": "2200-01-01T00:00:00Z"}, "reached_at: 2200-01-01T00:00:00Z is in the future"),
        ({"sumbits": 1}, "sumbits: is none of the fields user_id, name, region"),
    ],
)
def test_what_is_wrong_is_said_by_field(line: dict[str, Any], said: str) -> None:
    with pytest.raises(BadLine) as problem:
        read(**line)
    assert said in str(problem.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"{", "is no JSON"),
        (b'{"score": NaN}', "is no JSON"),
        (b'{"user_id": "a", "score": 1e400}', ""),
        (b'"ann"', "is no JSON object"),
        (b'[{"user_id": "ann"}]', "jq -c '.[]' makes lines of a list"),
        (b'{"user_id": "\xff"}', "is no JSON"),
    ],
)
def test_what_is_no_object_is_refused(text: bytes, said: str) -> None:
    with pytest.raises(BadLine) as problem:
        READING.read(1, text)
    assert said in str(problem.value)


def test_without_a_board_a_line_has_to_name_one() -> None:
    with pytest.raises(BadLine, match="board: is missing, and so is --board"):
        read(Reading(READING.boards, READING.regions, NOW))


def test_lines_are_numbered_as_editors_do() -> None:
    whole = b"x" * MAX_LINE
    file = io.BytesIO(
        b"\xef\xbb\xbfa\r\n\n  \nb\n" + whole + b"\n" + whole + b"x\nc\n" + b"y" * (3 * MAX_LINE) + b"\nd"
    )
    for _ in range(2):
        found = [(line.number, line.text) for line in lines_of(file)]
        assert found == [(1, b"a"), (4, b"b"), (5, whole), (6, None), (7, b"c"), (8, None), (9, b"d")]
    assert [line.position for line in lines_of(file)][-1] == file.seek(0, io.SEEK_END)
    assert list(lines_of(io.BytesIO())) == []


@given(st.lists(st.integers()), st.integers(1, 5))
def test_pages_are_the_items_in_order(items: list[int], most: int) -> None:
    pages = list(pages_of(items, most))
    assert [item for page in pages for item in page] == items
    assert all(len(page) == most for page in pages[:-1])
    assert all(pages)
