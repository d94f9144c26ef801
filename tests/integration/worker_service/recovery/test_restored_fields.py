"""What a rebuild or a repair puts back is the player of the row as a whole, with its clock and its last key."""

from __future__ import annotations

from typing import Any

import pytest
import redis.asyncio as redis

from leaderboard_core.postgres.databases import RegionDatabases
from leaderboard_core.redis.shard_map import ShardMap
from leaderboard_core.settings import TopologySettings, load
from tests.conftest import Start, admit
from tests.support.service import Api
from tests.support.worker import drained, rows, working
from worker_service.recovery.verify import Verifier

SECOND = 1_000_000


async def verified(environ: dict[str, str], databases: RegionDatabases, *, repair: bool = False) -> list[str]:
    """The problems that a comparison finds."""
    shard_map = ShardMap.open(load(TopologySettings, environ))
    try:
        report = await Verifier(shard_map, databases, wait_seconds=0).verify(repair=repair)
    finally:
        await shard_map.close()
    return [difference.problem for difference in report.differences]


async def an_older_life(client: redis.Redis, user_id: str) -> Any:
    """A copy of a player's hash, and how to bring it back as an older Redis would."""
    older: Any = await client.hgetall(f"user:{user_id}")

    async def bring_back() -> None:
        await client.delete("shard:admission", f"user:{user_id}", f"deleted:{user_id}")
        await client.hset(f"user:{user_id}", mapping=older)

    return bring_back


@pytest.mark.parametrize("by", ["rebuild", "repair"])
async def test_nothing_of_a_predecessor_stays(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis, by: str
) -> None:
    """A player with a password was deleted and made anew without one; then Redis is the one of before."""
    api = await start()
    token = await api.register("alice", "EU", 1)
    assert (await api.delete("alice", token)).status_code == 200
    await api.register("alice", "EU", 1, password="a long password")
    bring_back = await an_older_life(all_redis, "alice")
    login = await api.login("alice", password="a long password")
    assert (await api.delete("alice", login.json()["token"])).status_code == 200
    await api.register("alice", "EU", 7)
    async with working(environ):
        await drained(all_redis)
    expected = await all_redis.hgetall("user:alice")
    await bring_back()
    if by == "repair":
        problems = await verified(environ, databases, repair=True)
        assert len(problems) == 1
        assert "password 1 in Redis, 0 in Postgres" in problems[0]
        assert "deletion of a predecessor" in problems[0]
    await admit(environ, databases)
    assert await all_redis.hgetall("user:alice") == expected
    assert (await api.login("alice", name="alice")).status_code == 200
    assert await verified(environ, databases) == []


async def test_of_one_write_postgres_knows_whether_there_is_a_password(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """A rebuild of an earlier version left a predecessor's lock on the hash."""
    api = await start()
    await api.register("alice", "EU", 7)
    async with working(environ):
        await drained(all_redis)
    await all_redis.hset("user:alice", "protected", "1")
    assert (await api.login("alice", name="alice")).status_code == 401
    await verified(environ, databases, repair=True)
    assert (await api.login("alice", name="alice")).status_code == 200
    assert await verified(environ, databases) == []


async def key_of(api: Api, token: str, key: str, delta: int = 5) -> tuple[int, dict[str, Any]]:
    answer = await api.post("/score/add", {"delta": delta}, token=token, **{"Idempotency-Key": key})
    return answer.status_code, answer.json()


async def test_a_repeat_after_a_rebuild_is_answered_from_the_row(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start()
    token = await api.register("alice", "EU", 1)
    first = await key_of(api, token, "k1")
    assert first[1]["score"] == 6
    last = await key_of(api, token, "k2")
    assert last[1]["score"] == 11
    async with working(environ):
        await drained(all_redis)
    await all_redis.flushdb()
    await admit(environ, databases)
    assert await key_of(api, token, "k2") == (200, {**last[1], "previous": None, "improved": None})
    status, answer = await key_of(api, token, "k2", delta=6)
    assert (status, answer["error"]) == (422, "idempotency_key_reused")
    assert (await key_of(api, token, "k1"))[1]["score"] == 16, "only the last key is in the row"
    assert (await key_of(api, token, "k2"))[1]["score"] == 21, "and it is not the last one any more"


async def test_a_key_in_the_row_lives_as_long_as_one_in_redis(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start(IDEMPOTENCY_TTL_SECONDS=3600)
    token = await api.register("alice", "EU", 1)
    await key_of(api, token, "k")
    async with working(environ):
        await drained(all_redis)
    for age, score in ((3500, 6), (3700, 11)):
        seconds, _ = await all_redis.time()
        micros = (seconds - age) * SECOND
        await databases["EU"].execute(
            "UPDATE leaderboard SET updated_at = TIMESTAMP 'epoch' + $1::bigint * INTERVAL '1 microsecond', "
            "last_key = regexp_replace(last_key, '[0-9]+$', $1::bigint::text)",
            micros,
        )
        await all_redis.flushdb()
        await admit(environ, databases)
        assert (await key_of(api, token, "k"))[1]["score"] == score


async def test_the_key_of_another_write_does_not_count(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """A worker of the version before writes the row without touching its key."""
    api = await start()
    token = await api.register("alice", "EU", 1)
    await key_of(api, token, "k")
    async with working(environ):
        await drained(all_redis)
    await databases["EU"].execute("UPDATE leaderboard SET score = 100, updated_at = updated_at + INTERVAL '1 second'")
    await all_redis.flushdb()
    await admit(environ, databases)
    assert (await key_of(api, token, "k"))[1]["score"] == 105


async def test_a_clock_that_is_ahead_is_gone_on_from(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    """Writes on other boards move it; whatever comes next is later than all of them."""
    api = await start()
    token = await api.register("alice", "EU", 1)
    updated_at = int(str(await all_redis.hget("user:alice", "updated_at")))
    ahead = updated_at + 3600 * SECOND
    await all_redis.hset("user:alice", "clock", str(ahead))
    answer = (await api.post("/score/add", {"delta": 1}, token=token)).json()
    assert answer["updated_at"] == ahead + 1
    assert not await all_redis.hexists("user:alice", "clock"), "it is the time of the last write again"
    await all_redis.hset("user:alice", "clock", str(ahead + 10))
    assert (await api.delete("alice", token)).status_code == 200
    assert int(str(await all_redis.get("deleted:alice"))) == ahead + 11
    async with working(environ):
        await drained(all_redis)
    assert await rows(databases) == {}


async def test_a_restored_player_keeps_the_later_clock(
    start: Start, environ: dict[str, str], databases: RegionDatabases, all_redis: redis.Redis
) -> None:
    api = await start()
    await api.register("ahead", "EU", 1)
    await api.register("behind", "EU", 1)
    async with working(environ):
        await drained(all_redis)
    for user_id, distance in (("ahead", SECOND), ("behind", -SECOND)):
        updated_at = int(str(await all_redis.hget(f"user:{user_id}", "updated_at")))
        changed: Any = {"updated_at": str(updated_at - 2 * SECOND), "clock": str(updated_at + distance), "score": "9"}
        await all_redis.hset(f"user:{user_id}", mapping=changed)
    ahead = await all_redis.hget("user:ahead", "clock")
    await all_redis.delete("shard:admission")
    await admit(environ, databases)
    assert await all_redis.hget("user:ahead", "clock") == ahead
    assert await all_redis.hget("user:behind", "clock") is None
    assert await all_redis.hmget("user:ahead", "score") == await all_redis.hmget("user:behind", "score") == ["1"]
