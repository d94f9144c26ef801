"""Test a player's requests through the system, as the README shows them."""

from __future__ import annotations

import asyncio
import secrets
from typing import Any

import asyncpg
import httpx
import pytest

from leaderboard_client import Client, Row, Unauthorized
from leaderboard_core.settings import MAX_EXACT_INTEGER
from tests.acceptance.cluster import LocalCluster
from tests.acceptance.conftest import Register
from tests.support.waiting import wait_until

REGIONS = ("ASIA", "EU", "NA", "GLOBAL")


def test_register_submit_and_read(visitor: Client, register: Register) -> None:
    player = register("asia", 100)
    written = player.client.update(250)
    assert (written.user_id, written.region, written.score) == (player.user_id, "ASIA", 250)
    assert player.client.add(-50).score == 200

    rank = visitor.rank(player.user_id, region="asia")
    assert (rank.region, rank.score) == ("ASIA", 200)
    row = Row(rank.rank, rank.position, player.user_id, f"Name of {player.user_id}", "ASIA", 200)
    assert row in list(visitor.iter_top("ASIA"))
    around = visitor.around(player.user_id, reach=3)
    assert around.own.user_id == player.user_id
    assert player.user_id not in [row.user_id for row in around.around]


def test_a_score_is_seen_through_every_gateway_at_once(visitor: Client, register: Register) -> None:
    player = register("EU")
    for score in range(1, 10):
        player.client.update(score)
        assert visitor.rank(player.user_id).score == score


def test_ties_share_a_rank_and_come_by_descending_user_id(visitor: Client, register: Register) -> None:
    # Higher than in any other test, so that these five are the top of the board.
    high = MAX_EXACT_INTEGER
    players = [register("NA", score) for score in (high, high, high - 20, high - 20, high - 40)]
    rows = visitor.top("NA", limit=5).rows
    assert [row.rank for row in rows] == [1, 1, 3, 3, 5]
    ordered = sorted(players[:2], key=lambda player: player.user_id, reverse=True)
    assert [row.user_id for row in rows[:2]] == [player.user_id for player in ordered]
    assert rows[0].score == MAX_EXACT_INTEGER


def test_lists_ranges_and_pages(http: httpx.Client, register: Register) -> None:
    assert set(http.get("/regions").json()["regions"]) == {"ASIA", "EU", "NA", "GLOBAL"}
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


def test_a_player_is_exported_and_deleted_for_good(http: httpx.Client, register: Register) -> None:
    player = register("EU", 7, password="correct horse battery")
    path = f"/users/{player.user_id}"
    assert http.get(path).status_code == http.delete(path).status_code == 401
    exported = player.http.get(path).json()
    assert (exported["user"]["score"], exported["user"]["protected"]) == (7, True)
    assert register("EU").http.delete(path).status_code == 403
    key = {"Idempotency-Key": "bye"}
    first = player.http.delete(path, headers=key)
    assert (first.status_code, player.http.delete(path, headers=key).json()) == (200, first.json())
    assert http.get(f"/rank/{player.user_id}").status_code == 404
    assert player.http.post("/score/create", json={"region": "EU"}).json()["error"] == "invalid_token"
    again = register("EU", 1, user_id=player.user_id)
    assert again.http.post("/score/add", json={"delta": 1}).json()["score"] == 2
    assert player.http.post("/score/add", json={"delta": 1}).status_code == 401
    assert again.http.delete(path).status_code == 200


def test_login_gives_a_token_that_works(visitor: Client, register: Register) -> None:
    player = register("EU", password="correct horse battery")
    name = f"Name of {player.user_id}"
    for wrong in (None, "wrong horse"):
        with pytest.raises(Unauthorized, match="invalid_credentials"):
            visitor.login(player.user_id, name, password=wrong)
    visitor.login(player.user_id, name, password="correct horse battery")
    assert visitor.add(1).score == 1


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

    wait_until(all_logged, "the gateways' log lines")
    assert len(set(chosen.values())) == 3


@pytest.mark.local_cluster
@pytest.mark.parametrize("region", REGIONS)
def test_a_score_stands_in_the_home_regions_database(cluster: LocalCluster, register: Register, region: str) -> None:
    player = register(region, 7)
    written = player.client.update(-MAX_EXACT_INTEGER)

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

    found = wait_until(lambda: asyncio.run(row()), "the row in Postgres", seconds=10)
    assert found["micros"] == written.updated_at
