"""Rules and definitions as they are written down, and which of two definitions is the later one."""

from __future__ import annotations

import itertools
import json

import pytest

from leaderboard_core.boards import MAIN, Board, Definition, Rules

RULES = Rules(
    title="Season 3", min_score=-5, max_score=2**53 - 1, max_step=500, submit="server", decimals=2, open=False
)


def test_rules_are_read_as_they_were_written() -> None:
    assert Rules.decode(RULES.encode()) == RULES
    assert Rules.decode(Rules().encode()) == Rules()
    assert '"max_score":9007199254740991' in RULES.encode()


def test_what_a_later_version_has_added_is_ignored_and_what_it_left_out_is_the_default() -> None:
    later = json.dumps({**json.loads(RULES.encode()), "colour": "red", "windows": ["all"]})
    assert Rules.decode(later) == RULES
    assert Rules.decode('{"title":"x"}') == Rules(title="x")


def definition(board_id: int, version: int, *, gone: bool = False) -> Definition:
    return Definition(Board("x", board_id, version, Rules()), gone)


def test_of_two_definitions_the_later_creation_counts_then_the_end_then_the_version() -> None:
    in_order = [
        definition(1, 1),
        definition(1, 9),
        definition(1, 10),
        definition(1, 3, gone=True),
        definition(2, 0),
        definition(12, 0, gone=True),
    ]
    for earlier, later in itertools.combinations(in_order, 2):
        assert earlier.age < later.age
    assert definition(1, 3, gone=True).age == definition(1, 9, gone=True).age


def test_a_definition_is_read_as_a_shard_has_it() -> None:
    assert Definition.parse("main", None, None) == (MAIN, False, "")
    assert Definition.parse("main", None, None).state == "0 0"
    found = Definition.parse("main", "0 7", RULES.encode())
    assert (found.board.id, found.board.version, found.board.rules, found.gone) == (0, 7, RULES, False)
    gone = Definition.parse("kills", "17 gone", RULES.encode())
    assert (gone.board.id, gone.gone, gone.state) == (17, True, "17 gone")
    with pytest.raises(ValueError, match="kills is not defined"):
        Definition.parse("kills", None, None)


def test_what_a_later_version_adds_is_compared_and_not_read() -> None:
    found = Definition.parse("main", "0 7 and more", RULES.encode())
    assert (found.board.version, found.state) == (7, "0 7 and more")
