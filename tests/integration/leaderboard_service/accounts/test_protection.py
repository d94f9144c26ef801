"""Limits that protect: login attempts, warnings about a Redis that may lose data, secrets that never leak."""

from __future__ import annotations

import logging

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.server_settings import warnings_of
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from leaderboard_core.telemetry.logs import JsonFormatter
from tests.conftest import Start
from tests.support.service import SECRET, Api

PASSWORD = "correct horse battery"


async def test_failed_logins_into_one_account_are_limited(start: Start) -> None:
    api = await start(LOGIN_RATE_LIMIT_COUNT=3, LOGIN_RATE_LIMIT_WINDOW=3600)
    await api.register("ann", password=PASSWORD)
    await api.register("bob", password=PASSWORD)
    assert [(await api.login("ann", password="wrong guess")).status_code for _ in range(4)] == [401, 401, 401, 429]
    refused = await api.login("ann", password=PASSWORD)
    assert refused.json()["error"] == "rate_limited"
    assert 0 < refused.json()["retry_after"] <= 1200
    assert int(refused.headers["retry-after"]) >= 1
    assert (await api.login("bob", password=PASSWORD)).status_code == 200


async def test_a_login_that_succeeds_resets_the_attempts_before_it(start: Start) -> None:
    api = await start(LOGIN_RATE_LIMIT_COUNT=3, LOGIN_RATE_LIMIT_WINDOW=3600)
    await api.register("ann", password=PASSWORD)
    for _ in range(3):
        assert (await api.login("ann", password="wrong guess")).status_code == 401
        assert (await api.login("ann", password="wrong guess")).status_code == 401
        assert (await api.login("ann", password=PASSWORD)).status_code == 200


async def test_a_redis_that_may_lose_data_is_warned_about(
    api: Api, environ: dict[str, str], redis_1: redis.Redis
) -> None:
    before = await redis_1.config_get("maxmemory-policy", "appendonly")
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        await redis_1.config_set("maxmemory-policy", "allkeys-lru")
        await redis_1.config_set("appendonly", "no")
        policy, durability = await warnings_of(shard_map.shards[0])
        assert "maxmemory-policy is allkeys-lru" in policy
        assert "appendonly is off" in durability
        health = (await api.get("/health")).json()
        assert health["redis"][0]["warnings"] == [policy, durability]
        await redis_1.config_set("maxmemory-policy", "noeviction")
        await redis_1.config_set("appendonly", "yes")
        assert await warnings_of(shard_map.shards[0]) == []
    finally:
        await shard_map.close()
        for name, value in before.items():
            await redis_1.config_set(str(name), str(value))


async def test_tokens_passwords_and_hashes_reach_no_log_no_queue_and_no_error(
    start: Start, all_redis: redis.Redis, databases: RegionDatabases, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        api = await start(ACCESS_LOG=True)
        token = await api.register("ann", password=PASSWORD)
        answers = [
            await api.login("ann", password=PASSWORD),
            await api.login("ann", password=PASSWORD + "!"),
            await api.post("/auth/login", {"user_id": "ann", "name": "ann", "password": [PASSWORD]}),
            await api.post("/auth/register", {"user_id": "new", "region": "EU", "password": PASSWORD}),
            await api.post("/score/add", {"delta": 1}, token=token),
            await api.post("/score/add", {"delta": 1}, token=token[:-2]),
            await api.get("/health"),
            await api.get("/metrics"),
        ]
    password_hash = await databases["ASIA"].fetchval("SELECT password_hash FROM accounts")
    assert password_hash.startswith("$argon2id$")
    lines = [JsonFormatter("test").format(record) for record in caplog.records]
    clients = [shard.client for shard in api.services.shard_map.shards]
    stored = [str(await client.dump(key)) for client in clients for key in await client.keys("*")]
    queued = await all_redis.lrange("queue:scores:ASIA", 0, -1)
    assert len(queued) == 2
    said = [answer.text for answer in answers[1:]]
    for secret in (PASSWORD, password_hash, token, SECRET, password_hash.rpartition("$")[2]):
        for place in (lines, stored, queued, said):
            assert not [text for text in place if secret in text]
