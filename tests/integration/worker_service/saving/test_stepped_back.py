"""The clock of Redis' machine has stepped back: what measures an age goes on from now, and nobody waits."""

from __future__ import annotations

import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.queues import inspect_queue
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start, admit
from tests.support.all_redis import AllRedis
from tests.support.waiting import eventually
from tests.support.worker import EAGER, drained, event, rows, working
from worker_service.recovery.rebuild import rebuild

STEP = 600


async def ahead(client: redis.Redis, seconds: int = STEP) -> int:
    """A time in µs that was written before the step."""
    now, micros = await client.time()
    return (now + seconds) * 1_000_000 + micros


async def test_the_batch_of_a_worker_that_died_before_the_step_is_saved(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    await all_redis.lpush("queue:scores:EU:processing:ghost", event("alice", timestamp=await ahead(all_redis)))
    await all_redis.zadd("workers", {"ghost": await ahead(all_redis)})
    async with working({**environ, "WORKER_TIMEOUT_SECONDS": "2"}, heartbeats=True):
        await drained(all_redis)
    assert set(await rows(databases)) == {"alice"}


async def test_a_reclaim_counts_a_heartbeat_ahead_as_one_of_now(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """Whoever reclaims has seen the worker stale; should its time lie ahead now, it has a whole timeout again."""
    await all_redis.lpush("queue:scores:EU:processing:ghost", event("alice"))
    await all_redis.zadd("workers", {"ghost": await ahead(all_redis)})
    shard_map = ShardMap.open(load(TopologySettings, environ))
    shard = shard_map.shard_of("EU", "alice")
    keys = (shard.keys.queue("EU"), shard.keys.processing("EU", "ghost"), shard.keys.workers)
    try:
        assert await shard.run("reclaim_batch", keys, ("ghost", 1_000_000)) == -1
        _, heartbeats = await inspect_queue(shard, "EU")
        assert heartbeats == {"ghost": 0.0}
        await shard.run("heartbeat", (shard.keys.workers, shard.keys.worker_versions), ("me", 1_000_000, 1))

        async def reclaimed() -> bool:
            return bool(await shard.run("reclaim_batch", keys, ("ghost", 1_000_000)) == 1)

        await eventually(reclaimed, "a whole timeout without a heartbeat", seconds=5)
    finally:
        await shard_map.close()


async def test_a_dead_worker_grows_older_also_when_no_other_one_is_left(
    environ: dict[str, str], all_redis: redis.Redis
) -> None:
    await all_redis.zadd("workers", {"ghost": await ahead(all_redis)})
    shard_map = ShardMap.open(load(TopologySettings, environ))
    shard = shard_map.shard_of("EU", "alice")

    async def older() -> bool:
        return (await inspect_queue(shard, "EU"))[1]["ghost"] > 0.05

    try:
        await eventually(older, "an age that grows", seconds=5)
    finally:
        await shard_map.close()


async def test_an_empty_bucket_of_before_the_step_is_full(start: Start, all_redis: redis.Redis) -> None:
    api = await start(USER_RATE_LIMIT_COUNT=1, USER_RATE_LIMIT_WINDOW=5, REGION_RATE_LIMIT_PER_SEC=1)
    token = await api.register("alice", "EU", 1)
    for bucket in ("bucket:user:alice", "bucket:region:EU"):
        await all_redis.hset(bucket, mapping={"level": "0", "at": str(await ahead(all_redis))})
    answer = await api.post("/score/add", {"delta": 1}, token=token)
    assert answer.status_code == 200
    again = await api.post("/score/add", {"delta": 1}, token=token)
    assert again.status_code == 429
    assert again.json()["retry_after"] <= 5


async def test_failed_logins_of_before_the_step_are_forgotten(start: Start, all_redis: redis.Redis) -> None:
    api = await start(LOGIN_RATE_LIMIT_COUNT=2, LOGIN_RATE_LIMIT_WINDOW=60)
    await api.register("alice", "EU", 1)
    await all_redis.hset("bucket:login:alice", mapping={"level": "0", "at": str(await ahead(all_redis))})
    assert (await api.login("alice", name="alice")).status_code == 200


async def test_a_lease_of_before_the_step_begins_anew(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """An expiry is a time of the clock: a dead rebuilder's lock would hold for the whole step."""
    await all_redis.set("shard:rebuild", "ghost", ex=STEP + 30)
    await all_redis.set("claim:alice", "ghost", ex=STEP + 10)
    shard_map = ShardMap.open(load(TopologySettings, environ))
    shard = shard_map.claim_shard_of("alice")
    try:
        words = ("me", 30_000, "1")
        assert await shard.run("take_lease", (shard.keys.rebuild_lock,), words) == 0
        assert await shard.client.pttl(shard.keys.rebuild_lock) <= 30_000
        await all_redis.delete("shard:rebuild")
        await rebuild(shard, databases, EAGER)
        assert (await shard.run("claim_user", (shard.keys.admission, shard.keys.claim("alice")), ("me", 10_000)))[
            0
        ] == "claimed"
        assert await shard.client.pttl(shard.keys.claim("alice")) <= 10_000
    finally:
        await shard_map.close()


async def test_a_claim_on_another_shard_ends_when_the_clock_steps_back(start: Start) -> None:
    """It was counted on the player's shard, whose clock says less now than it did then."""
    api = await start(layout="two-redis")
    shard = api.services.shard_map.shard_of("EU", "alice")
    now = await ahead(shard.client, 0)
    keys = shard.keys
    for period, outcome in ((f"{now + 10**9} {now + 2 * 10**9}", "claim_lost"), (f"{now} {now + 10**8}", "ok")):
        answer = await shard.run(
            "write_score",
            (
                keys.admission,
                keys.user("alice"),
                keys.board("EU"),
                keys.board("GLOBAL"),
                keys.queue("EU"),
                keys.user_bucket("alice"),
                keys.region_bucket("EU"),
                keys.idempotency("alice", ""),
                keys.claim("alice"),
                keys.definition("main"),
            ),
            (
                *("register", "alice", "EU", "alice", 1, '{"user_id":"alice"', 1000, 0, 0, 0, 0, "1"),
                *(period, keys.tombstone(""), "", "0 0", "", "", "", "", "", "", "0", "self"),
            ),
        )
        assert outcome in answer.split("\0")[:2]


async def test_the_latest_changes_are_found_from_a_clock_that_was_ahead(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    """The last write that Redis knows of lies ahead of rows that were written after the step."""
    api = await start()
    token = await api.register("alice", "EU", 1)
    await api.post("/score/add", {"delta": 9}, token=token)
    async with working(environ):
        await drained(all_redis)
    now = await ahead(all_redis, 0)
    await all_redis.hset("bucket:region:EU", "at", str(await ahead(all_redis)))
    await all_redis.hset("user:alice", mapping={"score": "1", "updated_at": str(now - 10**7)})
    await all_redis.zadd("leaderboard:EU", {"alice": 1})
    await all_redis.zadd("leaderboard:GLOBAL", {"alice": 1})
    await all_redis.begin_another_life()
    await admit(environ, databases)
    assert await api.scores() == {"alice": 10}
