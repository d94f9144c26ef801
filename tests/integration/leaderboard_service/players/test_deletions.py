"""Who was deleted stays deleted: older events, killed workers, rebuilds, and writes that come at the same time."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis import lua
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start, admit
from tests.support.all_redis import AllRedis
from tests.support.infrastructure import Infrastructure
from tests.support.layouts import Layout
from tests.support.proxy import proxy
from tests.support.service import REGIONS, Api
from tests.support.waiting import eventually
from tests.support.worker import EAGER, dead_letters, deletion, drained, event, held, push, rows, working
from worker_service.recovery.differences import Report
from worker_service.recovery.rebuild import rebuild
from worker_service.recovery.verify import Verifier
from worker_service.saving.dead_letters import requeue

OWN_LIST = "queue:scores:EU:processing:worker-1"
PASSWORD = "correct horse battery"


async def fall_silent(client: redis.Redis, worker: str) -> None:
    """Let a worker's last sign of life be a minute ago."""
    seconds, _ = await client.time()
    await client.zadd("workers", {worker: (seconds - 60) * 1_000_000})


async def verified(environ: dict[str, str], databases: RegionDatabases, *, repair: bool = False) -> Report:
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        return await Verifier(shard_map, databases, wait_seconds=2).verify(repair=repair)
    finally:
        await shard_map.close()


async def whole_rebuild(environ: dict[str, str], databases: RegionDatabases) -> None:
    """`leaderboard rebuild --whole`, on a Redis that serves."""
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        for shard in shard_map.shards:
            await rebuild(shard, databases, EAGER, whole=True)
    finally:
        await shard_map.close()


async def deletions(databases: RegionDatabases, region: str = "EU") -> dict[str, int]:
    found = await databases[region].fetch(
        "SELECT user_id, (EXTRACT(EPOCH FROM deleted_at) * 1000000)::bigint AS micros FROM deleted_players"
    )
    return {row["user_id"]: row["micros"] for row in found}


async def is_clean(environ: dict[str, str], databases: RegionDatabases) -> None:
    report = await verified(environ, databases)
    assert (report.differences, report.pending) == ([], 0)


async def test_events_in_any_order_and_any_number_of_times(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """In batches of every size, so that they meet the deletion beside them and long after it."""
    told = [
        *(event("alice", n, timestamp=100 + n) for n in range(4)),
        deletion("alice", timestamp=110),
        deletion("bob", timestamp=105),
        event("bob", 1, timestamp=106),
        event("bob", 2, timestamp=105),
        event("carol", 3, timestamp=1),
        deletion("nobody", timestamp=1),
    ]
    for size in ("1", "2", "3", "100"):
        async with working({**environ, "BATCH_SIZE": size}):
            for events in (told, told[::-1], told[3:] + told[:3]):
                await push(all_redis, *events)
                await drained(all_redis)
                assert {user_id: row[1:] for user_id, row in (await rows(databases)).items()} == {
                    "bob": (1, 106),
                    "carol": (3, 1),
                }
                assert await deletions(databases) == {"alice": 110, "bob": 105, "nobody": 1}
    assert await dead_letters(all_redis) == []


async def test_an_event_taken_over_after_the_deletion_was_committed(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    await fall_silent(all_redis, "dead")
    await all_redis.lpush("queue:scores:EU:processing:dead", event("alice", 1, timestamp=100), event("bob", 1))
    await push(all_redis, deletion("alice", timestamp=200))
    async with working(environ):

        async def committed() -> bool:
            return await deletions(databases) == {"alice": 200}

        await eventually(committed)
        async with working(environ, "worker-2", heartbeats=True):
            await drained(all_redis)
    assert set(await rows(databases)) == {"bob"}


async def test_a_dead_letter_that_is_retried_does_not_bring_the_player_back(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    too_long = event("alice", 1, timestamp=100, name="n" * 201)
    async with working(environ):
        await push(all_redis, too_long, deletion("alice", timestamp=200))
        await drained(all_redis)
        (letter,) = await dead_letters(all_redis)
        await all_redis.delete("queue:scores:EU:dead")
        await all_redis.lpush(
            "queue:scores:EU:dead",
            str(await all_redis.eval("return cjson.encode({event=ARGV[1],reason='x',at=ARGV[2]})", 0,
                                   event("alice", 1, timestamp=100), letter["at"])),
        )  # fmt: skip
        shard_map = ShardMap.open(load(TopologySettings, environ))
        assert len(await requeue(shard_map, lambda _: True)) == 1
        await shard_map.close()
        await drained(all_redis)
    assert await rows(databases) == {}


@pytest.mark.parametrize("arrives", [True, False], ids=["answer-lost", "request-lost"])
async def test_a_worker_killed_between_commit_and_acknowledgement(
    start: Start,
    environ: dict[str, str],
    databases: RegionDatabases,
    redis_1: redis.Redis,
    infra: Infrastructure,
    arrives: bool,
) -> None:
    """The batch is taken over; meanwhile the user_id has a new player, with a password of its own."""
    api = await start()
    token = await api.register("alice", "EU", 7, password=PASSWORD)
    assert (await api.post("/score/add", {"delta": 1}, token=token)).status_code == 200
    acknowledge = lua.load("acknowledge_batch").sha.encode()
    async with proxy(infra.redis_urls[0]) as between:
        async with working({**environ, "REDIS_URL": between.url}) as worker:
            await drained(redis_1)
            between.hold_when(acknowledge)
            assert (await api.delete("alice", token)).status_code == 200

            async def committed() -> bool:
                return bool(between.held_bytes) and "alice" in await deletions(databases)

            await eventually(committed)
            assert await held(redis_1) == {OWN_LIST: 1}
            if arrives:
                between.hold_answers()
                between.release()
                await drained(redis_1)
            await worker.kill()
        assert await rows(databases) == {}
        await api.register("alice", "EU", 1, password="another password")
        await fall_silent(redis_1, "worker-1")
        async with working(environ, "worker-2", heartbeats=True):
            await drained(redis_1)
    assert (await rows(databases))["alice"][1] == 1
    assert (await api.login("alice", password="another password")).status_code == 200
    assert await redis_1.ttl("deleted:alice") > 0
    await is_clean(environ, databases)


async def test_an_upsert_that_began_before_the_deletion_does_not_outlive_it(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis, test_databases: Any
) -> None:
    """The statement has looked for deletions already, and waits half-way for another row."""
    await databases["EU"].execute("INSERT INTO leaderboard (user_id, name, region) VALUES ('aaa', 'a', 'EU')")
    blocker = await asyncpg.connect(test_databases.dsn("EU"))
    watcher = await asyncpg.connect(test_databases.dsn("EU"))

    async def waiting_for(mode: str) -> bool:
        query = "SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = $1"
        return bool(await watcher.fetchval(query, mode))

    try:
        transaction = blocker.transaction()
        await transaction.start()
        await blocker.execute("SELECT 1 FROM leaderboard WHERE user_id = 'aaa' FOR UPDATE")
        await push(all_redis, event("aaa", 1, timestamp=1_900_000_000_000_000), event("alice", 1, timestamp=100))
        async with working(environ, "slow"):
            await eventually(lambda: waiting_for("ShareLock"), "the upsert waiting for the row")
            async with working(environ, "other"):
                await push(all_redis, deletion("alice", timestamp=200))
                await eventually(lambda: waiting_for("ExclusiveLock"), "the deletion waiting for the upsert")
                await transaction.rollback()
                await drained(all_redis)
    finally:
        await blocker.close()
        await watcher.close()
    assert set(await rows(databases)) == {"aaa"}
    assert await deletions(databases) == {"alice": 200}


async def test_a_deletion_that_meets_a_deadlock_in_postgres_is_done_by_a_worker(
    any_api: Api, databases: RegionDatabases, environ: dict[str, str], all_redis: AllRedis
) -> None:
    """It waits for a row whose transaction then wants the table that the deletion has locked."""
    await any_api.register("alice", "EU", 7)
    async with working(environ):
        await drained(all_redis)
    async with databases["EU"].acquire() as other:
        transaction = other.transaction()
        await transaction.start()
        await other.execute("SET LOCAL deadlock_timeout = '60s'")  # so that it is the deletion which is refused
        await other.execute("SELECT FROM leaderboard WHERE user_id = 'alice' FOR UPDATE")
        deleting = asyncio.create_task(any_api.delete("alice"))

        async def waits() -> bool:
            find = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
            return await databases["EU"].fetchval(find) is not None

        await eventually(waits, "the deletion waits for the row")
        await other.execute("LOCK TABLE admissions")
        await transaction.rollback()
    assert (await deleting).status_code == 200
    assert "alice" in await rows(databases)
    async with working(environ):
        await drained(all_redis)
    assert "alice" not in await rows(databases)


async def test_a_rebuild_before_the_deletion_is_committed_does_not_bring_the_player_back(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    """Also when the event is in a worker's hands. Postgres is away for the service: only the event deletes there."""
    api = await start(DATABASE_URL_EU="postgresql://nobody@127.0.0.1:1/nothing")
    token = await api.register("alice", "EU", 7)
    await api.register("bob", "EU", 5)
    async with working(environ):
        await drained(all_redis)
    assert (await api.delete("alice", token)).status_code == 200
    assert set(await rows(databases)) == {"alice", "bob"}
    for moved in (False, True):
        if moved:
            await fall_silent(all_redis, "dead")
            assert await all_redis.lmove("queue:scores:EU", "queue:scores:EU:processing:dead", "RIGHT", "LEFT")
        await whole_rebuild(environ, databases)
        # As after a restart: only what Postgres has that is newer is read.
        await all_redis.begin_another_life()
        await admit(environ, databases)
        assert await api.scores() == {"bob": 5}
        assert not await all_redis.exists("user:alice")
        assert (await api.post("/score/create", {"region": "EU"}, token=token)).status_code == 401
    report = await verified(environ, databases)
    assert (report.differences, report.pending) == ([], 1)
    async with working(environ, "worker-2", heartbeats=True):
        await drained(all_redis)
    assert set(await rows(databases)) == {"bob"}
    await whole_rebuild(environ, databases)
    assert await api.scores() == {"bob": 5}
    await is_clean(environ, databases)


async def test_a_redis_from_before_the_deletion_learns_of_it(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    """An old backup of Redis is put back: who was deleted since goes, who was made anew since comes as it is now."""
    api = await start()
    tokens = {user_id: await api.register(user_id, "EU", n) for n, user_id in enumerate(("alice", "bob", "carol"), 5)}
    async with working(environ):
        await drained(all_redis)
        backup = [
            (shard.client, key, await shard.client.dump(key))
            for shard in api.services.shard_map.shards
            async for key in shard.client.scan_iter(f"{shard.keys.prefix}*")
        ]
        for user_id in ("alice", "bob"):
            assert (await api.delete(user_id, tokens[user_id])).status_code == 200
        new = await api.register("bob", "EU", 1)
        await drained(all_redis)
    current = await api.top()
    await all_redis.flushdb()
    for client, key, value in backup:
        assert value is not None
        await client.restore(key, 0, value)
    await all_redis.begin_another_life()
    assert await all_redis.zscore("leaderboard:GLOBAL", "alice") == 5
    await admit(environ, databases)
    assert await api.top() == current
    assert await api.scores() == {"bob": 1, "carol": 7}
    for user_id in ("alice", "bob"):
        response = await api.post("/score/create", {"region": "EU"}, token=tokens[user_id])
        assert (response.status_code, response.json()["error"]) == (401, "invalid_token")
    assert (await api.post("/score/add", {"delta": 1}, token=new)).json()["score"] == 2
    async with working(environ):
        await drained(all_redis)
    await is_clean(environ, databases)


async def test_a_deletion_in_a_workers_hands_survives_the_loss_of_redis(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """Redis loses its data and is rebuilt from the row; then the worker commits the deletion."""
    api = await start(DATABASE_URL_EU="postgresql://nobody@127.0.0.1:1/nothing")
    token = await api.register("alice", "EU", 1)
    await api.register("bob", "EU", 2)
    async with proxy(environ["DATABASE_URL_EU"]) as between:
        slow = {**environ, "DATABASE_URL_EU": between.url, "POSTGRES_TIMEOUT_SECONDS": "20"}
        async with working(slow):
            await drained(all_redis)
            between.hold()
            assert (await api.delete("alice", token)).status_code == 200

            async def in_hand() -> bool:
                return bool(between.held_bytes)

            await eventually(in_hand, "the deletion on its way")
            await all_redis.flushdb()
            await admit(environ, databases)
            assert set(await api.scores()) == {"alice", "bob"}
            between.release()

            async def same() -> bool:
                return set(await rows(databases)) == set(await api.scores()) == {"bob"}

            await eventually(same, "Redis having what Postgres has")
    response = await api.post("/score/create", {"region": "EU"}, token=token)
    assert (response.status_code, response.json()["error"]) == (401, "invalid_token")


async def test_redis_that_is_rebuilt_while_a_deletion_is_on_its_way_to_postgres(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """The service's own commit comes after Redis has lost its data and was given the row again."""
    async with proxy(environ["DATABASE_URL_EU"]) as between:
        api = await start(DATABASE_URL_EU=between.url, POSTGRES_TIMEOUT_SECONDS=20)
        token = await api.register("alice", "EU", 1)
        async with working(environ):
            await drained(all_redis)
        between.hold()
        deleting = asyncio.create_task(api.delete("alice", token))

        async def in_hand() -> bool:
            return bool(between.held_bytes)

        await eventually(in_hand, "the deletion on its way")
        await all_redis.flushdb()
        await admit(environ, databases)
        assert set(await api.scores()) == {"alice"}
        between.release()
        assert (await deleting).status_code == 200
    assert await api.scores() == {}
    assert await rows(databases) == {}
    assert (await api.post("/score/create", {"region": "EU"}, token=token)).status_code == 401


async def test_verify_repairs_towards_the_deletion(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start()
    tokens = {user_id: await api.register(user_id, "EU", 5) for user_id in ("alice", "bob", "carol")}
    async with working(environ):
        await drained(all_redis)
        row = await databases["EU"].fetchrow("SELECT * FROM leaderboard WHERE user_id = 'alice'")
        card: dict[Any, Any] = await all_redis.hgetall("user:bob")
        for user_id in ("alice", "bob"):
            assert (await api.delete(user_id, tokens[user_id])).status_code == 200
        await drained(all_redis)
    await is_clean(environ, databases)
    # A backup of Postgres brings alice's row back, somebody writes bob's card into Redis again.
    assert row is not None
    await databases["EU"].execute("DELETE FROM deleted_players WHERE user_id = 'alice'")
    await databases["EU"].execute("INSERT INTO leaderboard VALUES ($1, $2, $3, $4, $5)", *list(row.values())[:5])
    await all_redis.hset("user:bob", mapping=card)
    for board in ("EU", "GLOBAL"):
        await all_redis.zadd(f"leaderboard:{board}", {"bob": 5})
    report = await verified(environ, databases)
    assert {one.user_id: one.problem for one in report.differences} == {
        "alice": "is missing in Redis",
        "bob": "was deleted, and is in Redis still",
    }
    report = await verified(environ, databases, repair=True)
    assert {one.user_id: outcome for one, outcome in report.repaired} == {"alice": "deleted", "bob": "removed"}
    async with working(environ):
        await drained(all_redis)
    assert set(await rows(databases)) == set(await api.scores()) == {"carol"}
    await is_clean(environ, databases)


async def test_writes_that_race_a_deletion(
    start: Start,
    any_layout: Layout,
    environ: dict[str, str],
    databases: RegionDatabases,
    all_redis: redis.Redis,
) -> None:
    """Adds by the player and by a server, a registration anew, and one deletion, over two replicas and two workers."""
    replicas = [await start(layout=any_layout) for _ in range(2)]
    chosen = {**environ, "BATCH_SIZE": "7"}
    players = [(f"p{n:02}", ("ASIA", "EU", "GLOBAL")[n % 3]) for n in range(24)]
    expected: dict[str, int] = {}

    async def race(number: int, user_id: str, region: str) -> None:
        api: Api = replicas[number % 2]
        token = await api.register(user_id, region, 1, password=PASSWORD if number % 12 == 0 else None)
        batch = {"scores": [{"user_id": user_id, "region": region, "delta": 1}] * 3}

        async def add(other: Api) -> tuple[str, int, Any]:
            response = await other.post("/score/add", {"delta": 1}, token=token)
            return "add", response.status_code, response.json()

        async def serve(other: Api) -> tuple[str, int, Any]:
            response = await other.post("/scores", batch, token=other.server_token())
            return "batch", response.status_code, response.json()

        async def end(other: Api) -> tuple[str, int, Any]:
            response = await other.delete(user_id, token)
            return "delete", response.status_code, response.json()

        calls: list[Any] = [add(replicas[n % 2]) for n in range(6)]
        calls.insert(number % 7, end(replicas[(number + 1) % 2]))
        if number % 2:
            calls.insert(number % 5, serve(replicas[0]))
        answers = await asyncio.gather(*calls)
        (deleted_at,) = [body["deleted_at"] for kind, status, body in answers if kind == "delete" and status == 200]
        states = [body for kind, status, body in answers if kind == "add" and status == 200]
        assert {status for kind, status, _ in answers if kind == "add"} <= {200, 401}
        states += [one for kind, _, body in answers if kind == "batch" for one in body["results"] if one["ok"]]
        if number % 4 == 0:
            again = await api.try_register(user_id, region, 50)
            assert again.status_code == 201, again.text
            expected[user_id] = 50
            return
        later = [one for one in states if one["updated_at"] > deleted_at]
        if later:
            expected[user_id] = max(later, key=lambda one: one["updated_at"])["score"]

    async with working(chosen, "worker-1"), working(chosen, "worker-2"):
        await asyncio.gather(*(race(n, user_id, region) for n, (user_id, region) in enumerate(players)))
        await drained(all_redis)
    assert await replicas[0].scores() == await replicas[1].scores() == expected
    saved: dict[str, int] = {}
    for region in REGIONS:
        saved |= {user_id: row[1] for user_id, row in (await rows(databases, region)).items()}
    assert saved == expected
    await is_clean(chosen, databases)
    await whole_rebuild(chosen, databases)
    assert await replicas[0].scores() == expected
