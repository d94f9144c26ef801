"""GET /status: the queues, their age and the workers, as they are in Redis at that moment."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.telemetry.queues import ALIVE_SECONDS, CACHE_SECONDS, SHOWN_SECONDS
from tests.conftest import Start
from tests.support.service import Api
from tests.support.waiting import eventually
from tests.support.worker import drained, event, push, working


def micros_ago(seconds: float) -> int:
    return int((time.time() - seconds) * 1_000_000)


async def status(api: Api) -> dict[str, Any]:
    response = await api.get("/status")
    assert response.status_code == 200
    found: dict[str, Any] = response.json()
    return found


def by_region(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {queue["region"]: queue for queue in found["queues"]}


async def test_queues_ages_and_workers(start: Start, redis_1: redis.Redis, redis_2: redis.Redis) -> None:
    api = await start(layout="two-redis")
    await push(redis_1, event(region="NA", timestamp=micros_ago(30)), event(timestamp=micros_ago(5)), region="NA")
    await redis_1.lpush("queue:scores:ASIA:dead", "{}")
    # In EU the oldest is in the hands of a worker: a younger one waits behind it.
    await push(redis_2, event(timestamp=micros_ago(3)))
    await redis_2.lpush(
        "queue:scores:EU:processing:w-old", event(timestamp=micros_ago(90)), event(timestamp=micros_ago(80))
    )
    await redis_2.zadd("workers", {"w-old": micros_ago(SHOWN_SECONDS + 5), "w-new": micros_ago(0)})
    await redis_1.zadd("workers", {"w-new": micros_ago(SHOWN_SECONDS / 2)})
    found = await status(api)
    queues = by_region(found)
    assert set(queues) == {"ASIA", "EU", "NA", "GLOBAL"}
    assert 30 <= queues["NA"].pop("lag_seconds") < 40
    assert 90 <= queues["EU"].pop("lag_seconds") < 100
    assert queues["NA"] == {"region": "NA", "waiting": 2, "processing": 0, "dead": 0}
    assert queues["EU"] == {"region": "EU", "waiting": 1, "processing": 2, "dead": 0}
    assert queues["ASIA"] == {"region": "ASIA", "waiting": 0, "processing": 0, "dead": 1, "lag_seconds": 0}
    (worker,) = found["workers"]
    assert worker["name"] == "w-new"
    assert worker["last_seen_seconds"] < SHOWN_SECONDS / 2, "the younger sign of life counts"
    assert found["reads"] == "redis"
    assert found["ok"] is True
    assert sorted(tuple(shard["regions"]) for shard in found["redis"]) == [("ASIA", "NA", "GLOBAL"), ("EU",)]
    assert found["postgres"] == [{"region": name, "ok": True} for name in ("ASIA", "EU", "NA", "GLOBAL")]


async def test_an_event_that_cannot_be_read_has_no_age(api: Api, all_redis: redis.Redis) -> None:
    await push(all_redis, "not json", "[]", '{"timestamp": "soon"}', '{"timestamp": 1e300}', region="NA")
    await push(all_redis, event(timestamp=micros_ago(-100)), region="ASIA")
    queues = by_region(await status(api))
    assert (queues["NA"]["waiting"], queues["NA"]["lag_seconds"]) == (4, 0)
    assert queues["ASIA"]["lag_seconds"] == 0, "a time in the future is no negative age"


async def test_without_a_worker_it_is_not_well(api: Api, all_redis: redis.Redis) -> None:
    await all_redis.zadd("workers", {"gone": micros_ago(ALIVE_SECONDS + 1)})
    found = await status(api)
    assert (found["ok"], [worker["name"] for worker in found["workers"]]) == (False, ["gone"])


async def test_a_working_worker_is_seen_and_the_lag_ends(
    api: Api, environ: dict[str, str], all_redis: redis.Redis, databases: RegionDatabases
) -> None:
    token = await api.register("alice", "EU", 1)
    assert (await api.post("/score/add", {"delta": 1}, token=token)).status_code == 200
    before = await status(api)
    assert by_region(before)["EU"]["waiting"] == 2
    assert before["saved"] is False
    assert 0 < by_region(before)["EU"]["lag_seconds"] < 10
    assert before["ok"] is False
    async with working(environ, "worker-7", heartbeats=True):
        await drained(all_redis)

        async def well() -> list[dict[str, Any]]:
            found = await status(api)
            return [found] if found["ok"] else []

        (after,) = await eventually(well, "a status that is well")
        assert by_region(after)["EU"] == {
            "region": "EU", "waiting": 0, "processing": 0, "dead": 0, "lag_seconds": 0,
        }  # fmt: skip
        assert [worker["name"] for worker in after["workers"]] == ["worker-7"]
        assert after["saved"] is True
        await all_redis.lpush("queue:scores:EU:dead", "{}")

        async def refused() -> bool:
            return bool(by_region(await status(api))["EU"]["dead"])

        await eventually(refused, "a status with the dead letter")
        assert (await status(api))["saved"] is False


async def test_what_does_not_answer_is_left_out_and_said(start: Start) -> None:
    api = await start(ready=False, REDIS_URL_EU="redis://127.0.0.1:1/0")
    found = await status(api)
    assert "EU" not in by_region(found)
    assert len(found["queues"]) == 3
    assert (found["ok"], found["saved"], found["reads"]) == (False, False, "postgres")
    assert {"regions": ["EU"], "ok": False} in found["redis"]


async def test_many_who_ask_share_a_look(api: Api, redis_1: redis.Redis) -> None:
    await redis_1.config_resetstat()
    before = time.monotonic()
    for _ in range(5):
        await asyncio.gather(*(api.get("/status") for _ in range(20)))
    stats = await redis_1.info("commandstats")
    looks = stats["cmdstat_evalsha"]["calls"]
    regions, periods = 4, 2 + (time.monotonic() - before) / CACHE_SECONDS
    assert looks <= regions * periods
