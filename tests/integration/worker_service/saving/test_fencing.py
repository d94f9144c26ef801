"""Whatever was committed to Postgres is on the board of every admission afterwards, wherever two faults meet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest
import redis.asyncio as redis

from leaderboard_core.postgres import fencing
from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.postgres.deletions import delete_players
from leaderboard_core.postgres.fencing import Fence, Fenced, set_nonce
from leaderboard_core.redis import lua
from tests.conftest import Start, TestDatabases, admit
from tests.support.all_redis import AllRedis
from tests.support.infrastructure import Infrastructure
from tests.support.metrics import sample
from tests.support.proxy import Proxy, proxy
from tests.support.waiting import eventually
from tests.support.worker import dead_letters, deletion, drained, event, held, push, rows, working
from worker_service.recovery.restore import RebuildInterrupted
from worker_service.saving.batch import build
from worker_service.saving.upsert import save

NOW = 1_700_000_000_000_000


async def admit_soon(environ: dict[str, str], databases: RegionDatabases) -> None:
    """Admit, as a worker does: again until no upsert under way is in its way."""

    async def admitted() -> bool:
        try:
            await admit(environ, databases)
        except RebuildInterrupted:
            return False
        return True

    await eventually(admitted)


@pytest.mark.parametrize("stop", [b"BEGIN", b"FOR SHARE", b"INSERT INTO leaderboard", b"COMMIT"])
async def test_redis_loses_its_data_while_an_upsert_is_slow(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis, stop: bytes
) -> None:
    """At whichever of its statements it is held, it either comes before the admission, which sees it, or not at all."""
    api = await start()
    token = await api.register("alice", "EU", 1)
    async with working(environ):
        await drained(all_redis)
    async with proxy(environ["DATABASE_URL_EU"]) as between:
        slow = {**environ, "DATABASE_URL_EU": between.url, "POSTGRES_TIMEOUT_SECONDS": "30"}
        async with working(slow):
            between.hold_when(stop)
            assert (await api.post("/score/add", {"delta": 99}, token=token)).status_code == 200
            await eventually(lambda: bool(between.held_bytes), "the upsert on its way")
            await all_redis.flushdb()
            admission = asyncio.create_task(admit_soon(environ, databases))
            if stop == b"BEGIN":
                await admission
                # What an add finds before the batch has come back is older than what Postgres is about to get.
                assert (await api.post("/score/add", {"delta": 1000}, token=token)).json()["score"] == 1001
            between.release()
            await admission

            # The add that came before the batch is later: it wins, as nothing of the batch was committed.
            expected = {"alice": 1001 if stop == b"BEGIN" else 100}

            async def agreed() -> bool:
                saved = {user_id: row[1] for user_id, row in (await rows(databases)).items()}
                return not await held(all_redis) and await api.scores() == saved == expected

            await eventually(agreed, f"Redis and Postgres both saying {expected}")


async def test_a_worker_that_is_paused_in_a_transaction_holds_nobody_up(
    start: Start,
    environ: dict[str, str],
    databases: RegionDatabases,
    all_redis: redis.Redis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its connection stays, and with it the locks of its upsert: those of rows, and that of the admission."""
    monkeypatch.setattr(fencing, "IDLE_SECONDS", 1.0)
    api = await start()
    token = await api.register("alice", "EU", 1)
    async with working(environ):
        await drained(all_redis)
    async with proxy(environ["DATABASE_URL_EU"]) as between:
        paused = {**environ, "DATABASE_URL_EU": between.url, "POSTGRES_TIMEOUT_SECONDS": "60"}
        async with working(paused):
            between.hold_when(b"COMMIT")
            assert (await api.post("/score/add", {"delta": 99}, token=token)).status_code == 200
            await eventually(lambda: bool(between.held_bytes), "the upsert before its commit")
            # What another worker has of the same player, and an admission, would wait for it.
            name, nonce = await databases["EU"].fetchrow("SELECT region, nonce FROM admissions ORDER BY region LIMIT 1")
            earlier = build([event("alice", score=7, timestamp=NOW)], "EU")
            await save(databases["EU"], earlier, Fence(name, nonce))
            await admit_soon(environ, databases)
            between.release()

            async def agreed() -> bool:
                return (await rows(databases))["alice"][1] == 100 and not await held(all_redis)

            await eventually(agreed, "the score of the paused worker's batch")


async def test_an_acknowledgement_that_failed_is_not_needed(
    start: Start,
    environ: dict[str, str],
    databases: RegionDatabases,
    redis_1: redis.Redis,
    infra: Infrastructure,
) -> None:
    """Postgres has 100; Redis loses its data before the acknowledgement comes, and the worker ends there."""
    api = await start()
    token = await api.register("alice", "EU", 1)
    async with working(environ):
        await drained(redis_1)
    acknowledge = lua.load("acknowledge_batch").sha.encode()
    async with proxy(infra.redis_urls[0]) as between, working({**environ, "REDIS_URL": between.url}) as worker:
        between.hold_when(acknowledge)
        await api.post("/score/add", {"delta": 99}, token=token)
        await eventually(lambda: bool(between.held_bytes), "the acknowledgement on its way")
        await redis_1.flushdb()
        await worker.kill()
        await between.cut()
    await admit(environ, databases)
    assert (await api.post("/score/add", {"delta": 1}, token=token)).json()["score"] == 101


async def test_a_list_with_other_events_is_not_acknowledged(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """An older copy of the data may have as many events, of other writes."""
    own_list = "queue:scores:EU:processing:worker-1"
    async with (
        proxy(environ["DATABASE_URL_EU"]) as between,
        working({**environ, "DATABASE_URL_EU": between.url}),
    ):
        between.hold_when(b"COMMIT")
        await push(all_redis, event("alice"))
        await eventually(lambda: bool(between.held_bytes), "the commit on its way")
        await all_redis.lset(own_list, 0, event("older"))
        between.release()
        await drained(all_redis)
    assert set(await rows(databases)) == {"alice", "older"}


@asynccontextmanager
async def lost_while_held(environ: dict[str, str], all_redis: AllRedis, *events: str) -> AsyncIterator[Proxy]:
    """Have Redis lose its data while a worker holds events whose upsert is on its way, until it is released."""
    async with (
        proxy(environ["DATABASE_URL_EU"]) as between,
        working({**environ, "DATABASE_URL_EU": between.url, "POSTGRES_TIMEOUT_SECONDS": "30"}),
    ):
        between.hold_when(b"BEGIN")
        await push(all_redis, event("first"))
        await eventually(lambda: bool(between.held_bytes), "the upsert on its way")
        between.release()
        await drained(all_redis)
        between.hold_when(b"BEGIN")
        await push(all_redis, *events)
        await eventually(lambda: bool(between.held_bytes), "the upsert on its way")
        await all_redis.lose_players()
        yield between


async def test_what_redis_has_lost_comes_back_as_a_new_write(
    environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    """But only where nothing later was written, and nobody deleted the player."""

    def stored(updated_at: int, **more: str) -> dict[Any, Any]:
        return {"name": "n", "region": "EU", "score": "7", "updated_at": str(updated_at), **more}

    events = (
        event("lost", 2**53 - 1, timestamp=NOW, protected=True, key=f"k f 1 {NOW}"),
        event("newer", 1, timestamp=NOW),
        event("older", -5, timestamp=NOW),
        event("gone", 1, timestamp=NOW),
        event("earlier", 1, timestamp=NOW),
        deletion("deleted", timestamp=NOW),
        "poison",
    )
    async with lost_while_held(environ, all_redis, *events) as between:
        await all_redis.hset("user:newer", mapping=stored(NOW + 1))
        await all_redis.hset("user:older", mapping=stored(NOW - 1, protected="1"))
        await all_redis.hset("user:deleted", mapping=stored(NOW - 1))
        await all_redis.zadd("leaderboard:EU", {"newer": 7, "older": 7, "deleted": 7})
        await all_redis.zadd("leaderboard:GLOBAL", {"newer": 7, "older": 7, "deleted": 7})
        await all_redis.set("deleted:gone", str(NOW + 1))
        await all_redis.set("deleted:earlier", str(NOW - 1))
        await all_redis.set("shard:deleted", "1")
        await admit(environ, databases)
        between.release()

        async def came_back() -> bool:
            return "lost" in await rows(databases)

        await eventually(came_back)
        await drained(all_redis)
    expected = {"newer": 7, "older": -5, "lost": 2**53 - 1, "earlier": 1, "first": 5}
    for region in ("EU", "GLOBAL"):
        found: Any = await all_redis.zrange(f"leaderboard:{region}", 0, -1, withscores=True)
        assert dict(found) == expected
    saved = await rows(databases)
    assert {user_id: row[1] for user_id, row in saved.items()} == {
        user_id: score for user_id, score in expected.items() if user_id != "newer"
    }
    lost: Any = await all_redis.hgetall("user:lost")
    assert int(lost["updated_at"]) > NOW
    assert lost == {
        "name": "lost", "region": "EU", "score": str(2**53 - 1), "updated_at": lost["updated_at"],
        "protected": "1", "key": f"k f 1 {lost['updated_at']}", "returned": f"{NOW} {lost['updated_at']}",
    }  # fmt: skip
    assert saved["lost"] == ("lost", 2**53 - 1, int(lost["updated_at"]))
    assert "protected" not in await all_redis.hgetall("user:older")
    assert (await all_redis.hgetall("user:earlier"))["since"] == str(NOW - 1)
    assert await all_redis.get("deleted:deleted") == str(NOW)
    assert [letter["event"] for letter in await dead_letters(all_redis)] == ["poison"]


async def test_a_lost_secret_or_password_comes_back_into_what_was_written_later(
    environ: dict[str, str], databases: RegionDatabases, all_redis: AllRedis
) -> None:
    """The score and the name are the later write's; a credential is lost only if a later one replaced it."""

    def stored(**more: str) -> dict[Any, Any]:
        return {"name": "Later", "region": "EU", "score": str(2**53 - 1), "updated_at": str(NOW + 1), **more}

    secret = {"credential": "self new", "credential_at": str(NOW)}
    events = (
        event("secret", 1, timestamp=NOW, **secret),
        event("replaced", 1, timestamp=NOW, **secret),
        event("password", 1, timestamp=NOW, protected=True, credential="self"),
        event("successor", 1, timestamp=NOW, **secret),
        event("usual", 1, timestamp=NOW, credential="self old"),
    )
    async with lost_while_held(environ, all_redis, *events) as between:
        before = {
            "secret": stored(credential="self old", key=f"k f 1 {NOW + 1}"),
            "replaced": stored(credential="self newest", credential_at=str(NOW + 1)),
            "password": stored(credential="self"),
            "successor": stored(credential="self other", since=str(NOW)),
            "usual": stored(credential="self new"),
        }
        for user_id, fields in before.items():
            await all_redis.hset(f"user:{user_id}", mapping=fields)
            for board in ("EU", "GLOBAL"):
                await all_redis.zadd(f"leaderboard:{board}", {user_id: 2**53 - 1})
        await admit(environ, databases)
        between.release()

        async def came_back() -> bool:
            return {"secret", "password"} <= (await rows(databases)).keys()

        await eventually(came_back)
        await drained(all_redis)
    assert not await dead_letters(all_redis)
    after: dict[str, Any] = {user_id: await all_redis.hgetall(f"user:{user_id}") for user_id in before}
    assert {user_id for user_id in before if after[user_id] != before[user_id]} == {"secret", "password"}
    for user_id in ("secret", "password"):
        updated_at = after[user_id]["updated_at"]
        assert int(updated_at) > NOW + 1
        changed = {"secret": {**secret, "key": f"k f 1 {updated_at}"}, "password": {"protected": "1"}}[user_id]
        assert after[user_id] == {**before[user_id], "updated_at": updated_at, **changed}
        assert (await rows(databases))[user_id] == ("Later", 2**53 - 1, int(updated_at))
    saved = await databases["EU"].fetch("SELECT user_id, credential, protected FROM leaderboard ORDER BY user_id")
    assert [tuple(row) for row in saved if row["user_id"] != "first"] == [
        ("password", "self", True),
        ("secret", "self new", False),
    ]


async def test_of_two_batches_that_come_back_the_newer_event_wins(
    environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """Two workers hold events of one player, and the one with the older event gives it back first."""
    url = environ["DATABASE_URL_EU"]
    async with proxy(url) as one, proxy(url) as other:
        own = {"POSTGRES_TIMEOUT_SECONDS": "30"}
        async with working({**environ, **own, "DATABASE_URL_EU": one.url}, "worker-1"):
            one.hold_when(b"BEGIN")
            await push(all_redis, event("alice", 1, timestamp=NOW), event("bob", 1, timestamp=NOW))
            await eventually(lambda: bool(one.held_bytes), "the older batch on its way")
            async with working({**environ, **own, "DATABASE_URL_EU": other.url}, "worker-2"):
                other.hold_when(b"BEGIN")
                await push(all_redis, event("alice", 2, timestamp=NOW + 1), event("bob", 2, timestamp=NOW + 1))
                await eventually(lambda: bool(other.held_bytes), "the newer batch on its way")
                await all_redis.flushdb()
                await admit(environ, databases)
                one.release()

                async def came_back() -> bool:
                    return await rows(databases) != {}

                await eventually(came_back, "the older events")
                await drained(all_redis)
                # Whoever writes now counts on what is there, and what is lost in spite of that stays so.
                after = int(str(await all_redis.hget("user:bob", "updated_at"))) + 1
                await all_redis.hset("user:bob", mapping={"score": "9", "updated_at": str(after)})
                other.release()

                async def newer_came_back() -> bool:
                    return (await rows(databases))["alice"][1] == 2

                await eventually(newer_came_back, "the newer event of alice")
                await drained(all_redis)
    assert await all_redis.zscore("leaderboard:EU", "alice") == 2
    assert await all_redis.hget("user:bob", "score") == "9"
    assert (await rows(databases))["bob"][1] == 1


async def test_a_batch_of_an_earlier_admission_changes_nothing(databases: RegionDatabases) -> None:
    pool = databases["EU"]
    await set_nonce(pool, Fence("EU", "present"))
    batch = build([event("alice"), deletion("bob")], "EU")
    for nonce in ("earlier", ""):
        with pytest.raises(Fenced):
            await save(pool, batch, Fence("EU", nonce))
        with pytest.raises(Fenced):
            await save(pool, build([event("alice")], "EU"), Fence("EU", nonce))
    with pytest.raises(Fenced):
        await save(pool, batch, Fence("NA", "present"))
    assert await rows(databases) == {}
    assert await pool.fetchval("SELECT count(*) FROM deleted_players") == 0
    assert await save(pool, batch, Fence("EU", "present")) == []
    assert set(await rows(databases)) == {"alice"}


async def test_an_older_postgres_makes_a_worker_compare_anew(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """A backup that was restored knows another admission: no batch would ever be taken again."""
    api = await start()
    token = await api.register("alice", "EU", 1)
    await databases["EU"].execute("UPDATE admissions SET nonce = 'of the backup' WHERE region ~ '^EU( |$)'")
    before = sample("leaderboard_worker_batches_fenced_total", region="EU")
    async with working(environ, "worker-2", heartbeats=True):
        await drained(all_redis)
    assert sample("leaderboard_worker_batches_fenced_total", region="EU") > before
    assert set(await rows(databases)) == {"alice"}
    assert (await api.post("/score/add", {"delta": 1}, token=token)).json()["score"] == 2


async def test_a_deletion_does_not_wait_for_a_vacuum(databases: RegionDatabases, test_databases: TestDatabases) -> None:
    """Nor for ANALYZE or CREATE INDEX CONCURRENTLY, which hold the same lock; beside an older worker it has to."""
    pool, fence = databases["EU"], Fence("EU", "present")
    await set_nonce(pool, fence)
    vacuum = await asyncpg.connect(test_databases.dsn("EU"))
    try:
        async with vacuum.transaction():
            await vacuum.execute("LOCK TABLE leaderboard IN SHARE UPDATE EXCLUSIVE MODE")
            ends = build([deletion("alice", timestamp=NOW)], "EU").deletions
            async with asyncio.timeout(10):
                await delete_players(pool, ends, fence)
            with pytest.raises(asyncpg.LockNotAvailableError):
                await delete_players(pool, ends, fence, old_workers=True)
            assert await save(pool, build([event("bob")], "EU"), fence) == []
    finally:
        await vacuum.close()
    assert await pool.fetchval("SELECT user_id FROM deleted_players") == "alice"
