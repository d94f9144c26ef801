"""A player on the board without a hash, as eviction leaves it, is nobody new: repaired before anything is written."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from tests.conftest import Start
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import drained, working


async def refusals(api: Api, token: str) -> list[tuple[int, str]]:
    """Answers to everything that would take the player for a new one."""
    answers = [
        await api.post("/score/add", {"delta": 5}, token=token),
        await api.post("/score/create", {"region": "EU"}, token=token),
        await api.try_register("alice", "NA"),
        await api.try_register("alice", "EU", password="a long password"),
        await api.login("alice", name="alice"),
        await api.delete("alice", token),
        await api.post("/score", {"user_id": "alice", "region": "EU", "score": 1}, token=api.server_token()),
    ]
    return [(answer.status_code, answer.json()["error"]) for answer in answers]


@pytest.mark.parametrize("saved", [True, False], ids=["saved", "in the queue"])
async def test_a_player_without_a_hash_is_repaired_and_not_made_anew(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis, saved: bool
) -> None:
    api = await start()
    token = await api.register("alice", "EU", 1)
    async with working(environ):
        await drained(all_redis)
    assert (await api.post("/score/add", {"delta": 4999}, token=token)).json()["score"] == 5000
    if saved:
        async with working(environ):
            await drained(all_redis)
    await all_redis.delete("user:alice")
    before = await all_redis.zrange("leaderboard:EU", 0, -1, withscores=True)
    assert await refusals(api, token) == [(503, "warming_up")] * 7
    batch = {"scores": [{"user_id": user_id, "region": "EU", "score": 1} for user_id in ("alice", "bob")]}
    items = (await api.post("/scores", batch, token=api.server_token())).json()["results"]
    assert [item.get("error") for item in items] == ["warming_up", None]
    reads = (
        *("/rank/alice", "/top", "/around/alice", "/range?min=1"),
        *("/top?region=EU&limit=1", "/range?region=EU&min=4000", "/around/alice?region=EU"),  # nobody else with a name
    )
    for path in reads:
        assert (await api.get(path)).headers["x-leaderboard-source"] == "postgres"
    assert (await api.post("/ranks", {"user_ids": ["alice"]})).headers["x-leaderboard-source"] == "postgres"
    assert [row for row in before if row[0] == "alice"] == [("alice", 5000.0)]
    async with working(environ, "worker-2", heartbeats=True):

        async def written() -> bool:
            return (await api.post("/score/add", {"delta": 5}, token=token)).status_code == 200

        async def reported_no_more() -> bool:
            return not await all_redis.zrange("shard:incomplete", 0, -1)

        await eventually(written, "the repair")
        await eventually(reported_no_more)
    for path in reads:
        answer = await api.get(path)
        assert answer.headers["x-leaderboard-source"] == "redis"
    assert (await api.get("/rank/alice")).json()["score"] == 5005


async def test_who_is_nowhere_else_goes_from_the_boards(
    start: Start, environ: dict[str, str], all_redis: redis.Redis, databases: RegionDatabases
) -> None:
    api = await start()
    for board in ("leaderboard:EU", "leaderboard:GLOBAL"):
        await all_redis.zadd(board, {"ghost": 7})
    refused = await api.try_register("ghost", "EU")
    assert (refused.status_code, refused.json()["error"]) == (503, "warming_up")
    async with working(environ, heartbeats=True):

        async def registered() -> bool:
            return (await api.try_register("ghost", "EU", 3)).status_code == 201

        await eventually(registered, "the end of a ghost")
    rows: Any = await all_redis.zrange("leaderboard:GLOBAL", 0, -1, withscores=True)
    assert rows == [("ghost", 3.0)]
