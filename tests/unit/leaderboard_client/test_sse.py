"""Test the parser of Server-Sent Events against the HTML standard's rules and examples."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_client import Event
from leaderboard_client.sse import EventParser

FEED = (
    "\ufeffretry: 1000\n: heartbeat\n\n"
    "event: snapshot\r\nid: a1\r\ndata: {\r\ndata: }\r\n\r\n"
    "data: naïve\u2028名 🏆\rid: a2\r\r"
    "event: change\ndata:\n\n"
).encode()
EVENTS = [Event("snapshot", "{\n}", "a1"), Event("message", "naïve\u2028名 🏆", "a2"), Event("change", "", "a2")]


def parsed(text: str) -> list[Event]:
    return EventParser().feed(text.encode())


@given(st.lists(st.integers(0, len(FEED)), max_size=12))
def test_however_the_bytes_are_cut_the_events_are_the_same(cuts: list[int]) -> None:
    parser, events, bounds = EventParser(), list[Event](), [0, *sorted(cuts), len(FEED)]
    for start, end in pairwise(bounds):
        events += parser.feed(FEED[start:end])
    assert events == EVENTS
    assert parser.retry_seconds == 1.0
    assert parser.last_event_id == "a2"


def test_one_byte_at_a_time() -> None:
    parser = EventParser()
    assert [event for number in range(len(FEED)) for event in parser.feed(FEED[number : number + 1])] == EVENTS


@pytest.mark.parametrize(
    ("text", "events"),
    [
        # The examples of the standard.
        ("data: YHOO\ndata: +2\ndata: 10\n\n", [Event("message", "YHOO\n+2\n10")]),
        ("data\n\ndata\ndata\n\ndata:", [Event("message", ""), Event("message", "\n")]),
        ("data:test\n\ndata: test\n\n", [Event("message", "test"), Event("message", "test")]),
        ("data:  two blanks\n\n", [Event("message", " two blanks")]),
        ("event: add\n\ndata: x\n\n", [Event("message", "x")]),
        ("unknown: 1\nDATA: 2\n\n", []),
        ("id: 1\n\ndata: x\n\n", [Event("message", "x", "1")]),
        ("id: 1\ndata: x\n\nid\ndata: y\n\n", [Event("message", "x", "1"), Event("message", "y", "")]),
        ("id: 1\0\ndata: x\n\n", [Event("message", "x", "")]),
        ("data: x\n", []),
    ],
)
def test_the_rules_of_the_standard(text: str, events: list[Event]) -> None:
    assert parsed(text) == events


@pytest.mark.parametrize("retry", ["", "x", "-1", "1.5", "١"])
def test_a_retry_that_is_no_number_is_ignored(retry: str) -> None:
    parser = EventParser()
    parser.feed(f"retry: 20\nretry: {retry}\n".encode())
    assert parser.retry_seconds == 0.02


def test_a_new_connection_keeps_the_last_id_and_drops_the_rest() -> None:
    parser = EventParser("a0")
    assert parser.last_event_id == "a0"
    assert parser.feed(b"id: a1\ndata: x\n\nid: a2\nevent: change\ndata: brok") == [Event("message", "x", "a1")]
    parser.restart()
    assert parser.last_event_id == "a1"
    assert parser.feed(b"data: y\n\n") == [Event("message", "y", "a1")]


def test_an_id_counts_when_its_event_is_whole() -> None:
    parser = EventParser()
    parser.feed(b"id: a1\ndata: x\n")
    assert parser.last_event_id == ""


def test_bytes_that_are_no_utf8_break_nothing() -> None:
    assert EventParser().feed(b"data: a\xffb\n\n") == [Event("message", "a\ufffdb")]
