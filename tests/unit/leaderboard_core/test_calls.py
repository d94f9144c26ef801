"""A call is declared once: its paths are found, and its properties follow from the declaration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_core.calls import CALLS, DEFINE, Call, CallTable, Repeat

TABLE = CallTable()


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
def test_a_call_is_found_by_its_verb_and_its_path(call: Call) -> None:
    endpoint = TABLE.find(call.path.replace("{user_id}", "alice").replace("{board}", "main"))
    assert endpoint is not None
    assert endpoint.call(call.method) is call
    assert endpoint.token is any(other.token for other in CALLS if other.path == call.path)


@pytest.mark.parametrize("path", ["/", "/scoreboard", "/score/x", "/score/", "/rank/", "/rank/a/b", "/users", "/docs"])
def test_what_is_not_declared_is_not_found(path: str) -> None:
    assert TABLE.find(path) is None
    assert TABLE.route_of(path) == "other"


@given(st.text(min_size=1, max_size=30).filter(lambda text: "/" not in text))
def test_a_parameter_may_be_anything_without_a_slash(value: str) -> None:
    assert TABLE.route_of(f"/rank/{value}") == "/rank/{user_id}"


def test_head_is_answered_where_get_is() -> None:
    endpoint = TABLE.find("/top")
    assert endpoint is not None
    assert endpoint.call("HEAD") is endpoint.call("GET")
    assert endpoint.call("DELETE") is None


@pytest.mark.parametrize("repeat", Repeat)
@pytest.mark.parametrize("has_key", [False, True])
def test_what_may_be_repeated(repeat: Repeat, has_key: bool) -> None:
    allowed = {Repeat.NEVER: False, Repeat.WITH_KEY: has_key, Repeat.ALWAYS: True}[repeat]
    assert Call("POST", "/x", repeat=repeat).may_repeat(has_key=has_key) is allowed


def test_a_write_without_a_key_is_never_repeated() -> None:
    for call in CALLS:
        changes = call.method != "GET" and call.path != "/ranks"
        if changes and call.method != "DELETE" and call is not DEFINE:
            assert not call.may_repeat(has_key=False), call
