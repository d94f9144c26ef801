"""The worker's consumers: every acknowledged write reaches Postgres once, whatever breaks on the way."""

from __future__ import annotations

import asyncio
import random
import string
from collections.abc import Awaitable, Callable

import pytest
import redis.asyncio as redis

from leaderboard_core.events import MAX_TIMESTAMP
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis import lua
from leaderboard_core.settings import MAX_EXACT_INTEGER
from tests.support.all_redis import AllRedis
from tests.support.infrastructure import Infrastructure
from tests.support.proxy import proxy
from tests.support.service import Api, gather
from tests.support.waiting import eventually
from tests.support.worker import dead_letters, drained, event, held, push, rows, working
from worker_service import services

OWN_LIST = "queue:scores:EU:processing:worker-1"


async def test_more_queues_than_connections_to_wait_on_are_looked_at_in_turns(
    api: Api, environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def blocked() -> int:
        return int((await redis_1.info("clients"))["blocked_clients"])

    async with working(environ):
        await eventually(lambda: _is(blocked, 4), "a consumer of each region that waits")
    monkeypatch.setattr(services, "MOST_BLOCKED", 1)
    most = 0
    async with working(environ):
        for region in ("ASIA", "EU", "NA", "GLOBAL"):
            await push(redis_1, event(user_id=f"of-{region}", region=region), region=region)

            async def saved(region: str = region) -> bool:
                nonlocal most
                most = max(most, await blocked())
                return f"of-{region}" in await rows(databases, region)

            await eventually(saved, f"the row of {region}")
    assert most == 1
    assert await blocked() == 0, "who waits for a place ends with the others"


async def _is(count: Callable[[], Awaitable[int]], wanted: int) -> bool:
    return await count() == wanted


async def test_every_write_of_the_service_reaches_its_database(
    any_api: Api,
    environ: dict[str, str],
    databases: RegionDatabases,
    all_redis: redis.Redis,
) -> None:
    """Extremes, odd names and all: hash, board and row are equal once the queues are empty."""
    api = any_api
    players = {
        "top": ("ASIA", MAX_EXACT_INTEGER, "T"),
        "low": ("EU", -MAX_EXACT_INTEGER, "L"),
        "odd": ("NA", MAX_EXACT_INTEGER - 1, "q\"uo'te {} % \\ 🎮 e\u0301 \u202eא\u202c"),
        "日本:%s": ("GLOBAL", 0, "名" * 200),
        "𝔘" * 128: ("EU", -1, "x"),
    }
    tokens = {
        user_id: await api.register(user_id, region, score, name=name)
        for user_id, (region, score, name) in players.items()
    }
    async with working(environ):
        await drained(all_redis)
        for user_id, (region, score, name) in players.items():
            stored = (await rows(databases, region))[user_id]
            assert stored[:2] == (name, score)
        await gather([api.post("/score/add", {"delta": 1}, token=tokens["low"]) for _ in range(30)])
        last = await api.post("/score/add", {"delta": 1}, token=tokens["low"])
        await drained(all_redis)
    assert (await rows(databases))["low"] == ("L", -MAX_EXACT_INTEGER + 31, last.json()["updated_at"])
    for user_id, (region, _, _) in players.items():
        hashed = await all_redis.hgetall(f"user:{user_id}")
        name, score, micros = (await rows(databases, region))[user_id]
        assert (hashed["name"], int(hashed["score"]), int(hashed["updated_at"])) == (name, score, micros)
        assert await all_redis.zscore(f"leaderboard:{region}", user_id) == score


async def test_the_newest_event_of_a_player_wins_in_whatever_order_they_come(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    events = [event("alice", score, timestamp=score) for score in range(1, 61)]
    shuffled = random.Random(5)
    async with working({**environ, "BATCH_SIZE": "7", "BATCH_LINGER_MS": "0"}):
        for _ in range(3):  # every event three times
            shuffled.shuffle(events)
            await push(all_redis, *events)
        await drained(all_redis)
    assert await rows(databases) == {"alice": ("alice", 60, 60)}
    assert await dead_letters(all_redis) == []


async def test_old_and_repeated_events_change_nothing(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    newest = event("alice", 7, timestamp=1000, name="New")
    async with working(environ):
        await push(all_redis, newest)
        await drained(all_redis)
        for late in (newest, event("alice", 9, timestamp=999, name="Old"), event("alice", 9, timestamp=1000)):
            await push(all_redis, late)
            await drained(all_redis)
            assert await rows(databases) == {"alice": ("New", 7, 1000)}
        await push(all_redis, event("alice", 3, timestamp=1001))
        await drained(all_redis)
    assert await rows(databases) == {"alice": ("alice", 3, 1001)}


async def test_the_ends_of_what_postgres_holds(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    async with working(environ):
        await push(all_redis, event("a", 2**63 - 1, MAX_TIMESTAMP), event("b", -(2**63), 0))
        await drained(all_redis)
    assert await rows(databases) == {"a": ("a", 2**63 - 1, MAX_TIMESTAMP), "b": ("b", -(2**63), 0)}


def long_text(length: int) -> str:
    """Text that Postgres cannot compress."""
    return "".join(random.Random(1).choices(string.ascii_letters + string.digits, k=length))


async def test_poisoned_events_go_to_the_dead_letters_and_hold_up_nobody(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    poison: list[tuple[str | bytes, str]] = [
        ("not json", "not JSON"),
        ("[]", "not a JSON object"),
        ("[" * 50_000, "not JSON"),
        (event("x", name="a\0b"), "NUL"),
        (event("x", region="NA"), "in the queue of EU"),
        (event("x", score=2**63), "score"),
        (event("x", timestamp=-1), "timestamp"),
        (event("x", name="n" * 201), "name is longer"),
        (event(long_text(9000), name="x"), "index"),  # no index can hold it: only Postgres knows that
        (b'{"user_id": "\xff\xfe", "broken": ', "not JSON"),
        (b"\xff\xfe\xfd", "not JSON"),
    ]
    mixed: list[str | bytes] = []
    for number, (bad, _) in enumerate(poison):
        mixed += [event(f"good-{number}"), bad]
    async with working({**environ, "BATCH_SIZE": "8"}):
        await push(all_redis, *mixed)
        await drained(all_redis)
    assert set(await rows(databases)) == {f"good-{number}" for number in range(len(poison))}
    letters = await dead_letters(all_redis)
    assert len(letters) == len(poison)
    for bad, reason in poison:
        reasons = [letter["reason"] for letter in letters if letter["event"] == bad or isinstance(bad, bytes)]
        assert any(reason in found for found in reasons), (bad[:80], reasons)


async def test_two_workers_share_a_queue(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    small = {**environ, "BATCH_SIZE": "20"}
    events = [event(f"p{n % 150}", n, timestamp=n) for n in range(3000)]
    await push(all_redis, *events)
    async with working(small, "worker-1"), working(small, "worker-2"):
        await drained(all_redis)
    expected = {f"p{n % 150}": (f"p{n % 150}", n, n) for n in range(3000)}
    assert await rows(databases) == expected


async def test_a_batch_that_was_taken_before_an_answer_got_lost_is_saved(
    environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, infra: Infrastructure
) -> None:
    """Redis gave the event, but the connection broke before the worker had it."""
    async with proxy(infra.redis_urls[0]) as between, working({**environ, "REDIS_URL": between.url}):
        await push(redis_1, event("first"))
        await drained(redis_1)
        between.hold_answers()
        await push(redis_1, event("alice"))

        async def taken() -> bool:
            return await redis_1.llen(OWN_LIST) == 1

        await eventually(taken)
        await between.cut()
        await between.open()
        await drained(redis_1)
    assert set(await rows(databases)) == {"first", "alice"}


async def test_an_event_taken_by_a_connection_that_is_gone_is_saved(
    environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, infra: Infrastructure
) -> None:
    """Redis has not noticed that a waiting connection is gone, and gives it the next event; no other one follows."""
    async with proxy(infra.redis_urls[0]) as between:
        patient = {**environ, "REDIS_URL": between.url, "REDIS_TIMEOUT_SECONDS": "10"}
        async with working(patient, block_seconds=3):
            await push(redis_1, event("first"))
            await drained(redis_1)

            async def waiting(connections: int) -> bool:
                return int((await redis_1.info("clients"))["blocked_clients"]) >= connections

            await eventually(lambda: waiting(4))
            await between.drop_clients()
            await eventually(lambda: waiting(8), "new connections beside the old ones")
            await push(redis_1, event("alice"))
            await drained(redis_1)
    assert set(await rows(databases)) == {"first", "alice"}


@pytest.mark.parametrize("arrives", [True, False], ids=["answer-lost", "request-lost"])
async def test_an_acknowledgement_that_got_lost(
    environ: dict[str, str], databases: RegionDatabases, redis_1: redis.Redis, infra: Infrastructure, arrives: bool
) -> None:
    acknowledge = lua.load("acknowledge_batch").sha.encode()
    async with proxy(infra.redis_urls[0]) as between, working({**environ, "REDIS_URL": between.url}):
        await push(redis_1, event("first"))
        await drained(redis_1)
        between.hold_when(acknowledge)
        await push(redis_1, "poison", event("alice"))

        async def committed() -> bool:
            return bool(between.held_bytes) and "alice" in await rows(databases)

        await eventually(committed)
        assert await held(redis_1) == {OWN_LIST: 2}
        if arrives:
            between.hold_answers()
            between.release()
            await drained(redis_1)
        await between.cut()
        await between.open()
        await drained(redis_1)
        await push(redis_1, event("last"))
        await drained(redis_1)
    assert set(await rows(databases)) == {"first", "alice", "last"}
    assert [letter["event"] for letter in await dead_letters(redis_1)] == ["poison"]


async def test_postgres_away_and_back(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    async with proxy(environ["DATABASE_URL_EU"]) as between, working({**environ, "DATABASE_URL_EU": between.url}):
        await push(all_redis, event("before"))
        await drained(all_redis)
        await between.cut()
        for n in range(20):
            await push(all_redis, event(f"p{n}"))
        await push(all_redis, event("asia", region="ASIA"), region="ASIA")

        async def asia_saved() -> bool:
            in_asia = [key for key in await held(all_redis) if key.startswith("queue:scores:ASIA")]
            return bool(await rows(databases, "ASIA")) and not in_asia

        await eventually(asia_saved, "the other region's save and its acknowledgement")
        assert sum((await held(all_redis)).values()) == 20, "nothing left Redis without being saved"
        await between.open()
        await drained(all_redis)
    assert set(await rows(databases)) == {"before", *(f"p{n}" for n in range(20))}


async def test_a_commit_whose_answer_got_lost_is_repeated(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    async with proxy(environ["DATABASE_URL_EU"]) as between, working({**environ, "DATABASE_URL_EU": between.url}):
        await push(all_redis, event("before"))
        await drained(all_redis)
        between.hold_when(b"COMMIT")
        await push(all_redis, event("alice"))

        async def on_its_way() -> bool:
            return bool(between.held_bytes)

        async def committed() -> bool:
            return "alice" in await rows(databases)

        await eventually(on_its_way)
        between.hold_answers()
        between.release()
        await eventually(committed)
        assert await held(all_redis) == {OWN_LIST: 1}
        await between.cut()
        await between.open()
        await drained(all_redis)
    assert set(await rows(databases)) == {"before", "alice"}


async def test_an_event_that_the_worker_has_not_seen_outlives_the_acknowledgement(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """A connection that is gone was given an event while another batch was being committed."""
    async with (
        proxy(environ["DATABASE_URL_EU"]) as between,
        working({**environ, "DATABASE_URL_EU": between.url}),
    ):
        await push(all_redis, event("before"))
        await drained(all_redis)
        between.hold()
        await push(all_redis, event("alice"))

        async def in_flight() -> bool:
            return bool(between.held_bytes)

        await eventually(in_flight)
        await all_redis.lpush(OWN_LIST, event("unseen"))
        between.release()
        await drained(all_redis)
    assert set(await rows(databases)) == {"before", "alice", "unseen"}


async def test_a_stop_finishes_the_batch_in_flight(
    environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    async with (
        proxy(environ["DATABASE_URL_EU"]) as between,
        working({**environ, "DATABASE_URL_EU": between.url, "BATCH_SIZE": "2"}) as worker,
    ):
        await push(all_redis, event("before"))
        await drained(all_redis)
        between.hold()
        await push(all_redis, *(event(user_id) for user_id in all_redis.of_one_shard(5)))

        async def in_flight() -> bool:
            return bool(between.held_bytes)

        await eventually(in_flight)
        ending = asyncio.create_task(worker.finish())
        assert set(await rows(databases)) == {"before"}
        assert not ending.done(), "it waits for the batch in flight"
        between.release()
        await ending
        left = await held(all_redis)
        saved = set(await rows(databases)) - {"before"}
    assert left == {"queue:scores:EU": 5 - len(saved)}, "what was in flight is done, the rest waits in the queue"
    assert 1 <= len(saved) <= 2


async def test_a_stop_while_postgres_is_away_leaves_the_batch_for_the_next_worker(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    async with (
        proxy(environ["DATABASE_URL_EU"]) as between,
        working({**environ, "DATABASE_URL_EU": between.url}) as worker,
    ):
        await between.cut()
        await push(all_redis, event("alice"))

        async def in_flight() -> bool:
            return await held(all_redis) == {OWN_LIST: 1}

        await eventually(in_flight)
        await worker.finish()
    assert await held(all_redis) == {OWN_LIST: 1}
    await make_stale(all_redis, "worker-1")
    async with working(environ, "worker-2", heartbeats=True):
        await drained(all_redis)
    assert set(await rows(databases)) == {"alice"}


async def make_stale(client: redis.Redis, worker: str, seconds_ago: int = 60) -> None:
    """Let a worker's last heartbeat be so long ago."""
    seconds, micros = await client.time()
    await client.zadd("workers", {worker: (seconds - seconds_ago) * 1_000_000 + micros})


@pytest.mark.parametrize("stale_for", ["a minute", "a week"])
async def test_the_batch_of_a_stale_worker_is_reclaimed_in_order(
    environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis, stale_for: str
) -> None:
    *old, waiting = all_redis.of_one_shard(4)
    await make_stale(all_redis, "dead", {"a minute": 60, "a week": 7 * 86_400}[stale_for])
    for n, user_id in enumerate(old):
        await all_redis.lpush("queue:scores:EU:processing:dead", event(user_id, timestamp=n))
    await all_redis.lpush("queue:scores:ASIA:processing:dead", event("asia", region="ASIA"))
    await push(all_redis, event(waiting))
    async with working(environ, "worker-2") as worker:
        await worker.kill()
        for heartbeat in worker.heartbeats:
            await heartbeat.beat()
        queued = await all_redis.lrange("queue:scores:EU", 0, -1)
        assert [str(raw).split('"')[3] for raw in reversed(queued)] == [*old, waiting]
    async with working(environ, "worker-3"):
        await drained(all_redis)
    assert set(await rows(databases)) == {*old, waiting}
    assert set(await rows(databases, "ASIA")) == {"asia"}


async def test_a_worker_with_a_heartbeat_keeps_its_batch(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    await make_stale(all_redis, "busy", 0)
    await all_redis.lpush("queue:scores:EU:processing:busy", event())
    async with working(environ, "worker-2") as worker:
        for heartbeat in worker.heartbeats:
            await heartbeat.beat()
        assert await held(all_redis) == {"queue:scores:EU:processing:busy": 1}


async def test_a_paused_worker_whose_batch_was_reclaimed_does_no_harm(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """It wakes up, commits what it held, and neither loses nor repeats anything of the others."""
    async with (
        proxy(environ["DATABASE_URL_EU"]) as between,
        # Its other consumers, had it any, would go on sending heartbeats.
        working({**environ, "DATABASE_URL_EU": between.url}, "worker-1", only="EU"),
    ):
        await push(all_redis, event("before"))
        await drained(all_redis)
        between.hold()
        await push(all_redis, event("alice", 1, timestamp=100))

        async def in_flight() -> bool:
            return bool(between.held_bytes)

        await eventually(in_flight)
        await make_stale(all_redis, "worker-1")
        async with working(environ, "worker-2", heartbeats=True):
            await drained(all_redis)
            await push(all_redis, event("alice", 2, timestamp=200))
            await drained(all_redis)
            between.release()
            await push(all_redis, event("bob"), event("carol"))
            await drained(all_redis)
    found = await rows(databases)
    assert found["alice"] == ("alice", 2, 200)
    assert set(found) == {"before", "alice", "bob", "carol"}
