"""Test reading files of boards: JSON and YAML say the same; what YAML makes something else of is refused by line."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_cli.boards_file import BadFile, as_text, read_boards

RULES = {"kills": {"title": "Kills", "operator": "sum"}, "laps": {"order": "asc", "open": False, "min_score": -5}}

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x85"))
values = st.none() | st.booleans() | st.integers() | texts
boards = st.dictionaries(texts, st.dictionaries(texts, values, max_size=4), max_size=4)


@given(boards)
def test_both_say_the_same(wanted: dict[str, dict[str, Any]]) -> None:
    assert read_boards(as_text(wanted), "standard input") == wanted
    assert read_boards(json.dumps(wanted), "boards.json") == wanted
    assert read_boards(yaml.safe_dump(wanted), "boards.yaml") == wanted


@pytest.mark.parametrize("name", ["boards.yaml", "boards.YML", "standard input", "boards.txt"])
def test_yaml_is_read_by_its_name_or_for_it_is_no_json(name: str) -> None:
    text = (
        "# of this season\nkills: {title: Kills, operator: sum}\nlaps:\n  order: asc\n  open: false\n  min_score: -5\n"
    )
    assert read_boards(text, name) == RULES


def test_yaml_may_say_things_once() -> None:
    text = "kills: &common {title: x, open: true}\nlaps: {<<: *common, title: y}\n"
    assert read_boards(text, "b.yml") == {"kills": {"title": "x", "open": True}, "laps": {"title": "y", "open": True}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kills: {open: on}", "line 1, column 15: on is a text in one YAML and true in another: write true, or"),
        ("kills:\n  open: No", "line 2, column 9: No is a text in one YAML and false in another: write false"),
        ("kills: {title: 2026-11-27}", '2026-11-27 is a date in YAML: write "2026-11-27"'),
        ("kills: {}\nkills: {}", "line 2, column 1: 'kills' is there twice, first in line 1"),
        ("kills: {open: true, open: false}", "'open' is there twice"),
        ("2048: {}", 'line 1, column 1: 2048 is no text in YAML; a name is one: write "2048"'),
        ("on: {}", 'on is no text in YAML; a name is one: write "on"'),
        ("null: {}", 'null is no text in YAML; a name is one: write "null"'),
        ("[a]: {}", "a list or an object is no text in YAML"),
        ("kills: {max_score: 010}", "010 is 8 in one YAML and not in another: write 8"),
        ("kills: {max_score: 1:30}", "1:30 is 90 in one YAML and not in another"),
        ("kills: {max_score: 1_000}", "1_000 is 1000 in one YAML and not in another"),
        ("kills: {title: !!python/name:os.system }", "could not determine a constructor"),
        ("kills: [", "line 1, column"),
        ("kills: {}\n---\nlaps: {}", "but found another document"),
        ("", "is to have one object of rules for each board"),
        ("- kills", "is to have one object of rules for each board"),
        ("kills:", "is to have one object of rules for each board"),
        ("a: " + "[" * 10_000, "is nested too deeply"),
        ("kills: {title: !!bool x}", "has something that no rule can be"),
        ("kills: {open: !!bool [a]}", "has something that no rule can be"),
        ("kills: &a {b: *a}", "cannot be read as YAML: Circular reference detected"),
        ("kills: {title: !!binary aGk=}", "has something that no rule can be"),
        ("kills: {title: !!set {a}}", "has something that no rule can be"),
        ("kills: {max_score: !!int x}", "cannot be read as YAML"),
    ],
)
def test_what_yaml_makes_something_else_of_is_refused(text: str, said: str) -> None:
    with pytest.raises(BadFile) as problem:
        read_boards(text, "boards.yaml")
    assert said in str(problem.value)
    assert "boards.yaml" in str(problem.value)


def test_a_mark_of_the_byte_order_says_nothing() -> None:
    for name, text in (("b.json", '{"kills": {}}'), ("b.yaml", "kills: {}"), ("standard input", '{"kills": {}}')):
        assert read_boards("\ufeff" + text, name) == {"kills": {}}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"kills": {}, "kills": {}}', "cannot be read as JSON: 'kills' is there twice"),
        ('{"kills": {"open": tru}}', "cannot be read as JSON: Expecting value: line 1 column 20"),
        ('["kills"]', "is to have one object of rules for each board"),
    ],
)
def test_json_is_refused_as_json(text: str, said: str) -> None:
    for name in ("boards.json", "standard input"):
        with pytest.raises(BadFile) as problem:
            read_boards(text, name)
        assert said in str(problem.value)
    with pytest.raises(BadFile):
        read_boards("kills: {}", "boards.json")
