"""Batch submits: each score on its own, in order, once."""

from __future__ import annotations

import orjson
import pytest
import redis.asyncio as redis

from leaderboard_core.redis import watch
from leaderboard_service.scores.batches import CHUNK
from tests.conftest import Start
from tests.support.layouts import WHOLE_LIMITS
from tests.support.service import Api

SCORES = [
    {"user_id": "ann", "region": "asia", "score": 10},
    {"user_id": "bob", "region": "EU", "score": 20, "name": "Bob"},
    {"user_id": "ann", "region": "ASIA", "delta": 5},
    {"user_id": "cyd", "region": "NA", "delta": 7},
]


async def test_scores_are_set_added_and_players_made_in_order(any_api: Api) -> None:
    answer = await any_api.post("/scores", {"scores": SCORES}, token=any_api.server_token())
    assert answer.status_code == 200
    body = answer.json()
    assert (body["ok"], body["accepted"]) == (True, 4)
    assert [(result["user_id"], result["region"], result["score"]) for result in body["results"]] == [
        ("ann", "ASIA", 10),
        ("bob", "EU", 20),
        ("ann", "ASIA", 15),
        ("cyd", "NA", 7),
    ]
    assert await any_api.scores() == {"ann": 15, "bob": 20, "cyd": 7}
    assert (await any_api.get("/rank/bob")).json()["name"] == "Bob"


async def test_each_is_refused_on_its_own(any_api: Api) -> None:
    await any_api.register("eve", "EU", 1)
    bad = [
        {"user_id": "eve", "region": "ASIA", "score": 1},
        {"user_id": "a b", "region": "ASIA", "score": 1},
        {"user_id": "x", "region": "MOON", "score": 1},
        {"user_id": "x", "region": "ASIA"},
        {"user_id": "x", "region": "ASIA", "score": 1, "delta": 1},
        {"user_id": "x", "region": "ASIA", "score": 1.5},
        {"user_id": "x", "region": "ASIA", "score": True},
        {"user_id": "x", "region": "ASIA", "delta": 2**53},
        {"user_id": "max", "region": "ASIA", "score": 2**53 - 1},
        {"user_id": "max", "region": "ASIA", "delta": 1},
    ]
    body = (await any_api.post("/scores", {"scores": bad}, token=any_api.server_token())).json()
    assert body["ok"] is False
    assert [result.get("error") for result in body["results"]] == [
        "region_mismatch",
        "invalid_payload",
        "unknown_region",
        *["invalid_payload"] * 5,
        None,
        "score_out_of_range",
    ]
    assert all(result["ok"] or result["message"] for result in body["results"])
    assert await any_api.scores() == {"eve": 1, "max": 2**53 - 1}


async def test_the_whole_may_be_repeated_with_its_key(any_api: Api) -> None:
    token = any_api.server_token()
    answers = [await any_api.post("/scores", {"scores": SCORES}, token=token, key="match-1") for _ in range(3)]
    assert len({answer.text for answer in answers}) == 1
    assert await any_api.scores() == {"ann": 15, "bob": 20, "cyd": 7}
    other = (await any_api.post("/scores", {"scores": [{**SCORES[0], "score": 9}]}, token=token, key="match-1")).json()
    assert other["results"][0]["error"] == "idempotency_key_reused"
    # A single submit with the same key is another request.
    single = await any_api.post("/score", SCORES[1], token=token, key="match-1")
    assert single.status_code == 200


async def test_servers_send_up_to_a_thousand_and_players_eight(api: Api) -> None:
    scores = [{"user_id": f"p{number}", "region": "EU", "score": number} for number in range(1001)]
    for token, count, status in (
        (await api.register("ann"), 9, 422),
        (api.admin_token(), 1, 403),
        (None, 1, 401),
        (api.server_token(), 0, 422),
        (api.server_token(), 1001, 422),
        (api.server_token(), 1000, 200),
    ):
        assert (await api.post("/scores", {"scores": scores[:count]}, token=token)).status_code == status
    assert (await api.top("EU", limit=1))["total"] == 1000


@WHOLE_LIMITS
async def test_the_regions_bucket_and_the_queue_hold_batches_too(start: Start, all_redis: redis.Redis) -> None:
    scores = [{"user_id": f"p{number}", "region": "EU", "score": number} for number in range(20)]
    api = await start(QUEUE_REJECT_LENGTH=5)
    body = (await api.post("/scores", {"scores": scores}, token=api.server_token())).json()
    assert body["accepted"] == 5
    assert [result.get("error") for result in body["results"]].count("queue_full") == 15
    await all_redis.delete("queue:scores:EU", "bucket:region:EU")
    api = await start(REGION_RATE_LIMIT_PER_SEC=1, USER_RATE_LIMIT_COUNT=1)
    body = (await api.post("/scores", {"scores": scores[:3]}, token=api.server_token())).json()
    assert [result.get("error") for result in body["results"]].count("region_rate_limited") == 2


@pytest.mark.layout("one-redis", "two-redis", why="partitions do their parts of a region's scores side by side")
async def test_of_equal_scores_the_first_in_the_list_was_there_earlier(api: Api) -> None:
    assert (await api.define({"ties": "earliest"}, "races")).status_code == 201
    finish = [*(f"racer-{number * 7 % CHUNK}" for number in range(CHUNK)), "zoe", "ann", "racer-7"]
    scores = [{"user_id": user_id, "region": "EU", "score": 100, "board": "races"} for user_id in finish]
    body = (await api.post("/scores", {"scores": scores}, token=api.server_token())).json()
    assert body["accepted"] == len(finish)
    rows = (await api.get("/top", region="EU", board="races", limit=100)).json()["rows"]
    assert [row["user_id"] for row in rows] == finish[:-1]


@WHOLE_LIMITS
async def test_a_batch_takes_a_token_for_each_score_that_is_taken(start: Start, all_redis: redis.Redis) -> None:
    api = await start(REGION_RATE_LIMIT_PER_SEC=20)
    await api.register("eve", "ASIA")
    await api.define({"max_score": 7}, "best-of")
    scores = [{"user_id": f"p{number}", "region": "EU", "score": number} for number in range(5)]
    scores += [{"user_id": "p0", "region": "EU", "score": score, "board": "best-of"} for score in (7, 7, 8)]
    scores += [{"user_id": "eve", "region": "EU", "score": 1}]
    body = (await api.post("/scores", {"scores": scores}, token=api.server_token())).json()
    refused = [result["error"] for result in body["results"] if not result["ok"]]
    assert refused == ["score_out_of_bounds", "region_mismatch"]
    # An equal score takes a token and makes no event.
    assert await all_redis.hget("bucket:region:EU", "level") == f"{(20 - 7) * 1_000_000}"
    events = [orjson.loads(event) for event in reversed(await all_redis.lrange("queue:scores:EU", 0, -1))]
    assert [event["user_id"] for event in events] == ["p0", "p1", "p2", "p3", "p4", "p0"]
    assert len({event["timestamp"] for event in events if event["user_id"] == "p0"}) == 2


async def test_what_a_batch_did_before_an_error_has_its_place_and_its_event(
    api: Api, redis_1: redis.Redis, caplog: pytest.LogCaptureFixture
) -> None:
    await redis_1.set("user:p2", "no hash")
    scores = [{"user_id": f"p{number}", "region": "EU", "score": number} for number in range(4)]
    answer = await api.post("/scores", {"scores": scores}, token=api.server_token())
    await redis_1.delete("user:p2")
    assert (answer.status_code, answer.json()["error"]) == (503, "unavailable")
    assert "(WRONGTYPE)" in caplog.text, "the error's code is that of the command"
    assert await api.scores() == {"p0": 0, "p1": 1}
    assert await redis_1.zrange("leaderboard:EU", 0, -1) == ["p0", "p1"]
    events = [orjson.loads(event) for event in await redis_1.lrange("queue:scores:EU", 0, -1)]
    assert [(event["user_id"], event["score"]) for event in events] == [("p1", 1), ("p0", 0)]
    assert (await api.post("/scores", {"scores": scores}, token=api.server_token())).json()["accepted"] == 4


async def test_a_player_named_with_two_regions_lives_where_the_first_score_puts_it(any_api: Api) -> None:
    scores = [
        {"user_id": "ann", "region": "EU", "score": 1},
        {"user_id": "ann", "region": "ASIA", "score": 2},
        {"user_id": "bob", "region": "ASIA", "score": 3},
        {"user_id": "ann", "region": "EU", "delta": 4},
    ]
    body = (await any_api.post("/scores", {"scores": scores}, token=any_api.server_token())).json()
    assert [result.get("error", result.get("score")) for result in body["results"]] == [1, "region_mismatch", 3, 5]
    assert await any_api.scores() == {"ann": 5, "bob": 3}


async def test_the_first_of_two_regions_is_not_overtaken_by_a_shorter_group(any_api: Api) -> None:
    """ASIA's first chunk would be written before EU's second."""
    scores = [{"user_id": f"p{number}", "region": "EU", "score": 1} for number in range(CHUNK)]
    scores += [{"user_id": "ann", "region": region, "score": 2} for region in ("EU", "ASIA")]
    body = (await any_api.post("/scores", {"scores": scores}, token=any_api.server_token())).json()
    assert [result.get("error", result.get("region")) for result in body["results"][-2:]] == ["EU", "region_mismatch"]


async def test_a_batch_is_several_script_calls_of_one_region_each(
    start: Start, redis_1: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "LOOK_SECONDS", 3600)
    api = await start()
    await redis_1.script_flush()
    await redis_1.config_resetstat()
    regions = ("EU", "ASIA")
    scores = [{"user_id": f"p{number}", "region": regions[number % 2], "score": number} for number in range(202)]
    body = (await api.post("/scores", {"scores": scores}, token=api.server_token())).json()
    assert body["accepted"] == 202
    commands = await redis_1.info("commandstats")
    refused = commands["cmdstat_evalsha"]["failed_calls"]  # a script was not loaded, in all first calls
    assert commands["cmdstat_evalsha"]["calls"] - refused - 2 * 3 in (0, 1), "but for the service's first look"
