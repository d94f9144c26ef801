"""A player's way through the system, as the README tells it."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import asyncpg
import httpx
import pytest

from leaderboard_core.settings import MAX_EXACT_INTEGER
from tests.acceptance.cluster import LocalCluster, eventually
from tests.acceptance.conftest import Register

REGIONS = ("ASIA", "EU", "NA", "GLOBAL")


def test_register_submit_and_read(http: httpx.Client, register: Register) -> None:
    player = register("asia", 100)

    update = player.http.post("/score/update", json={"score": 250})
    assert update.status_code == 200
    assert update.json() | {"updated_at": 0} == {
        "ok": True,
        "user_id": player.user_id,
        "region": "ASIA",
        "score": 250,
        "updated_at": 0,
    }
    assert player.http.post("/score/add", json={"delta": -50}).json()["score"] == 200

    rank = http.get(f"/rank/{player.user_id}", params={"region": "asia"}).json()
    assert rank["found"] is True
    assert (rank["region"], rank["score"]) == ("ASIA", 200)
    top = http.get("/top", params={"region": "ASIA", "limit": 1000}).json()
    row = next(row for row in top["rows"] if row["user_id"] == player.user_id)
    assert row == {
        "rank": rank["rank"],
        "user_id": player.user_id,
        "name": f"Name of {player.user_id}",
        "region": "ASIA",
        "score": 200,
    }
    around = http.get(f"/around/{player.user_id}", params={"range": 3}).json()
    assert around["self"]["user_id"] == player.user_id
    assert player.user_id not in [row["user_id"] for row in around["around"]]


def test_a_score_is_seen_through_every_gateway_at_once(http: httpx.Client, register: Register) -> None:
    player = register("EU")
    for score in range(1, 10):
        assert player.http.post("/score/update", json={"score": score}).status_code == 200
        assert http.get(f"/rank/{player.user_id}").json()["score"] == score


def test_ties_share_a_rank_and_come_by_descending_user_id(http: httpx.Client, register: Register) -> None:
    # Scores that no other test reaches, so that these five are the top of the board.
    high = MAX_EXACT_INTEGER
    players = [register("NA", score) for score in (high, high, high - 20, high - 20, high - 40)]
    rows = http.get("/top", params={"region": "NA", "limit": 5}).json()["rows"]
    assert [row["rank"] for row in rows] == [1, 1, 3, 3, 5]
    ordered = sorted(players[:2], key=lambda player: player.user_id, reverse=True)
    assert [row["user_id"] for row in rows[:2]] == [player.user_id for player in ordered]
    assert rows[0]["score"] == MAX_EXACT_INTEGER


def test_lists_ranges_and_pages(http: httpx.Client, register: Register) -> None:
    base = secrets.randbelow(10**15)
    friends = [register(region, base + n) for n, region in enumerate(("EU", "ASIA", "NA"))]
    ids = [player.user_id for player in friends]
    listed = http.post("/ranks", json={"user_ids": [*ids, "nobody-at-all"]}).json()
    assert [(row["place"], row["user_id"]) for row in listed["rows"]] == [(1, ids[2]), (2, ids[1]), (3, ids[0])]
    assert listed["unknown"] == ["nobody-at-all"]
    best = http.get(f"/rank/{ids[2]}").json()
    assert (best["rank"], best["percentile"]) == (listed["rows"][0]["rank"], listed["rows"][0]["percentile"])
    bounds = {"min": base, "max": base + 2, "limit": 2}
    page = http.get("/range", params=bounds).json()
    rest = http.get("/range", params={**bounds, "cursor": page["next_cursor"]}).json()
    assert [row["user_id"] for row in page["rows"] + rest["rows"]] == ids[::-1]
    assert rest["next_cursor"] is None
    ranks = {"from": best["rank"], "to": best["rank"]}
    assert [row["user_id"] for row in http.get("/range", params=ranks).json()["rows"]] == [ids[2]]


def test_login_gives_a_token_that_works(http: httpx.Client, register: Register) -> None:
    player = register("EU", password="correct horse battery")
    credentials = {"user_id": player.user_id, "name": f"Name of {player.user_id}"}
    assert http.post("/auth/login", json=credentials).status_code == 401
    assert http.post("/auth/login", json=credentials | {"password": "wrong horse"}).status_code == 401
    login = http.post("/auth/login", json=credentials | {"password": "correct horse battery"})
    assert login.status_code == 200
    headers = {"Authorization": f"Bearer {login.json()['token']}"}
    assert http.post("/score/add", json={"delta": 1}, headers=headers).status_code == 200


def test_a_repeated_idempotency_key_counts_once_through_every_gateway(register: Register) -> None:
    player = register("ASIA", 0)
    headers = {"Idempotency-Key": "one"}
    answers = [player.http.post("/score/add", json={"delta": 5}, headers=headers) for _ in range(6)]
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert len({answer.headers["X-Upstream-Addr"] for answer in answers}) == 3


def test_nine_requests_show_three_gateways_and_three_services(http: httpx.Client, register: Register) -> None:
    player = register()
    answers = [http.get(f"/rank/{player.user_id}") for _ in range(9)]
    assert len({answer.headers["X-Upstream-Addr"] for answer in answers}) == 3
    assert len({answer.headers["X-Service-Addr"] for answer in answers}) == 3


@pytest.mark.local_cluster
def test_the_gateways_log_names_the_chosen_upstreams(cluster: LocalCluster, http: httpx.Client) -> None:
    ids = {http.get("/top", params={"limit": 1}).headers["X-Request-ID"] for _ in range(9)}
    chosen: dict[str, str] = {}

    def all_logged() -> bool:
        for gateway in ("gateway-1", "gateway-2", "gateway-3"):
            for line in cluster.log_lines(gateway):
                if line.get("request_id") in ids and line.get("upstream"):
                    chosen[line["request_id"]] = line["upstream"]
        return chosen.keys() == ids

    eventually(all_logged, what="the gateways' log lines")
    assert len(set(chosen.values())) == 3


@pytest.mark.local_cluster
@pytest.mark.parametrize("region", REGIONS)
def test_a_score_stands_in_the_home_regions_database(cluster: LocalCluster, register: Register, region: str) -> None:
    player = register(region, 7)
    update = player.http.post("/score/update", json={"score": -MAX_EXACT_INTEGER}).json()

    async def row() -> Any:
        connection = await asyncpg.connect(cluster.state["databases"][region])
        try:
            return await connection.fetchrow(
                "SELECT score, (extract(epoch FROM updated_at) * 1000000)::bigint AS micros FROM leaderboard"
                " WHERE user_id = $1 AND score = $2",
                player.user_id,
                -MAX_EXACT_INTEGER,
            )
        finally:
            await connection.close()

    found = eventually(lambda: asyncio.run(row()), seconds=10, what="the row in Postgres")
    assert found["micros"] == update["updated_at"]
