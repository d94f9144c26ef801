"""The main board's rules in every way to write a score, by processes that learn of them when they write."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import redis.asyncio as redis

from tests.conftest import Start
from tests.integration.leaderboard_service.players.test_users import refused
from tests.support.all_redis import AllRedis
from tests.support.redis_dump import dump
from tests.support.service import Api
from tests.support.waiting import eventually


async def scores_of_all_kinds(api: Api, score: int) -> list[httpx.Response]:
    """Bring a score onto the boards in each way that sets one, and in those that make a player with it."""
    own, server = api.player_token("alice", "EU"), api.server_token()
    return [
        await api.post("/score/update", {"score": score}, token=own),
        await api.post("/score", {"user_id": "alice", "region": "EU", "score": score}, token=own),
        await api.post("/score", {"user_id": "alice", "region": "EU", "score": score}, token=server),
        await api.post("/score", {"user_id": "new", "region": "EU", "score": score}, token=server),
        await api.post("/score/add", {"delta": score}, token=own),
        await api.post("/score/create", {"region": "EU", "initialScore": score}, token=api.player_token("new", "EU")),
        await api.try_register("new", "EU", score),
    ]


async def batch(api: Api, *items: dict[str, Any]) -> list[dict[str, Any]]:
    found = await api.post(
        "/scores", {"scores": [{"region": "EU", **item} for item in items]}, token=api.server_token()
    )
    assert found.status_code == 200, found.text
    results: list[dict[str, Any]] = found.json()["results"]
    return results


@asynccontextmanager
async def unchanged(client: AllRedis) -> AsyncIterator[None]:
    before = await dump(client)
    yield
    assert await dump(client) == before


async def test_a_closed_board_takes_no_score_and_lets_players_come_and_go(
    any_api: Api, start: Start, all_redis: AllRedis
) -> None:
    other = await start()
    own = await any_api.register("alice", "EU", 10)
    key = {"token": own, "key": "match-1"}
    before = await other.post("/score/add", {"delta": 5}, **key)
    assert (await any_api.define({"open": False})).status_code == 200
    async with unchanged(all_redis):
        for response in await scores_of_all_kinds(other, 7):
            refused(response, 409, "board_closed")
        assert [one["error"] for one in await batch(other, {"user_id": "alice", "score": 7})] == ["board_closed"]
    # What was answered before is answered again; what sets no score goes on.
    assert (await other.post("/score/add", {"delta": 5}, **key)).json() == before.json()
    assert (await other.try_register("bob", "EU")).status_code == 201
    create = await other.post("/score/create", {"region": "EU"}, token=other.player_token("carol", "EU"))
    assert create.status_code == 201
    assert (await other.post("/users/bob/secret", {}, token=other.server_token())).status_code == 200
    assert (await other.delete("bob")).status_code == 200
    assert await other.scores() == {"alice": 15, "carol": 0}
    assert (await any_api.define({})).status_code == 200
    assert (await other.post("/score/update", {"score": 7}, token=own)).status_code == 200


async def test_bounds_hold_for_what_is_set_and_for_the_sum(any_api: Api, start: Start, all_redis: AllRedis) -> None:
    other = await start()
    own = await any_api.register("alice", "EU", 10)
    assert (await any_api.define({"min_score": 0, "max_score": 50})).status_code == 200
    async with unchanged(all_redis):
        for response in await scores_of_all_kinds(other, 51):
            refused(response, 422, "score_out_of_bounds")
            assert (response.json()["min"], response.json()["max"]) == (0, 50)
        refused(await other.post("/score/add", {"delta": -11}, token=own), 422, "score_out_of_bounds")
    codes = [
        one.get("error")
        for one in await batch(other, {"user_id": "alice", "delta": 41}, {"user_id": "alice", "delta": 40})
    ]
    assert codes == ["score_out_of_bounds", None]
    assert await other.scores() == {"alice": 50}


async def test_a_batch_goes_by_rules_of_which_its_service_knew_nothing(any_api: Api, start: Start) -> None:
    other = await start()
    assert [one["ok"] for one in await batch(other, {"user_id": "alice", "score": 60})] == [True]
    assert (await any_api.define({"max_score": 50})).status_code == 200
    found = await batch(other, {"user_id": "alice", "score": 51}, {"user_id": "alice", "score": 50})
    assert [one.get("error") for one in found] == ["score_out_of_bounds", None]


async def test_a_batch_goes_to_a_board_that_was_made_anew_elsewhere(any_api: Api, start: Start) -> None:
    other = await start()
    kills = {"user_id": "alice", "board": "kills", "score": 5}
    for definition, refused_add, score, improved in (
        ({}, None, 6, False),
        ({"operator": "best", "order": "asc"}, "wrong_operator", 5, False),
        ({"operator": "sum", "regions": False}, None, 13, True),
    ):
        assert (await any_api.define(definition, "kills")).status_code == 201
        more = {"user_id": "alice", "board": "kills", "delta": 2}
        found = await batch(other, kills, {"user_id": "alice", "score": 1}, more, {**kills, "score": 6})
        assert [one.get("error") for one in found] == [None, None, refused_add, None]
        assert (found[0]["score"], found[3]["score"], found[3]["improved"]) == (5, score, improved)
        assert (await other.get("/rank/alice", board="kills")).json()["score"] == score
        headers = {"Authorization": f"Bearer {any_api.admin_token()}"}
        assert (await any_api.http.delete("/boards/kills", headers=headers)).status_code == 200
    assert [one.get("error") for one in await batch(other, kills)] == ["board_not_found"]


async def test_an_add_has_a_largest_size(any_api: Api, start: Start, all_redis: AllRedis) -> None:
    other = await start()
    own = await any_api.register("alice", "EU", 10)
    assert (await any_api.define({"max_step": 20})).status_code == 200
    async with unchanged(all_redis):
        for delta in (21, -21, 2**53 - 50):
            response = await other.post("/score/add", {"delta": delta}, token=own)
            refused(response, 422, "score_out_of_bounds")
            assert (response.json()["field"], response.json()["max_step"]) == ("max_step", 20)
        new = await batch(other, {"user_id": "new", "delta": 21})
        assert [one["error"] for one in new] == ["score_out_of_bounds"]
    assert (await other.post("/score/add", {"delta": -20}, token=own)).json()["score"] == -10
    assert (await other.post("/score/update", {"score": 1000}, token=own)).status_code == 200


async def test_where_servers_submit_players_do_not(any_api: Api, start: Start, all_redis: AllRedis) -> None:
    other = await start()
    own = await any_api.register("alice", "EU", 10)
    assert (await any_api.define({"submit": "server"})).status_code == 200
    async with unchanged(all_redis):
        for response in (
            await other.post("/score/update", {"score": 1}, token=own),
            await other.post("/score/add", {"delta": 1}, token=own),
            await other.post("/score", {"user_id": "alice", "region": "EU", "score": 1}, token=own),
            await other.try_register("bob", "EU", 1),
        ):
            refused(response, 403, "forbidden")
    assert (await other.try_register("bob", "EU")).status_code == 201
    assert (await batch(other, {"user_id": "alice", "delta": 1}))[0]["score"] == 11
    score = {"user_id": "bob", "region": "EU", "score": 9}
    assert (await other.post("/score", score, token=other.server_token())).status_code == 200


async def test_a_variable_that_is_set_is_heeded_whatever_was_stated(start: Start) -> None:
    free, bound = await start(), await start(MAX_SCORE="100")
    own = await free.register("alice", "EU", 10)
    assert (await free.define({"min_score": 5, "max_score": 50})).status_code == 200
    assert (await bound.post("/score/update", {"score": 100}, token=own)).status_code == 200
    refused(await bound.post("/score/update", {"score": 101}, token=own), 422, "score_out_of_bounds")
    refused(await bound.post("/score/update", {"score": 4}, token=own), 422, "score_out_of_bounds")
    refused(await free.post("/score/update", {"score": 51}, token=own), 422, "score_out_of_bounds")


async def test_a_write_that_meets_another_definition_each_time_is_refused(api: Api, redis_1: redis.Redis) -> None:
    """Somebody states definitions faster than a service can read them."""
    own, version, done = await api.register("alice", "EU"), 0, asyncio.Event()

    async def state() -> None:
        nonlocal version
        while not done.is_set():
            version += 1
            await redis_1.set("board:main", f"0 {version}")

    async def is_refused() -> bool:
        one = await api.post("/score/add", {"delta": 1}, token=own)
        many = await api.post("/scores", {"scores": [{"user_id": "bob", "region": "EU", "delta": 1}]}, token=server)
        return [one.status_code, many.status_code] == [503, 503] and "definition" in one.json()["message"]

    server = api.server_token()
    stating = [asyncio.create_task(state()) for _ in range(4)]
    try:
        await eventually(is_refused, "a write that is refused", seconds=20)
    finally:
        done.set()
        await asyncio.gather(*stating)
    assert (await api.post("/score/update", {"score": 3}, token=own)).status_code == 200
