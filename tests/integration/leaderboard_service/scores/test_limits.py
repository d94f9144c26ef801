"""Token buckets, backpressure and Idempotency-Key: refused writes change nothing, repeated ones count once."""

from __future__ import annotations

import asyncio
from collections import Counter

import httpx
import pytest
import redis.asyncio as redis

from tests.conftest import Start
from tests.support.layouts import CLUSTER_PARTITIONS, WHOLE_LIMITS, Layout
from tests.support.redis_dump import dump
from tests.support.service import Api, gather
from tests.support.waiting import eventually


async def add(api: Api, token: str, key: str | None = None, delta: int = 1) -> httpx.Response:
    return await api.post("/score/add", {"delta": delta}, token=token, key=key)


async def test_exactly_as_many_parallel_writes_pass_as_the_user_bucket_holds(start: Start) -> None:
    api = await start(USER_RATE_LIMIT_COUNT=7, USER_RATE_LIMIT_WINDOW=3600)
    token = await api.register("alice", "EU")
    responses = await gather([add(api, token) for _ in range(40)])
    assert Counter(response.status_code for response in responses) == {200: 7, 429: 33}
    assert await api.scores() == {"alice": 7}
    for response in responses:
        if response.status_code == 429:
            body = response.json()
            assert body["error"] == "rate_limited"
            assert 0 < body["retry_after"] <= 3600 / 7
            assert int(response.headers["Retry-After"]) >= body["retry_after"]


@WHOLE_LIMITS
async def test_exactly_as_many_parallel_writes_pass_as_the_region_bucket_holds(
    start: Start, all_redis: redis.Redis
) -> None:
    rate = 5
    generous = await start()
    players = [await generous.register(f"p{n}", "EU") for n in range(25)]
    other = await generous.register("other", "NA")
    await all_redis.delete("bucket:region:EU")
    api = await start(REGION_RATE_LIMIT_PER_SEC=rate)
    responses = await gather([add(api, token) for token in players])
    passed = sorted(response.json()["updated_at"] for response in responses if response.status_code == 200)
    refused = [response.json() for response in responses if response.status_code == 429]
    assert len(passed) >= rate
    # By Redis' own clock: beyond the full bucket, one more may pass each fifth of a second and not before.
    for extra, at in enumerate(passed[rate:], 1):
        assert at - passed[0] >= extra * 1_000_000 / rate
    assert len(passed) + len(refused) == len(players)
    assert {body["error"] for body in refused} == {"region_rate_limited"}
    assert all(0 < body["retry_after"] <= 1 / rate for body in refused)
    assert sum((await api.scores("EU")).values()) == len(passed)
    assert (await add(api, other)).status_code == 200, "another region has a bucket of its own"


async def test_a_bucket_fills_again(start: Start) -> None:
    api = await start(USER_RATE_LIMIT_COUNT=2, USER_RATE_LIMIT_WINDOW=1)
    token = await api.register("alice", "EU")
    responses = [await add(api, token) for _ in range(3)]
    assert [response.status_code for response in responses] == [200, 200, 429]
    await asyncio.sleep(responses[-1].json()["retry_after"])  # "wait so long" is the promise under test
    assert (await add(api, token)).status_code == 200


@WHOLE_LIMITS
async def test_a_write_refused_by_one_bucket_takes_nothing_from_the_other(start: Start, all_redis: redis.Redis) -> None:
    api = await start(USER_RATE_LIMIT_COUNT=1, USER_RATE_LIMIT_WINDOW=3600)
    token = await api.register("alice", "EU")
    assert (await add(api, token)).status_code == 200
    before = await dump(all_redis)
    refused = await gather([add(api, token) for _ in range(5)])
    assert {response.json()["error"] for response in refused} == {"rate_limited"}
    assert await dump(all_redis) == before, "the region bucket, the boards and the queue are as they were"

    region_limited = await start(REGION_RATE_LIMIT_PER_SEC=1, USER_RATE_LIMIT_COUNT=3, USER_RATE_LIMIT_WINDOW=3600)
    bob = await api.register("bob", "NA")
    await all_redis.delete("bucket:region:NA")
    first = await add(region_limited, bob)
    before = await dump(all_redis)
    second = await add(region_limited, bob)
    assert (first.status_code, second.status_code) == (200, 429)
    assert second.json()["error"] == "region_rate_limited"
    after = await dump(all_redis)
    assert after["bucket:user:bob"] == before["bucket:user:bob"]
    assert after["leaderboard:NA"] == before["leaderboard:NA"]


async def test_the_user_bucket_does_not_hold_servers(start: Start) -> None:
    api = await start(USER_RATE_LIMIT_COUNT=1, USER_RATE_LIMIT_WINDOW=3600)
    await api.register("alice", "EU")
    for score in range(5):
        body = {"user_id": "alice", "region": "EU", "score": score}
        assert (await api.post("/score", body, token=api.server_token())).status_code == 200


async def test_a_full_queue_refuses_writes_of_its_region_only(any_queue: Api, all_redis: redis.Redis) -> None:
    api = any_queue
    token = await api.register("alice", "NA")
    other = await api.register("other", "ASIA")
    for _ in range(2):
        assert (await add(api, token)).status_code == 200
    before = await dump(all_redis)
    where = api.services.shard_map.shard_of
    beside = [f"p{n}" for n in range(60) if where("NA", f"p{n}") is where("NA", "alice")]
    for response in (
        await add(api, token),
        await api.try_register(beside[0], "NA"),
        await api.post("/score", {"user_id": beside[1], "region": "NA", "score": 1}, token=api.server_token()),
    ):
        assert (response.status_code, response.json()["error"]) == (429, "queue_full")
        assert response.json()["queue_length"] == 3
        assert response.json()["retry_after"] > 0
        assert int(response.headers["Retry-After"]) >= 1
    assert await dump(all_redis) == before
    assert (await add(api, other)).status_code == 200
    for shard in api.services.shard_map.shards_of_region("NA"):
        await shard.client.rpop(shard.keys.queue("NA"))
    assert (await add(api, token)).status_code == 200


@pytest.fixture
async def any_queue(any_layout: Layout, start: Start) -> Api:
    # Each partition has its share of it.
    partitions = {"two-partitions": 2, "cluster": CLUSTER_PARTITIONS}.get(any_layout, 1)
    return await start(layout=any_layout, QUEUE_REJECT_LENGTH=3 * partitions)


@WHOLE_LIMITS
async def test_parallel_writes_stop_exactly_at_the_queue_limit(start: Start, all_redis: redis.Redis) -> None:
    api = await start(QUEUE_REJECT_LENGTH=6)
    token = await api.register("alice", "EU")
    responses = await gather([add(api, token) for _ in range(20)])
    assert Counter(response.status_code for response in responses) == {200: 5, 429: 15}
    assert await all_redis.llen("queue:scores:EU") == 6
    assert await api.scores() == {"alice": 5}


async def test_a_repeated_key_counts_once(any_api: Api) -> None:
    token = await any_api.register("alice", "EU")
    responses = await gather([add(any_api, token, "key-1", 5) for _ in range(25)])
    assert {response.status_code for response in responses} == {200}
    assert len({response.text for response in responses}) == 1, "the first answer, updated_at included"
    assert await any_api.scores() == {"alice": 5}
    assert (await add(any_api, token, "key-2", 5)).json()["score"] == 10
    assert (await add(any_api, token, "key-1", 5)).text == responses[0].text


async def test_a_repeated_key_repeats_status_201(any_api: Api) -> None:
    token = any_api.player_token("alice", "EU")
    body = {"region": "EU", "initialScore": 5}
    responses = await gather([any_api.post("/score/create", body, token=token, key="k") for _ in range(10)])
    assert {(response.status_code, response.text) for response in responses} == {(201, responses[0].text)}
    assert (await any_api.post("/score/create", body, token=token)).status_code == 200


async def test_a_repeated_key_of_a_server_counts_once(any_api: Api) -> None:
    body = {"user_id": "new", "region": "EU", "score": 5, "name": "néw 🎮"}
    token = any_api.server_token()
    responses = await gather([any_api.post("/score", body, token=token, key="k") for _ in range(10)])
    assert len({response.text for response in responses}) == 1
    assert responses[0].status_code == 200
    assert await any_api.scores() == {"new": 5}


async def test_a_key_of_another_request_is_refused(any_api: Api) -> None:
    token = await any_api.register("alice", "EU")
    first = {"delta": 5, "score": 5}
    assert (await any_api.post("/score/add", first, token=token, key="k")).status_code == 200
    for path, body in (
        ("/score/add", {"delta": 6}),
        ("/score/update", first),
        ("/score", {"user_id": "alice", "region": "EU", "score": 5}),
    ):
        response = await any_api.post(path, body, token=token, key="k")
        assert (response.status_code, response.json()["error"]) == (422, "idempotency_key_reused")
    assert await any_api.scores() == {"alice": 5}


async def test_two_players_may_use_one_key(any_api: Api) -> None:
    alice, bob = await any_api.register("alice", "EU"), await any_api.register("bob", "EU")
    for token, user_id in ((alice, "alice"), (bob, "bob")):
        assert (await add(any_api, token, "k", 5)).json()["user_id"] == user_id
    assert await any_api.scores() == {"alice": 5, "bob": 5}


async def test_the_keys_of_two_players_never_meet(api: Api) -> None:
    """`a:b` with key `c` and `a` with key `b:c` are different."""
    one, two = await api.register("a", "EU"), await api.register("a:b", "EU")
    assert (await add(api, one, "b:c", 5)).status_code == 200
    assert (await add(api, two, "c", 5)).json()["score"] == 5
    assert await api.scores() == {"a": 5, "a:b": 5}


@WHOLE_LIMITS
async def test_a_refused_write_does_not_use_its_key_up(start: Start, all_redis: redis.Redis) -> None:
    api = await start(QUEUE_REJECT_LENGTH=1)
    token = await api.register("alice", "EU")
    assert (await add(api, token, "k")).status_code == 429
    await all_redis.delete("queue:scores:EU")
    assert (await add(api, token, "k")).json()["score"] == 1
    assert (await add(api, token, "k")).json()["score"] == 1, "the queue is full, but this was done before"


async def test_a_kept_answer_ends(start: Start, all_redis: redis.Redis) -> None:
    api = await start(IDEMPOTENCY_TTL_SECONDS=1)
    token = await api.register("alice", "EU")
    assert (await add(api, token, "k")).json()["score"] == 1
    keys = [key async for key in all_redis.scan_iter("idempotency:*")]
    assert len(keys) == 1

    async def gone() -> bool:
        return not await all_redis.exists(keys[0])

    await eventually(gone)
    assert (await add(api, token, "k")).json()["score"] == 2


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "é"])
async def test_an_odd_key_is_refused(api: Api, key: str) -> None:
    token = await api.register("alice", "EU")
    headers = [(b"Authorization", f"Bearer {token}".encode()), (b"Idempotency-Key", key.encode())]
    response = await api.http.post("/score/add", json={"delta": 1}, headers=headers)
    assert (response.status_code, response.json()["error"]) == (422, "invalid_payload")
    assert await api.scores() == {"alice": 0}
