"""Of states of an entry the same one stands, in whatever order, how often and in whatever groups they are merged."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_core.entries import Entry, encode, merge, merge_all, tie_of
from leaderboard_core.entries import decode as decode_text
from leaderboard_core.events import ScoreEvent, decode
from tests.support.entries import RULES, STATE, Operation, Writer, operations


def states_of(writer: Writer) -> list[Entry]:
    events = [decode(raw, "EU") for raw in writer.events]
    return [state for event in events if isinstance(event, ScoreEvent) for state in event.entries]


@given(operations, st.randoms(use_true_random=False))
def test_all_orders_repeats_and_groups_end_in_the_state_of_the_writer(
    plan: list[Operation], chance: random.Random
) -> None:
    writer = Writer("alice")
    for operation in plan:
        if operation[0] != "delete":  # what is older than that is left out before
            writer.do(operation)
    states = states_of(writer) * 2
    chance.shuffle(states)
    merged: list[Entry] = []
    while states:
        size = chance.randint(1, len(states))
        group, states = states[:size], states[size:]
        merged = merge_all([*merge_all(group), *merged] if chance.random() < 0.5 else [*merged, *merge_all(group)])
    assert merged == [writer.entries[board_id] for board_id in sorted(writer.entries)]


@pytest.mark.parametrize(("one", "other", "expected"), RULES.values(), ids=RULES)
def test_the_rule(one: Entry, other: Entry, expected: Entry) -> None:
    assert merge(one, other) == merge(other, one) == expected


@pytest.mark.parametrize(
    "more",
    [{}, {"metadata": '{"a b":"@{"}'}, {"last_key": "h f"}, {"last_key": "h f", "metadata": "{}"}, {"best": True}],
)
def test_the_text_of_an_entry_says_all_of_it(more: dict[str, Any]) -> None:
    removed = {"key": 0, "member": "", "removed": True, "metadata": ""}
    for state in (
        replace(STATE, **more),
        replace(STATE, **{**more, **removed}),
        replace(STATE, member="alice", base_at=3),
    ):
        assert decode_text(encode(state), "alice", state.board_id, state.board, state.window) == state


def test_entries_of_other_boards_and_windows_are_apart() -> None:
    others = [replace(STATE, board_id=16), STATE, replace(STATE, window="week.2026-W48")]
    assert merge_all(reversed(others)) == others


@pytest.mark.parametrize(
    ("member", "tie"),
    [
        ("alice", ""),
        ("0007307199254740991alice"[3:], "7307199254740991"),
        ("malice", None),
        ("alic", None),
        ("", None),
        ("123alice", None),
        ("٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠٠alice", None),
    ],
)
def test_the_digits_of_a_member(member: str, tie: str | None) -> None:
    assert tie_of(member, "alice") == tie
