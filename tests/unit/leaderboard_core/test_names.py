"""The rule for user_ids and names is the same in bodies (pydantic's patterns) and in tokens (our functions)."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from leaderboard_core.names import is_name, is_user_id, why_no_new_name, why_no_new_user_id
from leaderboard_service.schemas import Name, UserId

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300)
user_ids, names = TypeAdapter(UserId), TypeAdapter(Name)


def accepts(adapter: TypeAdapter[str], text: str) -> bool:
    try:
        adapter.validate_python(text)
    except ValidationError:
        return False
    return True


@given(texts)
@example("")
@example("a\n")
@example("\x85")
@example("\u2028")
@example("\u200b")
@example("a/b")
@example("x" * 128)
@example("x" * 129)
def test_user_ids(text: str) -> None:
    assert is_user_id(text) == accepts(user_ids, text)


@given(texts)
@example("")
@example("\n")
@example("x" * 200)
@example("🎮" * 201)
def test_names(text: str) -> None:
    assert is_name(text) == accepts(names, text)


@given(st.characters())
def test_every_single_character(character: str) -> None:
    if not "\ud800" <= character <= "\udfff":
        assert is_user_id(character) == accepts(user_ids, character)
        assert is_name(character) == accepts(names, character)


def test_surrogates_are_no_characters() -> None:
    assert not is_user_id("\udc80")
    assert not is_name("\ud800")


@pytest.mark.parametrize(
    "text",
    ["alice", "...", ".a", "björn", "李雷", "🎮", "👩‍👩‍👧", "نص", "प्र", "\u2067עברית\u2069", "a\u202eb\u202c"],
)
def test_ids_and_names_that_a_new_player_may_have(text: str) -> None:
    assert why_no_new_user_id(text) is None
    assert why_no_new_name(text) is None


@pytest.mark.parametrize(
    "text",
    [
        "\u200b",
        "\u3164",
        "\u115f\u1160",
        "\u2800\u2800",
        "\u00ad",
        "\ufe0f",
        "\u0301",
        "\u202e",
        "a\u202eb",
        "\u2066a",
        "a\u2069",
        "a\u202c",
    ],
    ids=ascii,
)
def test_ids_and_names_that_show_nothing_or_deceive(text: str) -> None:
    assert why_no_new_user_id(text)
    assert why_no_new_name(text)


def test_ids_that_urls_or_normalization_change() -> None:
    assert why_no_new_user_id(".")
    assert why_no_new_user_id("..")
    assert why_no_new_user_id("bjo\u0308rn")
    assert why_no_new_name("bjo\u0308rn") is None


@pytest.mark.parametrize("text", ["   ", "\u00a0", "a\u2028b", "a\u2029"], ids=ascii)
def test_names_that_are_no_line(text: str) -> None:
    assert is_name(text)
    assert why_no_new_name(text)
