"""Score writes: create, update, add and submit, their answers and their refusals."""

from __future__ import annotations

import json

import httpx
import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.settings import MAX_EXACT_INTEGER
from tests.conftest import Start
from tests.support.infrastructure import Infrastructure
from tests.support.layouts import Layout
from tests.support.proxy import proxy
from tests.support.redis_dump import dump
from tests.support.service import Api, gather


def code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]


async def events(client: redis.Redis, region: str) -> list[dict[str, object]]:
    """The queue's events, oldest first."""
    raw = await client.lrange(f"queue:scores:{region}", 0, -1)
    return [json.loads(event) for event in reversed(raw)]


async def test_create_makes_a_card_once(any_api: Api) -> None:
    token = any_api.player_token("alice", "EU", "Alice")
    card = {"user_id": "alice", "name": "Alice", "region": "EU", "score": 5}
    first = await any_api.post("/score/create", {"region": "eu", "initialScore": 5}, token=token)
    assert (first.status_code, first.json()) == (201, {"ok": True, "created": True, "card": card})
    second = await any_api.post("/score/create", {"region": "EU", "initialScore": 99}, token=token)
    assert (second.status_code, second.json()) == (200, {"ok": True, "created": False, "card": card})
    assert await any_api.scores() == {"alice": 5}


async def test_create_in_another_region_is_refused(any_api: Api, all_redis: redis.Redis) -> None:
    token = any_api.player_token("alice", "EU")
    before = await dump(all_redis)
    response = await any_api.post("/score/create", {"region": "ASIA"}, token=token)
    assert code(response) == (409, "region_mismatch")
    assert response.json()["region"] == "EU"
    assert await dump(all_redis) == before


async def test_create_of_a_player_that_lives_elsewhere_is_refused(any_api: Api) -> None:
    await any_api.register("alice", "ASIA", 4)
    forged_elsewhere = any_api.player_token("alice", "EU")  # a token from before the player was made in ASIA
    response = await any_api.post("/score/create", {"region": "EU"}, token=forged_elsewhere)
    assert code(response) == (409, "region_mismatch")
    assert response.json()["region"] == "ASIA"
    assert await any_api.scores() == {"alice": 4}


async def test_update_sets_and_add_adds(any_api: Api) -> None:
    token = await any_api.register("alice", "EU", 10)
    first = await any_api.post("/score/update", {"score": 30}, token=token)
    assert first.status_code == 200
    second = await any_api.post("/score/add", {"delta": -35}, token=token)
    third = await any_api.post("/score/add", {"delta": 5}, token=token)
    answers = [response.json() for response in (first, second, third)]
    assert [answer["score"] for answer in answers] == [30, -5, 0]
    assert all(answer["ok"] is True and answer["user_id"] == "alice" for answer in answers)
    assert all(answer["region"] == "EU" for answer in answers)
    times = [answer["updated_at"] for answer in answers]
    assert times == sorted(set(times))
    assert await any_api.scores() == await any_api.scores("EU") == {"alice": 0}


async def test_an_answer_says_what_the_score_was_and_whether_it_is_better(any_api: Api) -> None:
    token = await any_api.register("alice", "EU", 10)
    changes = []
    for path, body in (
        ("/score/update", {"score": 30}),
        ("/score/update", {"score": 30}),
        ("/score/add", {"delta": -40}),
        ("/score/add", {"delta": 1}),
    ):
        answer = (await any_api.post(path, body, token=token)).json()
        changes.append((answer["previous"], answer["score"], answer["improved"]))
    assert changes == [(10, 30, True), (30, 30, False), (30, -10, False), (-10, -9, True)]
    server = any_api.server_token()
    new = (await any_api.post("/score", {"user_id": "bob", "region": "EU", "score": -5}, token=server)).json()
    assert (new["previous"], new["improved"]) == (None, True)
    both = [{"user_id": "bob", "region": "EU", "score": 7}, {"user_id": "carol", "region": "EU", "delta": 3}]
    many = (await any_api.post("/scores", {"scores": both}, token=server)).json()
    assert [(one["previous"], one["improved"]) for one in many["results"]] == [(-5, True), (None, True)]


async def test_a_repeat_answers_what_the_score_was_as_long_as_redis_knows(any_api: Api, all_redis: redis.Redis) -> None:
    token, key = await any_api.register("alice", "EU", 10), {"Idempotency-Key": "k"}
    first = await any_api.post("/score/add", {"delta": 5}, token=token, **key)
    again = await any_api.post("/score/add", {"delta": 5}, token=token, **key)
    assert again.json() == first.json()
    assert (first.json()["previous"], first.json()["improved"]) == (10, True)
    kept = [name async for name in all_redis.scan_iter("idempotency:*")]
    assert await all_redis.delete(*kept) == 1
    from_the_row = await any_api.post("/score/add", {"delta": 5}, token=token, **key)
    assert from_the_row.json() == {**first.json(), "previous": None, "improved": None}


async def test_a_write_answers_with_ranks_on_wish(any_api: Api) -> None:
    await any_api.register("bob", "EU", 30)
    await any_api.register("carol", "NA", 30)
    token = await any_api.register("alice", "EU", 10)
    body = {"delta": 20, "rank": True}
    first = (await any_api.post("/score/add", body, token=token, **{"Idempotency-Key": "k"})).json()
    assert first["ranks"] == {
        "EU": {"rank": 1, "position": 2, "total": 2},
        "GLOBAL": {"rank": 1, "position": 3, "total": 3},
    }
    await any_api.post("/score", {"user_id": "bob", "region": "EU", "score": 31}, token=any_api.server_token())
    again = (await any_api.post("/score/add", body, token=token, **{"Idempotency-Key": "k"})).json()
    assert again == {
        **first,
        "ranks": {
            **first["ranks"],
            "EU": {"rank": 2, "position": 2, "total": 2},
            "GLOBAL": {"rank": 2, "position": 3, "total": 3},
        },
    }, "they are read anew"
    for path, other in (
        ("/score/update", {"score": 50}),
        ("/score", {"user_id": "alice", "region": "EU", "score": 50}),
    ):
        answer = (await any_api.post(path, {**other, "rank": True}, token=token)).json()
        assert answer["ranks"]["GLOBAL"] == {"rank": 1, "position": 1, "total": 3}
    assert "ranks" not in (await any_api.post("/score/update", {"score": 50, "rank": False}, token=token)).json()
    wrong = await any_api.post("/score/update", {"score": 50, "rank": "yes"}, token=token)
    assert code(wrong) == (422, "invalid_payload")


async def test_a_write_stands_without_ranks_where_they_cannot_be_read(
    start: Start, infra: Infrastructure, environ: dict[str, str]
) -> None:
    async with proxy(infra.redis_urls[0]) as other_redis, proxy(environ["DATABASE_URL_EU"]) as database:
        api = await start(layout="two-redis", REDIS_URL=other_redis.url, DATABASE_URL_EU=database.url)
        token = await api.register("alice", "EU", 10)
        await other_redis.cut()
        await database.cut()
        answer = await api.post("/score/add", {"delta": 5, "rank": True}, token=token)
        assert answer.status_code == 200
        assert (answer.json()["score"], "ranks" in answer.json()) == (15, False)


async def test_a_write_is_not_answered_with_ranks_from_before_it(
    start: Start, infra: Infrastructure, databases: RegionDatabases
) -> None:
    async with proxy(infra.redis_urls[0]) as other_redis:
        api = await start(layout="two-redis", REDIS_URL=other_redis.url)
        token = await api.register("alice", "EU", 10)
        saved = "INSERT INTO leaderboard (user_id, name, region, score) VALUES ('alice', 'alice', 'EU', 10)"
        await databases["EU"].execute(saved)
        await other_redis.cut()
        answer = await api.post("/score/add", {"delta": 5, "rank": True}, token=token)
        assert (answer.status_code, answer.json()["score"], "ranks" in answer.json()) == (200, 15, False)
        read = await api.get("/rank/alice")
        assert (read.headers["X-Leaderboard-Source"], read.json()["score"]) == ("postgres", 10)


async def test_every_write_is_on_the_board_in_the_hash_and_in_the_queue(api: Api, all_redis: redis.Redis) -> None:
    token = await api.register("alice", "EU", 10, name="Alice")
    response = await api.post("/score/add", {"delta": 5}, token=token, **{"X-Request-ID": "req-1"})
    updated_at = response.json()["updated_at"]
    assert (
        await all_redis.zscore("leaderboard:EU", "alice") == await all_redis.zscore("leaderboard:GLOBAL", "alice") == 15
    )
    stored = await all_redis.hgetall("user:alice")
    credential = stored.pop("credential")
    assert stored == {"name": "Alice", "region": "EU", "score": "15", "updated_at": str(updated_at)}
    newest = (await events(all_redis, "EU"))[-1]
    assert newest == {
        "user_id": "alice",
        "name": "Alice",
        "region": "EU",
        "score": 15,
        "timestamp": updated_at,
        "request_id": "req-1",
        "credential": credential,
    }
    assert {key async for key in all_redis.scan_iter()} == {
        "leaderboard:EU",
        "leaderboard:GLOBAL",
        "user:alice",
        "queue:scores:EU",
        "bucket:user:alice",
        "bucket:region:EU",
        "shard:ready",
        "shard:layout",
        "shard:admission",
    }


async def test_a_player_of_global_has_one_entry(any_api: Api) -> None:
    await any_api.register("alice", "GLOBAL", 3)
    await any_api.register("bob", "EU", 4)
    assert await any_api.scores("GLOBAL") == {"alice": 3, "bob": 4}


@pytest.mark.parametrize("path", ["/score/update", "/score/add"])
async def test_a_player_without_a_card_cannot_write(any_api: Api, path: str) -> None:
    token = any_api.player_token("nobody", "EU")
    assert code(await any_api.post(path, {"score": 1, "delta": 1}, token=token)) == (404, "user_not_found")
    assert await any_api.scores() == {}


async def test_extremes_are_exact(any_api: Api, all_redis: redis.Redis) -> None:
    token = await any_api.register("top", "ASIA", MAX_EXACT_INTEGER)
    low = await any_api.register("low", "ASIA", -MAX_EXACT_INTEGER)
    assert await any_api.scores("ASIA") == {"top": MAX_EXACT_INTEGER, "low": -MAX_EXACT_INTEGER}
    queued = {event["user_id"]: event["score"] for event in await events(all_redis, "ASIA")}
    assert queued == {"top": MAX_EXACT_INTEGER, "low": -MAX_EXACT_INTEGER}
    rank = (await any_api.get("/rank/low", region="ASIA")).json()
    assert (rank["rank"], rank["score"]) == (2, -MAX_EXACT_INTEGER)
    before = await dump(all_redis)
    for who, delta in ((token, 1), (token, MAX_EXACT_INTEGER), (low, -1), (low, -MAX_EXACT_INTEGER)):
        response = await any_api.post("/score/add", {"delta": delta}, token=who)
        assert code(response) == (422, "score_out_of_range")
    assert await dump(all_redis) == before
    response = await any_api.post("/score/add", {"delta": -2 * MAX_EXACT_INTEGER}, token=token)
    assert code(response) == (422, "invalid_payload")
    await any_api.post("/score/add", {"delta": -MAX_EXACT_INTEGER}, token=token)
    response = await any_api.post("/score/add", {"delta": -(MAX_EXACT_INTEGER - 1)}, token=token)
    assert response.json()["score"] == -(MAX_EXACT_INTEGER - 1)


async def test_a_player_submits_for_itself_only(any_api: Api) -> None:
    token = await any_api.register("alice", "EU", 1)
    await any_api.register("bob", "EU", 2)
    response = await any_api.post("/score", {"user_id": "alice", "region": "eu", "score": 8, "name": "Al"}, token=token)
    assert response.status_code == 200
    assert {**response.json(), "updated_at": 0} == {
        "ok": True,
        "board": "main",
        "user_id": "alice",
        "region": "EU",
        "score": 8,
        "previous": 1,
        "improved": True,
        "updated_at": 0,
    }
    assert (await any_api.get("/rank/alice")).json()["name"] == "Al"
    refused = await any_api.post("/score", {"user_id": "bob", "region": "EU", "score": 8}, token=token)
    assert code(refused) == (403, "forbidden")
    elsewhere = await any_api.post("/score", {"user_id": "alice", "region": "NA", "score": 8}, token=token)
    assert code(elsewhere) == (409, "region_mismatch")
    nobody = any_api.player_token("nobody", "EU")
    missing = await any_api.post("/score", {"user_id": "nobody", "region": "EU", "score": 8}, token=nobody)
    assert code(missing) == (404, "user_not_found")
    assert await any_api.scores() == {"alice": 8, "bob": 2}


async def test_a_server_submits_for_anybody_and_makes_players(any_api: Api) -> None:
    server = any_api.server_token()
    await any_api.register("alice", "EU", 1, name="Alice")
    for body in (
        {"user_id": "alice", "region": "EU", "score": 8},
        {"user_id": "new", "region": "EU", "score": 5},
        {"user_id": "named", "region": "ASIA", "score": 6, "name": "Named"},
    ):
        response = await any_api.post("/score", body, token=server)
        assert response.status_code == 200, response.text
    rows = {row["user_id"]: (row["name"], row["region"], row["score"]) for row in (await any_api.top())["rows"]}
    assert rows == {"alice": ("Alice", "EU", 8), "new": ("new", "EU", 5), "named": ("Named", "ASIA", 6)}


@pytest.mark.parametrize(("home", "other"), [("EU", "ASIA"), ("ASIA", "EU"), ("ASIA", "NA")])
async def test_a_server_cannot_move_a_player(any_api: Api, home: str, other: str) -> None:
    await any_api.register("alice", home, 1)
    body = {"user_id": "alice", "region": other, "score": 8}
    response = await any_api.post("/score", body, token=any_api.server_token())
    assert code(response) == (409, "region_mismatch")
    assert response.json()["region"] == home
    assert await any_api.scores() == {"alice": 1}


@pytest.mark.parametrize("path", ["/score/create", "/score/update", "/score/add"])
async def test_a_server_token_speaks_for_no_player(api: Api, path: str) -> None:
    body = {"region": "EU", "score": 1, "delta": 1}
    assert code(await api.post(path, body, token=api.server_token())) == (403, "forbidden")


async def test_parallel_adds_sum_exactly(any_api: Api) -> None:
    deltas = [(-1) ** n * (2**44 + n) for n in range(120)]
    token = await any_api.register("alice", "EU", 7)
    responses = await gather([any_api.post("/score/add", {"delta": d}, token=token) for d in deltas])
    assert {response.status_code for response in responses} == {200}
    assert len({response.json()["updated_at"] for response in responses}) == len(deltas)
    assert await any_api.scores() == {"alice": 7 + sum(deltas)}


async def test_a_clock_that_stepped_back_does_not_reorder_writes(api: Api, all_redis: redis.Redis) -> None:
    token = await api.register("alice", "EU", 7)
    future = 4_000_000_000_000_000
    await all_redis.hset("user:alice", "updated_at", str(future))
    for n in (1, 2):
        response = await api.post("/score/add", {"delta": 1}, token=token)
        assert response.json()["updated_at"] == future + n
    assert [event["timestamp"] for event in (await events(all_redis, "EU"))[1:]] == [future + 1, future + 2]


async def test_without_the_ready_marker_everything_says_warming_up(
    start: Start, any_layout: Layout, all_redis: redis.Redis
) -> None:
    api = await start(layout=any_layout, ready=False)
    token = api.player_token("alice", "EU")
    responses = [
        await api.try_register("alice", "EU"),
        await api.try_register("alice", "ASIA", password="correct horse battery"),
        await api.login("alice"),
        await api.post("/score/create", {"region": "EU"}, token=token),
        await api.post("/score/update", {"score": 1}, token=token),
        await api.post("/score/add", {"delta": 1}, token=token),
        await api.post("/score", {"user_id": "a", "region": "EU", "score": 1}, token=api.server_token()),
    ]
    for response in responses:
        assert code(response) == (503, "warming_up")
        assert int(response.headers["Retry-After"]) >= 1
        assert response.json()["retry_after"] > 0
    assert (await api.get("/health")).status_code == 503
    assert await dump(all_redis) == {}


async def test_one_cold_redis_does_not_stop_writes_of_the_other(start: Start, redis_2: redis.Redis) -> None:
    api = await start(layout="two-redis")
    asia, eu = await api.register("asia", "ASIA"), await api.register("eu", "EU")
    await redis_2.flushdb()
    assert (await api.post("/score/add", {"delta": 1}, token=asia)).status_code == 200
    assert code(await api.post("/score/add", {"delta": 1}, token=eu)) == (503, "warming_up")
    # Nobody can say whether this player lives on the cold Redis.
    assert code(await api.try_register("new", "ASIA")) == (503, "warming_up")
    assert await dump(redis_2) == {}
