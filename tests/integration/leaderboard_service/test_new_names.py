"""New user_ids and names must be readable; a player who has an older one is read, written and deleted as before."""

from __future__ import annotations

import pytest
import redis.asyncio as redis

from leaderboard_service.scores.writes import Write
from tests.support.redis_dump import dump
from tests.support.service import Api

NFD, NOTHING, TURNED = "bjo\u0308rn", "\u200b", "evil\u202egpj"


async def make_older(api: Api, client: redis.Redis, user_id: str, name: str) -> str:
    """Make a player as the version before would have; return a token for it."""
    await api.services.score_writer.write(Write("register", user_id, "EU", 5, "r", name="plain", user_bucket=False))
    await client.hset(f"user:{user_id}", "name", name)
    return api.player_token(user_id, "EU", name)


@pytest.mark.parametrize("user_id", [".", "..", NFD, NOTHING, TURNED], ids=ascii)
async def test_a_new_user_id_that_deceives_is_refused_everywhere(
    api: Api, all_redis: redis.Redis, user_id: str
) -> None:
    before = await dump(all_redis)
    server, token = api.server_token(), api.player_token(user_id, "EU")
    item = {"user_id": user_id, "region": "EU", "score": 1}
    refused = [
        await api.post("/auth/register", {"user_id": user_id, "name": "x", "region": "EU"}),
        await api.post("/score", item, token=server),
        await api.post("/score/create", {"region": "EU"}, token=token),
    ]
    assert [answer.status_code for answer in refused] == [422] * 3
    assert all(answer.json()["fields"][0]["field"] == "user_id" for answer in refused)
    batch = (await api.post("/scores", {"scores": [item]}, token=server)).json()
    assert (batch["accepted"], batch["results"][0]["error"]) == (0, "invalid_payload")
    assert await dump(all_redis) == before


@pytest.mark.parametrize("name", ["   ", NOTHING, TURNED, "a\u2028b"], ids=ascii)
async def test_a_new_name_that_deceives_is_refused_everywhere(api: Api, all_redis: redis.Redis, name: str) -> None:
    own = await api.register("alice", "EU", 3)
    before, server = await dump(all_redis), api.server_token()
    item = {"user_id": "alice", "region": "EU", "score": 1, "name": name}
    refused = [
        await api.post("/auth/register", {"user_id": "new", "name": name, "region": "EU"}),
        await api.post("/score", item, token=server),
        await api.post("/score", item, token=own),
        await api.post("/score", {**item, "user_id": "new"}, token=server),
        await api.post("/score/create", {"region": "EU"}, token=api.player_token("new", "EU", name)),
    ]
    assert [answer.status_code for answer in refused] == [422] * 5
    assert all(answer.json()["fields"][0]["field"] == "name" for answer in refused)
    batch = (await api.post("/scores", {"scores": [item, item | {"name": "Alice"}]}, token=server)).json()
    assert [result["ok"] for result in batch["results"]] == [False, True]
    assert set(before) <= set(await dump(all_redis))


async def test_who_has_an_older_one_goes_on(api: Api, all_redis: redis.Redis) -> None:
    token, server = await make_older(api, all_redis, NFD, TURNED), api.server_token()
    item = {"user_id": NFD, "region": "EU", "score": 7, "name": TURNED}
    answers = [
        await api.post("/score/add", {"delta": 1}, token=token),
        await api.post("/score", item, token=token),
        await api.post("/score", item, token=server),
        await api.post("/score/create", {"region": "EU"}, token=token),
    ]
    assert [answer.status_code for answer in answers] == [200] * 4
    batch = await api.post("/scores", {"scores": [item, {"user_id": NFD, "region": "EU", "delta": 2}]}, token=server)
    assert [result["score"] for result in batch.json()["results"]] == [7, 9]
    assert (await api.get(f"/rank/{NFD}")).json()["name"] == TURNED
    renamed = await api.post("/score", item | {"name": "Björn"}, token=server)
    assert renamed.status_code == 200
    assert (await api.get(f"/rank/{NFD}")).json()["name"] == "Björn"
    assert (await api.post("/score", item, token=server)).status_code == 422  # the name it had is a new one now
    assert (await api.delete(NFD)).status_code == 200
