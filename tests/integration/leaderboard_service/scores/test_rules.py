"""What an operator may rule: who sends scores, who makes players, and between which bounds scores are."""

from __future__ import annotations

from typing import Any

import httpx
import redis.asyncio as redis

from tests.conftest import Start
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.redis_dump import dump
from tests.support.service import Api


async def test_where_players_may_not_write_only_servers_do(start: Start, all_redis: redis.Redis) -> None:
    api = await start(PLAYER_WRITES="false")
    own = await api.register("alice", "EU")
    other = api.player_token("bob", "EU")
    before = await dump(all_redis)
    for response in (
        await api.post("/score/update", {"score": 1}, token=own),
        await api.post("/score/add", {"delta": 1}, token=own),
        await api.post("/score", {"user_id": "alice", "region": "EU", "score": 1}, token=own),
        await api.post("/score/create", {"region": "EU", "initialScore": 1}, token=other),
    ):
        refused(response, 403, "forbidden")
        assert "PLAYER_WRITES" in response.json()["message"]
    assert await dump(all_redis) == before
    refused(await api.try_register("carol", "EU", 1), 403, "forbidden")
    assert (await api.post("/score/create", {"region": "EU"}, token=other)).status_code == 201
    score = {"user_id": "alice", "region": "EU", "score": 9}
    assert (await api.post("/score", score, token=api.server_token())).status_code == 200
    batch = {"scores": [{"user_id": "dave", "region": "EU", "delta": 3}]}
    assert (await api.post("/scores", batch, token=api.server_token())).json()["ok"] is True
    secret = await api.post("/users/alice/secret", {}, token=api.server_token())
    assert secret.status_code == 200
    assert await api.scores("EU") == {"alice": 9, "bob": 0, "dave": 3}


async def test_where_registration_is_closed_servers_make_the_players(start: Start) -> None:
    api = await start(REGISTRATION="closed")
    for password in (None, "correct horse battery"):
        refused(await api.try_register("alice", "EU", password=password), 403, "forbidden")
    score = {"user_id": "alice", "region": "EU", "score": 9}
    assert (await api.post("/score", score, token=api.server_token())).status_code == 200
    secret = (await api.post("/users/alice/secret", {}, token=api.server_token())).json()["secret"]
    answer = await api.post("/auth/login", {"user_id": "alice", "secret": secret})
    assert answer.status_code == 200


async def each(api: Api, score: int) -> list[httpx.Response]:
    """Bring a score onto the boards in every way that sets one."""
    own, server = api.player_token("alice", "EU"), api.server_token()
    new = f"new{score}".replace("-", "m")
    item: dict[str, Any] = {"user_id": "alice", "region": "EU", "score": score}
    third = api.player_token(f"{new}-c", "EU")
    return [
        await api.post("/score/update", {"score": score}, token=own),
        await api.post("/score", item, token=server),
        await api.post("/score", {**item, "user_id": f"{new}-a"}, token=server),
        await api.try_register(f"{new}-b", "EU", score),
        await api.post("/score/create", {"region": "EU", "initialScore": score}, token=third),
    ]


async def test_scores_stay_between_the_bounds(start: Start, all_redis: redis.Redis) -> None:
    api = await start(MIN_SCORE=10, MAX_SCORE=1000)
    own = await api.register("alice", "EU")  # begins with 0 whatever the bounds are
    assert {response.status_code for response in await each(api, 10)} <= {200, 201}
    assert {response.status_code for response in await each(api, 1000)} <= {200, 201}
    before = await dump(all_redis)
    for score in (9, 1001, -5):
        for response in await each(api, score):
            refused(response, 422, "score_out_of_bounds")
            assert (response.json()["min"], response.json()["max"]) == (10, 1000)
    refused(await api.post("/score/add", {"delta": 1}, token=own), 422, "score_out_of_bounds")
    refused(await api.post("/score/add", {"delta": -991}, token=own), 422, "score_out_of_bounds")
    after = {key: value for key, value in (await dump(all_redis)).items() if "bucket" not in key}
    assert after == {key: value for key, value in before.items() if "bucket" not in key}
    assert (await api.post("/score/add", {"delta": -990}, token=own)).json()["score"] == 10
    batch = [{"user_id": "alice", "region": "EU", "score": 1001}, {"user_id": "alice", "region": "EU", "score": 20}]
    results = (await api.post("/scores", {"scores": batch}, token=api.server_token())).json()["results"]
    assert [result["ok"] for result in results] == [False, True]
    assert results[0]["error"] == "score_out_of_bounds"


async def test_who_was_there_before_the_bounds_keeps_its_score(start: Start) -> None:
    api = await start()
    own = await api.register("alice", "EU", 5000)
    bounded = await start(MAX_SCORE=1000)
    assert await bounded.scores("EU") == {"alice": 5000}
    refused(await bounded.post("/score/add", {"delta": -1}, token=own), 422, "score_out_of_bounds")
    assert (await bounded.post("/users/alice/secret", {}, token=bounded.server_token())).status_code == 200
    assert (await bounded.post("/score/add", {"delta": -4500}, token=own)).json()["score"] == 500


async def test_a_zero_that_is_set_counts_like_any_score(start: Start) -> None:
    api = await start(MIN_SCORE=10)
    own = await api.register("alice", "EU", 20)
    refused(await api.post("/score/update", {"score": 0}, token=own), 422, "score_out_of_bounds")
    item = {"user_id": "npc", "region": "EU", "score": 0}
    refused(await api.post("/score", item, token=api.server_token()), 422, "score_out_of_bounds")
