"""Events in and out of JSON, what poisons one, and the newest event per user of a batch."""

from __future__ import annotations

import itertools
import json
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_core.entries import Entry
from leaderboard_core.events import MAX_BIGINT, MAX_TIMESTAMP, Deletion, PoisonedEvent, ScoreEvent, decode
from worker_service.saving.batch import DeadLetter, build, columns, entry_columns

GOOD: dict[str, Any] = {
    "user_id": "alice",
    "name": "Alice",
    "region": "EU",
    "score": 5,
    "timestamp": 1_700_000_000_000_001,
    "request_id": "r",
}


def raw(**changed: Any) -> str:
    return json.dumps({**GOOD, **changed})


def gone(**changed: Any) -> str:
    fields = {"user_id": "alice", "region": "EU", "timestamp": 7, "request_id": "r", "deleted": True, "keep": 9}
    return json.dumps({**fields, **changed})


def test_a_deletion() -> None:
    event = decode(gone(), "EU")
    assert event == Deletion("alice", "EU", 7, "r", 9)
    assert event.tokens_until == 9_000_007


ENTRY: dict[str, Any] = {"board_id": 17, "board": "kills", "window": "all", "key": 12, "member": "alice"}


def entry(**changed: Any) -> str:
    return raw(entries=[{**ENTRY, **changed}])


def test_an_event_with_entries() -> None:
    more = {"submits": 3, "base_at": 4, "best": True, "metadata": {"map": "🎮", "n": [1, 2.5]}, "later": 1}
    event = decode(entry(**more), "EU")
    assert isinstance(event, ScoreEvent)
    assert (event.score, event.entries) == (
        5,
        (
            Entry(
                *("alice", 17, "kills", "all", 12, "alice", 1_700_000_000_000_001, 3, 4),
                best=True,
                metadata='{"map":"🎮","n":[1,2.5]}',
            ),
        ),
    )
    without = {key: value for key, value in GOOD.items() if key != "score"}
    tied = {**ENTRY, "member": "7307199254740990alice", "window": "week.2026-W48"}
    gone = {"board_id": 0, "board": "main", "window": "day.2026-11-25", "removed": True, "key": 5, "member": "alice"}
    event = decode(json.dumps({**without, "entries": [tied, gone, {**gone, "key": None}]}), "EU")
    assert isinstance(event, ScoreEvent)
    assert event.score is None
    assert [(one.key, one.member, one.removed, one.metadata, one.submits) for one in event.entries] == [
        (12, "7307199254740990alice", False, "", 0),
        (0, "", True, "", 0),
        (0, "", True, "", 0),
    ]


def test_a_good_event() -> None:
    assert decode(raw(), "EU") == ScoreEvent("alice", "Alice", "EU", 5, 1_700_000_000_000_001, "r")
    without = {key: value for key, value in GOOD.items() if key != "request_id"}
    assert decode(json.dumps(without), "EU").request_id == ""
    assert decode(raw(deleted=False), "EU") == decode(raw(), "EU")


def test_a_trace_is_read_and_poisons_nothing() -> None:
    for more, text in (({"traceparent": "00-ab-cd-01"}, "00-ab-cd-01"), ({}, "")):
        event = decode(raw(**more), "EU")
        assert isinstance(event, ScoreEvent)
        assert event.traceparent == text
    odds: tuple[Any, ...] = (None, 5, [], {"a": 1})
    for odd in odds:
        assert decode(raw(traceparent=odd), "EU").user_id == "alice"


def test_a_batch_keeps_the_traces_of_superseded_events_too() -> None:
    taken = [raw(traceparent="t1", timestamp=2), raw(traceparent="t2", timestamp=1), raw(timestamp=3), "no event"]
    batch = build(taken, "EU")
    assert (list(batch.traceparents), batch.superseded) == (["t1", "t2"], 2)
    assert list(build([raw()], "EU").traceparents) == []


@pytest.mark.parametrize("score", [2**53 - 1, -(2**53 - 1), 0, MAX_BIGINT, -MAX_BIGINT - 1])
def test_every_whole_number_that_fits_is_exact(score: int) -> None:
    event = decode(raw(score=score, timestamp=MAX_TIMESTAMP), "EU")
    assert isinstance(event, ScoreEvent)
    assert event.score == score


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("NaN", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"user_id": "\\ud800"}', "not JSON"),
        (b'{"user_id": "\xff"}', "not JSON"),
        ("null", "not a JSON object"),
        ("[]", "not a JSON object"),
        ('"alice"', "not a JSON object"),
        ("{}", "no user_id"),
        (json.dumps({key: value for key, value in GOOD.items() if key != "score"}), "no score"),
        (raw(user_id=""), "user_id is not a text"),
        (raw(user_id=5), "user_id is not a text"),
        (raw(user_id="a\0b"), "NUL"),
        (raw(name=None), "name is not a text"),
        (raw(name="\0"), "NUL"),
        (raw(name="x" * 201), "name is longer"),
        (raw(region="ASIA"), "in the queue of EU"),
        (raw(region="x" * 1000), "in the queue of EU"),
        (raw(score="5"), "score"),
        (raw(score=5.0), "score"),
        (raw(score=True), "score"),
        (raw(score=2**63), "score"),
        (raw(score=-(2**63) - 1), "score"),
        (raw(score=10**30), "score"),
        (raw(timestamp=-1), "timestamp"),
        (raw(timestamp=MAX_TIMESTAMP + 1), "timestamp"),
        (raw(timestamp=1.5), "timestamp"),
        (raw(timestamp=None), "timestamp"),
        (raw(entries=[], score=None), "score"),
        (raw(entries=[]), "entries is not a list"),
        (raw(entries={}), "entries is not a list"),
        (raw(entries=None), "entries is not a list"),
        (raw(entries=[5]), "not a JSON object"),
        (entry(board_id=-1), "board_id"),
        (entry(board_id=2**63), "board_id"),
        (entry(board_id="17"), "board_id"),
        (entry(board_id=True), "board_id"),
        (entry(board="Kills"), "board of an entry"),
        (entry(board="a:b"), "board of an entry"),
        (entry(board=None), "board of an entry"),
        (entry(window="week.a:b"), "window of an entry"),
        (entry(window=""), "window of an entry"),
        (entry(key=2**53), "key of an entry"),
        (entry(key=-(2**53)), "key of an entry"),
        (entry(key=1.5), "key of an entry"),
        (entry(key=None), "key of an entry"),
        (entry(member="bob"), "member of an entry"),
        (entry(member="1alice"), "member of an entry"),
        (entry(member=None), "member of an entry"),
        (entry(submits=-1), "submits"),
        (entry(submits=2**31), "submits"),
        (entry(base_at=GOOD["timestamp"] + 1), "base_at"),
        (entry(base_at=None), "base_at"),
        (entry(best=1), "best"),
        (entry(removed="yes"), "removed"),
        (entry(metadata=[]), "metadata"),
        (entry(metadata=None), "metadata"),
        (
            raw(entries=[ENTRY]).replace('"key"', '"metadata": ' + '{"a":' * 300 + "1" + "}" * 300 + ', "key"'),
            "metadata",
        ),
        (gone(user_id=""), "user_id is not a text"),
        (gone(user_id="a\0b"), "NUL"),
        (gone(region="ASIA"), "in the queue of EU"),
        (gone(region=None), "region is not a text"),
        (gone(timestamp=-1), "timestamp"),
        (gone(timestamp="1"), "timestamp"),
        (gone(keep=None), "keep"),
        (gone(keep=-1), "keep"),
        (gone(keep=10**10), "keep"),
        (json.dumps({"deleted": True, "user_id": "a", "region": "EU", "timestamp": 1}), "no keep"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_poisoned_events_say_why(text: str | bytes, reason: str) -> None:
    with pytest.raises(PoisonedEvent) as caught:
        decode(text, "EU")
    assert reason in str(caught.value)
    assert len(str(caught.value)) < 300


@given(st.text() | st.binary())
def test_whatever_is_in_the_queue_decoding_only_poisons(anything: str | bytes) -> None:
    try:
        if isinstance(anything, str):
            anything.encode()
    except UnicodeEncodeError:
        return
    with pytest.raises(PoisonedEvent):
        decode(anything, "EU")


user_ids = st.sampled_from(["a", "b", "é", "日", "🎮"])


@given(st.lists(st.tuples(user_ids, st.integers(0, 5), st.integers(-3, 3))))
def test_the_newest_event_of_each_user_is_kept_in_order_of_user_id(taken: list[tuple[str, int, int]]) -> None:
    events = [raw(user_id=user_id, timestamp=timestamp, score=score) for user_id, timestamp, score in taken]
    batch = build(events, "EU")
    newest: dict[str, tuple[int, int]] = {}
    for user_id, timestamp, score in taken:
        if user_id not in newest or newest[user_id][0] < timestamp:
            newest[user_id] = timestamp, score
    assert [(event.user_id, event.timestamp, event.score) for event in batch.events] == [
        (user_id, *newest[user_id]) for user_id in sorted(newest)
    ]
    assert batch.superseded == len(taken) - len(newest)
    assert batch.dead == []
    assert [json.loads(batch.raw_of[event.user_id])["score"] for event in batch.events] == [
        event.score for event in batch.events
    ]


@given(st.lists(st.tuples(user_ids, st.integers(0, 6), st.booleans())))
def test_a_deletion_drops_what_is_older_and_spares_what_is_newer(taken: list[tuple[str, int, bool]]) -> None:
    events = [(gone if end else raw)(user_id=user_id, timestamp=time) for user_id, time, end in taken]
    batch = build(events, "EU")
    ends, writes = dict[str, int](), dict[str, int]()
    for user_id, time, end in taken:
        kept = ends if end else writes
        kept[user_id] = max(time, kept.get(user_id, 0))
    assert {event.user_id: event.timestamp for event in batch.deletions} == ends
    assert [event.user_id for event in batch.deletions] == sorted(ends)
    alive = {user_id: time for user_id, time in writes.items() if time > ends.get(user_id, -1)}
    assert {event.user_id: event.timestamp for event in batch.events} == alive
    assert batch.superseded == len(taken) - len(ends) - len(alive)
    taken_apart: list[ScoreEvent | Deletion] = [*batch.deletions, *batch.events]
    assert sorted(batch.raws) == sorted(raw for event in taken_apart for raw in batch.raws_of(event))
    assert [[decode(raw, "EU") for raw in batch.raws_of(event)] for event in taken_apart] == [
        [event] for event in taken_apart
    ]


def test_poisoned_events_do_not_hold_up_their_neighbours() -> None:
    batch = build([raw(user_id="a"), "poison", raw(user_id="b"), raw(user_id="c", region="NA")], "EU")
    assert [event.user_id for event in batch.events] == ["a", "b"]
    assert [letter.raw for letter in batch.dead] == ["poison", raw(user_id="c", region="NA")]


def test_a_batch_merges_the_entries_of_all_events_of_a_player() -> None:
    without = {key: value for key, value in GOOD.items() if key != "score"}
    laps = {**ENTRY, "board": "laps", "board_id": 18}
    taken = [
        raw(timestamp=3, score=3, entries=[{**ENTRY, "key": 3}]),
        raw(timestamp=2, score=2),
        json.dumps({**without, "timestamp": 5, "entries": [{**laps, "key": 5}]}),
        json.dumps({**without, "timestamp": 4, "entries": [{**laps, "key": 4}, {**ENTRY, "key": 4}]}),
        json.dumps({**without, "user_id": "bob", "timestamp": 1, "entries": [{**ENTRY, "member": "bob"}]}),
    ]
    batch = build(taken, "EU")
    assert batch.superseded == 3
    assert [(event.user_id, event.score, event.timestamp) for event in batch.events] == [
        ("alice", 3, 3),
        ("bob", None, 1),
    ]
    assert [(one.board, one.key, one.clock) for one in batch.events[0].entries] == [("kills", 4, 4), ("laps", 5, 5)]
    assert sorted(batch.raws) == sorted([taken[0], *taken[2:]]), "an older score alone is not needed any more"
    assert sorted(batch.raws_of(batch.events[0])) == sorted([taken[0], *taken[2:4]])
    assert list(zip(*entry_columns(batch.events), strict=True)) == [
        ("alice", 17, "all", "EU", 4, "alice", 4, 0, 0, False, False, "", ""),
        ("alice", 18, "all", "EU", 5, "alice", 5, 0, 0, False, False, "", ""),
        ("bob", 17, "all", "EU", 12, "bob", 1, 0, 0, False, False, "", ""),
    ]
    assert entry_columns(build([raw()], "EU").events) == ()


def test_a_deletion_drops_entries_from_before_it_and_spares_later_ones() -> None:
    """Of a board where the better counts, the entry from before would be the one that stands."""
    before = raw(timestamp=6, entries=[{**ENTRY, "key": 99, "best": True}])
    after = raw(timestamp=8, entries=[{**ENTRY, "key": 1, "best": True}])
    batch = build([after, before, gone(timestamp=7)], "EU")
    assert [one.key for one in batch.events[0].entries] == [1]
    assert batch.superseded == 1


def test_columns() -> None:
    said = {"protected": True, "key": "k", "credential": "self", "submits": 3, "metadata": {"car": 7}}
    batch = build([raw(user_id="a", score=1), raw(user_id="b", score=2, **said)], "EU")
    assert columns(batch.events) == (
        ["a", "b"],
        ["Alice", "Alice"],
        ["EU", "EU"],
        [1, 2],
        [1_700_000_000_000_001] * 2,
        [False, True],
        ["", "k"],
        ["", "self"],
        [0, 3],
        ["", '{"car":7}'],
    )
    assert columns([]) == ([],) * 10


def test_a_dead_letter() -> None:
    letter = json.loads(DeadLetter("raw 🎮", "why").encode())
    assert (letter["event"], letter["reason"]) == ("raw 🎮", "why")
    assert datetime.fromisoformat(letter["at"]).tzinfo is not None


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_an_event_of_an_earlier_version_keeps_the_credential_of_the_player_and_not_of_its_predecessor(
    order: tuple[int, ...],
) -> None:
    events = [
        raw(user_id="a", timestamp=1, credential="self old"),
        gone(user_id="a", timestamp=2),
        raw(user_id="a", timestamp=3, credential="server"),
        raw(user_id="a", timestamp=4),
    ]
    (event,) = build([events[place] for place in order], "EU").events
    assert (event.timestamp, event.credential) == (4, "server")
    without = [events[place] for place in order if place != 2]
    assert build(without, "EU").events[0].credential == ""
