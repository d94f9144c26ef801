"""Which rules a board may be given, what may change of them, and which of the main board's a variable decides."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from leaderboard_core.boards import Board, Definition, Rules
from leaderboard_core.errors import FixedField, InvalidPayload
from leaderboard_core.settings import LimitSettings, load
from leaderboard_service.definitions.known import HeededRules
from leaderboard_service.definitions.rules import FIXED, check, check_main, compare, effective

ANY = load(LimitSettings, {})
OTHER: dict[str, Any] = {
    "title": "x",
    "operator": "best",
    "order": "asc",
    "ties": "earliest",
    "regions": False,
    "min_score": 1,
    "max_score": 9,
    "max_step": 0,
    "max_submits": 1,
    "submit": "server",
    "metadata_bytes": 1,
    "decimals": 1,
    "keep_windows": 0,
    "open": False,
}


def stated(limits: LimitSettings = ANY, **rules: Any) -> None:
    check_main(replace(Rules(), **rules), rules, limits)


def test_each_rule_is_either_changeable_or_fixed() -> None:
    assert OTHER.keys() == {field.name for field in fields(Rules)} - {"windows"}
    assert OTHER.keys() > set(FIXED)
    for name, value in OTHER.items():
        stated(**{name: getattr(Rules(), name)})
        if name not in FIXED:
            stated(**{name: value})
        else:
            with pytest.raises(FixedField) as refused:
                stated(**{name: value})
            assert refused.value.details == {"field": name}


@pytest.mark.parametrize("windows", [(), ("day",), ("all", "day"), ("all", "all")])
def test_there_are_no_other_windows_yet(windows: tuple[str, ...]) -> None:
    with pytest.raises(InvalidPayload) as refused:
        stated(windows=windows)
    assert refused.value.details["fields"][0]["field"] == "windows"


def test_bounds_that_leave_no_score_are_refused() -> None:
    stated(min_score=5, max_score=5)
    with pytest.raises(InvalidPayload) as refused:
        stated(min_score=6, max_score=5)
    assert refused.value.details["fields"][0]["field"] == "min_score"


@pytest.mark.parametrize(
    ("variable", "value", "field", "beyond", "inside"),
    [("MIN_SCORE", "5", "max_score", 4, 5), ("MAX_SCORE", "50", "min_score", 51, 50)],
)
def test_so_are_those_that_leave_none_beside_a_variable(
    variable: str, value: str, field: str, beyond: int, inside: int
) -> None:
    limits = load(LimitSettings, {variable: value})
    stated(limits, **{field: inside})
    with pytest.raises(InvalidPayload) as refused:
        stated(limits, **{field: beyond})
    assert refused.value.details["fields"][0]["field"] == "min_score"


@pytest.mark.parametrize(
    ("variable", "value", "field", "same", "other"),
    [
        ("MIN_SCORE", "5", "min_score", 5, 6),
        ("MAX_SCORE", "50", "max_score", 50, 40),
        ("PLAYER_WRITES", "false", "submit", "server", "player"),
        ("PLAYER_WRITES", "true", "submit", "player", "server"),
    ],
)
def test_a_variable_that_is_set_wins(variable: str, value: str, field: str, same: Any, other: Any) -> None:
    limits = load(LimitSettings, {variable: value})
    stated(limits)
    stated(limits, **{field: same})
    with pytest.raises(FixedField) as refused:
        stated(limits, **{field: other})
    assert refused.value.details == {"field": field, "variable": variable}
    assert variable in refused.value.message
    assert getattr(effective(replace(Rules(), **{field: other}), limits), field) == same
    assert effective(Rules(title="x"), limits).title == "x"


def test_a_variable_that_is_not_set_decides_nothing() -> None:
    rules = Rules(min_score=1, max_score=2, submit="server")
    assert effective(rules, ANY) == rules


OTHER_KIND = {"operator": "sum", "order": "asc", "ties": "earliest", "regions": False}


def test_what_a_boards_order_rests_on_never_changes() -> None:
    before = Rules(metadata_bytes=10)
    for name, value in OTHER.items():
        after = replace(before, **{name: value})
        if name in (*OTHER_KIND, "metadata_bytes"):
            with pytest.raises(FixedField, match=f"'{name}'") as refused:
                compare(before, after)
            assert refused.value.details == {"field": name}
        else:
            compare(before, after)
    compare(before, replace(before, metadata_bytes=11))


def test_a_board_may_begin_with_any_rules_that_agree() -> None:
    for name, value in (OTHER | OTHER_KIND).items():
        check(Rules(**{name: value}))
    for rules, field in ((Rules(windows=("day",)), "windows"), (Rules(min_score=2, max_score=1), "min_score")):
        with pytest.raises(InvalidPayload) as refused:
            check(rules)
        assert refused.value.details["fields"][0]["field"] == field


@pytest.mark.parametrize(
    ("rules", "of_players", "of_servers"),
    [
        (Rules(title="x", decimals=2), "", ""),
        (Rules(min_score=0), "0 - - - latest 1 0 0 0", "0 - - - latest 1 0 0 0"),
        (Rules(min_score=0, max_score=9, max_step=0), "0 9 0 - latest 1 0 0 0", "0 9 0 - latest 1 0 0 0"),
        (
            Rules(min_score=0, max_score=9, submit="server"),
            "0 9 - forbidden latest 1 0 0 0",
            "0 9 - - latest 1 0 0 0",
        ),
        (
            Rules(min_score=0, max_score=9, submit="server", open=False),
            "0 9 - board_closed latest 1 0 0 0",
            "0 9 - board_closed latest 1 0 0 0",
        ),
        (
            Rules(min_score=0, max_score=9, max_submits=3, metadata_bytes=64),
            "0 9 - - latest 1 0 3 64",
            "0 9 - - latest 1 0 3 64",
        ),
    ],
)
def test_the_rules_of_a_write_are_those_of_its_token(rules: Rules, of_players: str, of_servers: str) -> None:
    heeded = HeededRules.of(Definition(Board("main", 0, 7, rules)), ANY)
    assert heeded.state == "0 7"
    assert heeded.for_write(players_own=True) == of_players
    assert heeded.for_write(players_own=False) == of_servers
