"""Tokens: what is issued is accepted, and nothing else is."""

from __future__ import annotations

import base64
import json
import time
import tracemalloc
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leaderboard_core.errors import InvalidToken, MissingToken
from leaderboard_core.settings import AuthSettings, load
from leaderboard_core.tokens import Tokens

SECRET = "c0ffee5eed7a11ad0b57ac1e9f3d2468ab"
CLAIMS = {"user_id": "alice", "name": "Alice", "region": "EU"}


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(load(AuthSettings, {"JWT_SECRET": SECRET, "JWT_TTL_SECONDS": "100"}))


def signed(secret: str = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    return sign(changed, secret, algorithm)


def sign(changed: Mapping[str, object], secret: str = SECRET, algorithm: str = "HS256") -> str:
    """A token with some claims changed, or left out where None."""
    claims = {**CLAIMS, "exp": time.time() + 100, **changed}
    return jwt.encode({key: value for key, value in claims.items() if value is not None}, secret, algorithm)


def test_what_is_issued_is_accepted(tokens: Tokens) -> None:
    who = tokens.verify(tokens.issue("日本 🎮".replace(" ", ""), 'Ali"ce', "EU"))
    assert (who.user_id, who.name, who.region, who.role, who.is_server) == ("日本🎮", 'Ali"ce', "EU", "player", False)
    assert 99 <= who.expires_at - time.time() <= 101
    server = tokens.verify(tokens.issue("game", "game", "GLOBAL", role="server", ttl_seconds=5))
    assert server.is_server
    assert server.expires_at - time.time() <= 6
    admin = tokens.verify(tokens.issue("ops", "ops", "GLOBAL", role="admin"))
    assert (admin.is_admin, admin.is_server, admin.is_player) == (True, False, False)


def test_claims_of_a_token(tokens: Tokens) -> None:
    claims = jwt.decode(tokens.issue("alice", "Alice", "EU"), SECRET, algorithms=["HS256"])
    assert {key: claims[key] for key in CLAIMS} == CLAIMS
    assert 99 < claims["exp"] - claims["iat"] <= 100
    assert "role" not in claims


def test_the_time_of_issue_is_exact_to_the_microsecond_and_of_any_clock(tokens: Tokens) -> None:
    now = time.time_ns() // 1000
    for issued_at in (now, now + 1, now + 3_600_000_000, now - 3_600_000_000, 1_999_999_999_999_999):
        assert tokens.verify(tokens.issue("alice", "Alice", "EU", issued_at=issued_at)).issued_at == issued_at
    assert abs(tokens.verify(tokens.issue("alice", "Alice", "EU")).issued_at - now) < 60_000_000
    assert tokens.verify(signed()).issued_at == 0, "a token of another issuer, which does not say when"
    assert tokens.verify(signed(iat=1_700_000_000)).issued_at == 1_700_000_000_000_000


@pytest.mark.parametrize("claim", ["user_id", "name", "region", "exp"])
def test_every_claim_is_required(tokens: Tokens, claim: str) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(sign({claim: None}))


@pytest.mark.parametrize("claim", ["user_id", "name", "region", "role"])
@pytest.mark.parametrize("value", ["", 5, True, ["x"], {"a": 1}])
def test_claims_are_texts(tokens: Tokens, claim: str, value: object) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(sign({claim: value}))


def test_other_signatures_are_refused(tokens: Tokens) -> None:
    claims = {**CLAIMS, "exp": int(time.time()) + 100}
    unsigned = jwt.encode(claims, "", algorithm="none")
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    for token in (
        unsigned,
        *(
            f"{base64.urlsafe_b64encode(json.dumps({'alg': alg}).encode()).rstrip(b'=').decode()}.{body}."
            for alg in ("none", "None", "NONE", "", "HS256")
        ),
        signed("another secret, which is long enough too"),
        signed(SECRET * 2, "HS512"),
        signed(SECRET * 2, "HS384"),
        signed() + "A",
        signed()[:-2],
    ):
        with pytest.raises(InvalidToken):
            tokens.verify(token)


def test_expired_tokens_are_refused_also_when_they_were_seen_before(tokens: Tokens) -> None:
    with pytest.raises(InvalidToken):
        tokens.verify(signed(exp=int(time.time()) - 1))
    short = signed(exp=int(time.time()) + 1)
    try:
        tokens.verify(short)
    except InvalidToken:  # the second was over already
        return
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            tokens.verify(short)
        except InvalidToken:
            break
        time.sleep(0.02)
    else:
        pytest.fail("the token never expired")
    with pytest.raises(InvalidToken):
        tokens.verify(short)


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Bearer  ", "Basic abc", "abc"])
def test_a_missing_token(tokens: Tokens, header: str | None) -> None:
    with pytest.raises(MissingToken) as caught:
        tokens.verify_header(header)
    assert caught.value.code == "missing_token"


def test_the_scheme_may_be_written_in_any_case(tokens: Tokens) -> None:
    token = tokens.issue("alice", "Alice", "EU")
    for header in (f"Bearer {token}", f"bearer {token}", f"BEARER   {token} "):
        assert tokens.verify_header(header).user_id == "alice"


def test_one_token_written_in_many_ways_does_not_fill_the_memory(tokens: Tokens) -> None:
    token = tokens.issue("alice", "Alice", "EU")
    tracemalloc.start()
    try:
        for number in range(1000):
            assert tokens.verify_header(f"Bearer{' ' * (number + 1)}{token}").user_id == "alice"
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 100_000


@given(st.text())
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(InvalidToken):
        Tokens(load(AuthSettings, {"JWT_SECRET": SECRET})).verify(text)


@pytest.mark.parametrize(
    "changed",
    [
        {"user_id": "a\nb"},
        {"user_id": "a b"},
        {"user_id": "a/b"},
        {"user_id": "a\0b"},
        {"user_id": "x" * 129},
        {"user_id": "\udc80x"},
        {"name": "n" * 201},
        {"name": "a\nb"},
        {"role": "root"},
        {"role": "Server"},
        {"role": None},
        {"role": ["server"]},
        {"exp": 10**400},
        {"exp": "tomorrow"},
        {"exp": None},
        {"iat": "yesterday"},
        {"iat": ["x"]},
        {"iat": float("inf")},
        {"iat": float("nan")},
        {"iat": 10**400},
    ],
)
def test_claims_that_could_not_be_registered_are_refused(changed: dict[str, object]) -> None:
    claims = {"user_id": "ann", "name": "Ann", "region": "EU", "exp": int(time.time()) + 60, **changed}
    with pytest.raises(InvalidToken):
        Tokens(load(AuthSettings, {"JWT_SECRET": SECRET})).verify(jwt.encode(claims, SECRET, algorithm="HS256"))
