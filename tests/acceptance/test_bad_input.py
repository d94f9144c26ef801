"""Test that bad input gets its error envelope through NGINX, and changes nothing."""

from __future__ import annotations

import base64
import contextlib
import json
from typing import Any

import httpx
import jwt
import pytest

from leaderboard_client import Client, Conflict
from tests.acceptance.conftest import Player, Register

BIG = b'{"score": 1, "padding": "' + b"x" * 2_000_000 + b'"}'


@pytest.fixture(scope="module")
def victim(url: str) -> Any:
    client = Client(url)
    with contextlib.suppress(Conflict):
        client.register("bad-input-victim", "Victim", "ASIA", 41)
    client.login("bad-input-victim", "Victim")
    player = Player(client, "bad-input-victim", "ASIA")
    yield player
    player.close()


def envelope(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/json")
    body: dict[str, Any] = answer.json()
    assert body["error"] == code
    assert body["message"]
    assert "Traceback" not in answer.text
    return body


def unchanged(victim: Player) -> None:
    assert victim.client.rank().score == 41


def unsigned(claims: dict[str, Any]) -> str:
    parts = [json.dumps({"alg": "none", "typ": "JWT"}), json.dumps(claims)]
    return ".".join(base64.urlsafe_b64encode(part.encode()).rstrip(b"=").decode() for part in parts) + "."


def forged_tokens(victim: Player) -> dict[str, str]:
    claims = jwt.decode(victim.token, options={"verify_signature": False})
    return {
        "expired elsewhere": jwt.encode(claims | {"exp": 1}, "k" * 40, algorithm="HS256"),
        "another key": jwt.encode(claims, "another key of at least thirty-two bytes", algorithm="HS256"),
        "alg none": unsigned(claims),
        "broken": victim.token[:-4],
        "no token at all": "x",
    }


def test_without_a_token(http: httpx.Client, victim: Player) -> None:
    envelope(http.post("/score/update", json={"score": 1}), 401, "missing_token")
    unchanged(victim)


@pytest.mark.parametrize("kind", ["expired elsewhere", "another key", "alg none", "broken", "no token at all"])
def test_forged_tokens(http: httpx.Client, victim: Player, kind: str) -> None:
    headers = {"Authorization": f"Bearer {forged_tokens(victim)[kind]}"}
    envelope(http.post("/score/update", json={"score": 1}, headers=headers), 401, "invalid_token")
    unchanged(victim)


@pytest.mark.parametrize(
    "raw",
    [
        b'{"score": 1.5}',
        b'{"score": "5"}',
        b'{"score": true}',
        b'{"score": 9007199254740992}',
        b'{"score": -9007199254740992}',
        b'{"score": NaN}',
        b'{"score": Infinity}',
        b'{"score": 1e400}',
        b'{"score": null}',
        b"{}",
        b"[]",
        b"",
        b"not json",
        b'{"score": 1',
        b'\xff\xfe{"score": 1}',
        b"[" * 4_000,
    ],
)
def test_bodies_that_are_no_score(victim: Player, raw: bytes) -> None:
    body = envelope(victim.http.post("/score/update", content=raw), 422, "invalid_payload")
    assert body["fields"]
    unchanged(victim)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", "n" * 201),
        ("name", "line\nbreak"),
        ("user_id", "new\nline"),
        ("user_id", ""),
        ("user_id", "with space"),
        ("user_id", "with/slash"),
        ("user_id", "u" * 129),
        ("user_id", 5),
        ("initialScore", 2**53),
        ("password", "short"),
    ],
)
def test_registrations_that_are_refused(http: httpx.Client, field: str, value: object) -> None:
    body = {"user_id": "never-made", "name": "Never", "region": "EU", field: value}
    answer = envelope(http.post("/auth/register", json=body), 422, "invalid_payload")
    assert [problem["field"] for problem in answer["fields"]] == [field]
    envelope(http.get("/rank/never-made"), 404, "user_not_found")


def test_an_unknown_region_lists_the_known_ones(http: httpx.Client) -> None:
    body = {"user_id": "never-made", "name": "Never", "region": "MOON"}
    answer = envelope(http.post("/auth/register", json=body), 422, "unknown_region")
    assert answer["regions"] == ["ASIA", "EU", "NA", "GLOBAL"]
    envelope(http.get("/top", params={"region": "MOON"}), 422, "unknown_region")


@pytest.mark.parametrize(
    "path",
    ["/top?limit=0", "/top?limit=1001", "/top?limit=x", "/top?offset=-1", "/around/a?range=-1", "/around/a?range=101"],
)
def test_queries_out_of_bounds(http: httpx.Client, path: str) -> None:
    envelope(http.get(path), 422, "invalid_payload")


def test_a_body_of_two_megabytes(victim: Player) -> None:
    envelope(victim.http.post("/score/update", content=BIG), 413, "payload_too_large")

    def chunks() -> Any:
        for start in range(0, len(BIG), 65_536):
            yield BIG[start : start + 65_536]

    envelope(victim.http.post("/score/update", content=chunks()), 413, "payload_too_large")
    unchanged(victim)


def test_unknown_path_and_wrong_verb(http: httpx.Client, victim: Player) -> None:
    envelope(http.get("/nothing/here"), 404, "not_found")
    envelope(http.delete("/top"), 405, "method_not_allowed")
    envelope(victim.http.get("/score/update"), 405, "method_not_allowed")


def test_taken_user_ids_and_foreign_players(register: Register, http: httpx.Client) -> None:
    player = register("EU", 3)
    body = {"user_id": player.user_id, "name": "Thief", "region": "ASIA"}
    envelope(http.post("/auth/register", json=body), 409, "user_exists")
    submit = {"user_id": "bad-input-victim", "region": "ASIA", "score": 1}
    envelope(player.http.post("/score", json=submit), 403, "forbidden")
    envelope(player.http.post("/score/create", json={"region": "ASIA"}), 409, "region_mismatch")
    assert player.http.get(f"/rank/{player.user_id}").json()["score"] == 3


def test_an_unknown_player(http: httpx.Client) -> None:
    for path in ("/rank/nobody-at-all", "/around/nobody-at-all"):
        assert envelope(http.get(path), 404, "user_not_found")["found"] is False
